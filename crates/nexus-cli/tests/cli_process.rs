//! The command as a process: readers that go away, Ctrl-C, terminals, memory, start-up.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::process::Stdio;

use common::Sandbox;
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

#[test]
fn a_reader_that_goes_away_ends_the_command_quietly() {
    let fs = Sandbox::empty();
    for n in 0..5_000 {
        std::fs::write(fs.data().join(format!("a-name-that-fills-the-pipe-{n}")), "").unwrap();
    }
    let mut command = fs.command(&["ls", "--json", "./data"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::with_capacity(64, child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn ctrl_c_ends_a_write_and_leaves_nothing() {
    let fs = Sandbox::with(&[("old", "old")]);
    let mut command = fs.command(&["write", "/data/old"]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    // More than a pipe holds: when this returns, the command is reading.
    input.write_all(&vec![7; 8 << 20]).unwrap();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    drop(input);
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "error: interrupted\n");
    let left: Vec<_> = std::fs::read_dir(fs.data()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(std::fs::read_to_string(fs.data().join("old")).unwrap(), "old");
}

/// Runs a command with a terminal as its standard output and standard error; answers what it
/// printed there.
fn on_a_terminal(fs: &Sandbox, args: &[&str], envs: &[(&str, &str)]) -> String {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let side =
        std::fs::File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let side: OwnedFd = side.into();
    let mut command = fs.command(args);
    command.envs(envs.iter().copied());
    command.stdout(side.try_clone().unwrap()).stderr(side);
    let mut child = command.spawn().unwrap();
    drop(command);
    let mut printed = Vec::new();
    // Linux answers EIO once the last process has let go of the terminal.
    let _ = std::fs::File::from(terminal).read_to_end(&mut printed);
    assert!(child.wait().unwrap().success());
    String::from_utf8(printed).unwrap().replace("\r\n", "\n")
}

#[test]
fn a_terminal_gets_colour_unless_it_is_not_wanted() {
    let fs = Sandbox::with(&[("d/f", "x")]);
    assert_eq!(on_a_terminal(&fs, &["ls", "/data"], &[]), "\u{1b}[1;34md\u{1b}[0m/\n");
    assert_eq!(on_a_terminal(&fs, &["ls", "/data"], &[("NO_COLOR", "1")]), "d/\n");
    assert_eq!(on_a_terminal(&fs, &["--color", "never", "ls", "/data"], &[]), "d/\n");
    assert_eq!(fs.ok(&["--color", "always", "ls", "/data"]), "\u{1b}[1;34md\u{1b}[0m/\n");
}

#[test]
fn a_terminal_never_gets_what_it_would_obey() {
    let hostile = "evil\u{1b}[2J\u{202e}txt";
    let fs = Sandbox::with(&[(hostile, "x")]);
    assert_eq!(on_a_terminal(&fs, &["ls", "/data"], &[]), "evil\\u{1b}[2J\\u{202e}txt\n");
    // A pipe gets the name as it is.
    assert_eq!(fs.ok(&["ls", "/data"]), format!("{hostile}\n"));
}

#[test]
fn a_short_copy_shows_no_bar() {
    let fs = Sandbox::with(&[("f", "x")]);
    let printed = on_a_terminal(&fs, &["--mount", "mem://m", "cp", "/data/f", "/mem/m/f"], &[]);
    assert_eq!(printed, "copied 1 file, 1 B, streamed to /mem/m/f\n");
}

/// The most memory that a process has used, in KiB, as the system counts it.
fn peak_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

const STREAM: usize = 512 << 20;
const LIMIT_KIB: u64 = 64 << 10;

#[test]
fn a_stream_larger_than_the_limit_stays_below_it() {
    let fs = Sandbox::with(&[]);
    let mut command = fs.command(&["write", "/data/large"]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let piece = vec![7; 1 << 20];
    let mut peak = 0;
    for _ in 0..STREAM / piece.len() {
        input.write_all(&piece).unwrap();
        peak = peak.max(peak_kib(child.id()).unwrap());
    }
    drop(input);
    assert!(child.wait().unwrap().success());
    assert!(peak > 0 && peak < LIMIT_KIB, "{peak} KiB in");

    let mut command = fs.command(&["cat", "/data/large"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut from = child.stdout.take().unwrap();
    let (mut buffer, mut read, mut peak) = (vec![0; 1 << 20], 0, 0);
    loop {
        match from.read(&mut buffer).unwrap() {
            0 => break,
            count => read += count,
        }
        peak = peak.max(peak_kib(child.id()).unwrap_or(0));
    }
    assert!(child.wait().unwrap().success());
    assert_eq!(read, STREAM);
    assert!(peak > 0 && peak < LIMIT_KIB, "{peak} KiB out");
}
