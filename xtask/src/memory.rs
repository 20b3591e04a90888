//! Memory of long streams: 10 GiB into a file and out of it again, through the release binary,
//! while its memory is watched. The pattern comes back as it went in, byte by byte.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::shell::{Shell, target_dir};
use crate::steps::Outcome;
use crate::{Result, release};

/// How much goes in and out, in bytes.
const LENGTH: u64 = 10 << 30;

/// The most memory that the program may ever have held, in KiB.
const MOST_KIB: u64 = 64 << 10;

const PIECE: usize = 1 << 20;

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
        let uri = format!("local://{}", dir.display());
        command.args(["--mount", &uri, "--at", "/big"]).args(verb);
        command.env("NEXUS_FS_STATE_DIR", dir.join("state"));
        command
    };
    let mut write = program(&["write", "/big/stream", "-"]).stdin(Stdio::piped()).spawn()?;
    let into = feed(&mut write);
    finish(shell, write, into, "write")?;
    let mut read = program(&["cat", "/big/stream"]).stdout(Stdio::piped()).spawn()?;
    let out_of = compare(&mut read);
    finish(shell, read, out_of, "cat")?;
    Ok(Outcome::Done)
}

/// Writes the pattern to a child's standard input; answers the most memory that was seen, in KiB.
fn feed(child: &mut Child) -> Result<u64> {
    let mut input = child.stdin.take().ok_or("no standard input")?;
    let mut most = 0;
    for index in 0..LENGTH / PIECE as u64 {
        input.write_all(&piece(index))?;
        most = most.max(peak(child.id()).unwrap_or_default());
    }
    drop(input);
    Ok(most)
}

/// Compares a child's standard output with the pattern; answers the most memory that was seen.
fn compare(child: &mut Child) -> Result<u64> {
    let mut output = child.stdout.take().ok_or("no standard output")?;
    let mut most = 0;
    let mut buffer = vec![0; PIECE];
    for index in 0..LENGTH / PIECE as u64 {
        output.read_exact(&mut buffer)?;
        if buffer != piece(index) {
            return Err(format!("piece {index} is not what was written").into());
        }
        most = most.max(peak(child.id()).unwrap_or_default());
    }
    match output.read(&mut buffer)? {
        0 => Ok(most),
        _ => Err("more came out than went in".into()),
    }
}

/// Waits for the child, and looks at its memory until it is gone.
fn finish(shell: &Shell, mut child: Child, seen: Result<u64>, verb: &str) -> Result {
    let mut most = match seen {
        Ok(most) => most,
        Err(error) => {
            let _ = child.kill();
            child.wait()?;
            return Err(format!("{verb}: {error}").into());
        }
    };
    let status = loop {
        most = most.max(peak(child.id()).unwrap_or_default());
        if let Some(status) = child.try_wait()? {
            break status;
        }
        std::thread::yield_now();
    };
    shell.note(&format!("{verb}: at most {most} KiB of memory"))?;
    match (status.success(), most) {
        (false, _) => Err(format!("{verb} failed: {status}").into()),
        (_, 0) => Err(format!("the memory of {verb} was never seen").into()),
        (_, most) if most > MOST_KIB => {
            Err(format!("{verb} held {most} KiB of memory, more than {MOST_KIB}").into())
        }
        _ => Ok(()),
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
