//! Records the system calls of a worker, by `strace`.

use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};

use super::call::TRACED;
use super::parse;
use super::replay::Recording;
use crate::support::Result;
use crate::tree::Tree;
use crate::worker;

/// More than any one call writes, in bytes.
const MOST: &str = "67108864";

/// Runs the worker to its end and records it. The log goes into `scratch`.
///
/// # Errors
/// When `strace` is missing or may not trace, the worker fails, or the log can not be understood.
pub(crate) fn record(
    program: &Path,
    worker: &worker::Options,
    scratch: &Path,
) -> Result<Recording> {
    let before = Tree::load(&worker.dir)?;
    let log = scratch.join("strace.log");
    let output = Command::new("strace")
        .args(["-f", "-y", "-xx", "--seccomp-bpf", "-s", MOST, "-e"])
        .arg(format!("trace={TRACED}"))
        .arg("-o")
        .arg(&log)
        .arg("--")
        .arg(program)
        .args(worker.to_arguments())
        .stdin(Stdio::null())
        // Whatever takes it, the log has it.
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                "`strace` is not installed: the power rig records with it (Debian: `apt-get \
                 install strace`)"
                    .to_owned()
            }
            _ => format!("`strace` can not be run: {error}"),
        })?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(format!("the recorded worker failed ({}): {text}", output.status).into());
    }
    let text = std::fs::read_to_string(&log)?;
    std::fs::remove_file(&log)?;
    let root = worker.dir.to_str().ok_or("the directory of the store is not UTF-8")?;
    Recording::new(root.to_owned(), before, &parse::parse(&text)?)
}
