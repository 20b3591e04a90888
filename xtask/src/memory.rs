//! Memory of long streams: 10 GiB into a file and out of it again, through the release binary,
//! while its memory is watched. The pattern comes back as it went in, byte by byte.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use crate::shell::{Shell, target_dir};
use crate::steps::Outcome;
use crate::{Result, release};

/// How much goes in and out, in bytes.
const LENGTH: u64 = 10 << 30;

/// The most memory that the program may ever have held, in KiB.
const MOST_KIB: u64 = 64 << 10;

const PIECE: usize = 1 << 20;

/// How long one direction may take.
const LIMIT: Duration = Duration::from_secs(10 * 60);

/// Runs the check.
pub(crate) fn step(shell: &Shell) -> Result<Outcome> {
    if !Path::new("/proc/self/status").exists() {
        return Ok(Outcome::Skipped(
            "this system does not tell the peak memory of a process".into(),
        ));
    }
    let binary = release::build(shell)?;
    let dir = target_dir().join("xtask-memory");
    fs::create_dir_all(&dir)?;
    let result = through(shell, &binary, &dir);
    fs::remove_dir_all(&dir)?;
    result
}

fn through(shell: &Shell, binary: &Path, dir: &Path) -> Result<Outcome> {
    let program = |verb: &[&str]| {
        let mut command = Command::new(binary);
        let uri = format!("local://{}?layout=plain", dir.display());
        command.args(["--mount", &uri]).args(verb);
        command.env("NEXUS_FS_STATE_DIR", dir.join("state"));
        command
    };
    let path = format!("/local{}/stream", dir.display());
    let mut write = program(&["--quiet", "write", &path, "-"]).stdin(Stdio::piped()).spawn()?;
    let input = write.stdin.take().ok_or("no standard input")?;
    watch(shell, write, "write", move || feed(input))?;
    let mut read = program(&["cat", &path]).stdout(Stdio::piped()).spawn()?;
    let output = read.stdout.take().ok_or("no standard output")?;
    watch(shell, read, "cat", move || compare(output))?;
    Ok(Outcome::Done)
}

/// Looks at the memory of a child until it is gone, while `work` is done beside it.
fn watch(
    shell: &Shell,
    mut child: Child,
    verb: &str,
    work: impl FnOnce() -> std::io::Result<()> + Send + 'static,
) -> Result {
    let work = std::thread::spawn(work);
    let (begin, mut most) = (Instant::now(), 0);
    let status = loop {
        most = most.max(peak(child.id()).unwrap_or_default());
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if begin.elapsed() > LIMIT {
            child.kill()?;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    };
    let seconds = begin.elapsed().as_secs_f64();
    shell.note(&format!("{verb}: {seconds:.1} s, at most {most} KiB of memory"))?;
    let work = work.join().map_err(|_| format!("{verb}: the other end panicked"))?;
    match (status.success(), most) {
        (false, _) => Err(format!("{verb} failed: {status}").into()),
        (_, 0) => Err(format!("the memory of {verb} was never seen").into()),
        (_, most) if most > MOST_KIB => {
            Err(format!("{verb} held {most} KiB of memory, more than {MOST_KIB}").into())
        }
        _ => work.map_err(|error| format!("{verb}: {error}").into()),
    }
}

/// Writes the pattern to a child's standard input, and closes it.
fn feed(mut input: ChildStdin) -> std::io::Result<()> {
    (0..LENGTH / PIECE as u64).try_for_each(|index| input.write_all(&piece(index)))
}

/// Compares a child's standard output with the pattern.
fn compare(mut output: ChildStdout) -> std::io::Result<()> {
    let mut buffer = vec![0; PIECE];
    for index in 0..LENGTH / PIECE as u64 {
        output.read_exact(&mut buffer)?;
        if buffer != piece(index) {
            return Err(std::io::Error::other(format!("piece {index} is not what was written")));
        }
    }
    match output.read(&mut buffer)? {
        0 => Ok(()),
        _ => Err(std::io::Error::other("more came out than went in")),
    }
}

/// The pattern: no two pieces are the same.
fn piece(index: u64) -> Vec<u8> {
    let mut piece = vec![(index % 251) as u8; PIECE];
    piece[..8].copy_from_slice(&index.to_le_bytes());
    piece
}

/// The most memory that a process has held so far, in KiB; nothing once it is gone.
fn peak(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_differ() {
        assert_ne!(piece(1), piece(2));
        assert_ne!(piece(0), piece(251));
    }
}
