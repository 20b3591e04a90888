//! The demo: the facade's example `demo`, run on a folder of real files.

use std::process::Command;

use crate::Result;
use crate::shell::{Shell, root};
use crate::steps::Outcome;

/// Runs the demo on a directory; on the project's own sources without one.
pub(crate) fn run(arguments: &[String]) -> Result {
    let dir = match arguments {
        [] => root().join("crates"),
        [dir] => std::path::absolute(dir)?,
        _ => return Err("give one directory, or none for the project's own sources".into()),
    };
    if !dir.is_dir() {
        return Err(format!("{} is not a directory that can be read", dir.display()).into());
    }
    let shell = Shell::interactive();
    shell.run(demo(&shell).arg(dir))
}

/// Runs it as a step: it must come to its end.
pub(crate) fn step(shell: &Shell) -> Result<Outcome> {
    let output = shell.output(demo(shell).arg(root().join("crates")))?;
    shell.note(&output)?;
    match output.lines().last() {
        Some(last) if last.starts_with("done") => Ok(Outcome::Done),
        _ => Err("the demo did not come to its end".into()),
    }
}

/// An optimised build: the times that it prints are to be believed.
fn demo(shell: &Shell) -> Command {
    shell.cargo(&["run", "--quiet", "--release", "-p", "nexus-fs", "--example", "demo", "--"])
}
