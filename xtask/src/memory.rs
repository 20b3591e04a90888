//! Memory of long streams: 10 GiB into a file and out of it again, in every layout, through the release
//! binary, while its memory is watched. The pattern comes back as it went in, byte by byte.

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

/// Options of the mounts that are watched.
const LAYOUTS: &[&str] = &["layout=plain", "layout=cas", "layout=cas&chunking=cdc"];

/// How long one direction may take.
const LIMIT: Duration = Duration::from_secs(10 * 60);

/// Watches a mount with the options given, or all layouts.
pub(crate) fn run(arguments: &[String]) -> Result {
    let shell = Shell::interactive();
    let outcome = match arguments {
        [] => step(&shell)?,
        [options] => watched(&shell, &[options])?,
        _ => return Err("give the options of one mount, or none for all layouts".into()),
    };
    match outcome {
        Outcome::Done => Ok(()),
        Outcome::Skipped(why) => Err(why.into()),
    }
}

/// Runs the check.
pub(crate) fn step(shell: &Shell) -> Result<Outcome> {
    watched(shell, LAYOUTS)
}

fn watched(shell: &Shell, layouts: &[&str]) -> Result<Outcome> {
    if !Path::new("/proc/self/status").exists() {
        return Ok(Outcome::Skipped(
            "this system does not tell the peak memory of a process".into(),
        ));
    }
    let binary = release::build(shell)?;
    let dir = target_dir().join("xtask-memory");
    for layout in layouts {
        let (folder, state) = (dir.join("folder"), dir.join("state"));
        fs::create_dir_all(&folder)?;
        let result = through(shell, &binary, layout, (&folder, &state));
        // Before the next one: each needs 10 GiB.
        fs::remove_dir_all(&dir)?;
        result?;
    }
    Ok(Outcome::Done)
}

fn through(shell: &Shell, binary: &Path, layout: &str, (folder, state): (&Path, &Path)) -> Result {
    let program = |verb: &[&str]| {
        let mut command = Command::new(binary);
        let uri = format!("local://{}?{layout}", folder.display());
        command.args(["--mount", &uri]).args(verb);
        command.env("NEXUS_FS_STATE_DIR", state);
        command
    };
    let path = format!("/local{}/stream", folder.display());
    let mut write = program(&["--quiet", "write", &path, "-"]).stdin(Stdio::piped()).spawn()?;
    let input = write.stdin.take().ok_or("no standard input")?;
    watch(shell, write, &format!("write, {layout}"), move || feed(input))?;
    let mut read = program(&["cat", &path]).stdout(Stdio::piped()).spawn()?;
    let output = read.stdout.take().ok_or("no standard output")?;
    watch(shell, read, &format!("cat, {layout}"), move || compare(output))
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
