//! Benchmarks, which live in a workspace of their own: `core` measures paths of this project,
//! `peers` measures the same operations side by side with other libraries, `cas` measures content by
//! digest side by side with plain files and the bare disk.

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
            table(&shell, "peers", &[])?;
            table(&shell, "store", &[])
        }
        Some((which, rest)) if which == "core" => bench(&shell, rest),
        Some((which, rest)) if which == "peers" => table(&shell, "peers", rest),
        Some((which, rest)) if which == "cas" => table(&shell, "store", rest),
        Some((which, _)) => Err(format!("`{which}`? There are: core, peers, cas").into()),
    }
}

fn bench(shell: &Shell, arguments: &[String]) -> Result {
    let mut cargo = shell.cargo(&["bench", "--package", "nexus-bench-core", "--manifest-path"]);
    shell.run(cargo.arg(manifest()).arg("--").args(arguments))
}

/// Runs a program that prints a table.
fn table(shell: &Shell, name: &str, arguments: &[String]) -> Result {
    let package = format!("nexus-bench-{name}");
    let mut cargo = shell.cargo(&["run", "--release", "--package", &package]);
    shell.run(cargo.arg("--manifest-path").arg(manifest()).arg("--").args(arguments))
}

/// All of them run, each for a moment: whether they work, not how fast. Their times are not judged
/// here, on a machine that does other things too.
pub(crate) fn step(shell: &Shell) -> Result<Outcome> {
    bench(shell, &["--test".to_owned()])?;
    table(shell, "peers", &["--quick".to_owned()])?;
    table(shell, "store", &["--quick".to_owned()])?;
    Ok(Outcome::Done)
}
