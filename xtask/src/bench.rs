//! Benchmarks, which live in a workspace of their own: `core` measures paths of this project,
//! `peers` measures the same operations side by side with other libraries.

use std::path::PathBuf;

use crate::Result;
use crate::shell::{Shell, root};
use crate::steps::Outcome;

fn manifest() -> PathBuf {
    root().join("benches/Cargo.toml")
}

/// Runs the benchmarks.
pub(crate) fn run(arguments: &[String]) -> Result {
    let shell = Shell::interactive();
    match arguments.split_first() {
        None => {
            bench(&shell, &[])?;
            peers(&shell, &[])
        }
        Some((which, rest)) if which == "core" => bench(&shell, rest),
        Some((which, rest)) if which == "peers" => peers(&shell, rest),
        Some((which, _)) => Err(format!("`{which}` is neither `core` nor `peers`").into()),
    }
}

fn bench(shell: &Shell, arguments: &[String]) -> Result {
    let mut cargo = shell.cargo(&["bench", "--package", "nexus-bench-core", "--manifest-path"]);
    shell.run(cargo.arg(manifest()).arg("--").args(arguments))
}

fn peers(shell: &Shell, arguments: &[String]) -> Result {
    let mut cargo = shell.cargo(&["run", "--release", "--package", "nexus-bench-peers"]);
    shell.run(cargo.arg("--manifest-path").arg(manifest()).arg("--").args(arguments))
}

/// All of them run, each for a moment: whether they work, not how fast. Their times are not judged
/// here, on a machine that does other things too.
pub(crate) fn step(shell: &Shell) -> Result<Outcome> {
    bench(shell, &["--test".to_owned()])?;
    peers(shell, &["--quick".to_owned()])?;
    Ok(Outcome::Done)
}
