//! The checks that run no tests: format, lints, documentation, layers, features, licences.

use crate::shell::{Shell, workspaces};
use crate::steps::{self, Outcome, Step};
use crate::{Result, features, layers, licences, tidy};

/// The steps, for `check` and for `test-all`.
pub(crate) const STEPS: &[Step] = &[
    Step { name: "tidy", run: tidy::step },
    Step { name: "lock files", run: lock_files },
    Step { name: "layers", run: layers::step },
    Step { name: "licences", run: licences::step },
    Step { name: "format", run: format },
    Step { name: "clippy", run: clippy },
    Step { name: "rustdoc", run: rustdoc },
    Step { name: "features", run: features::step },
];

/// Runs the checks.
pub(crate) fn run(_: &[String]) -> Result {
    steps::run(STEPS, true)
}

/// Runs `cargo` with the arguments in every workspace of the repository.
fn everywhere(shell: &Shell, command: &str, arguments: &[&str]) -> Result<Outcome> {
    for manifest in workspaces() {
        let manifest = manifest.to_string_lossy();
        let mut cargo = shell.cargo(&[command, "--manifest-path", &manifest]);
        shell.run(cargo.args(arguments))?;
    }
    Ok(Outcome::Done)
}

/// The lock files say what the manifests need.
fn lock_files(shell: &Shell) -> Result<Outcome> {
    for manifest in workspaces() {
        let manifest = manifest.to_string_lossy();
        let arguments = ["metadata", "--locked", "--format-version", "1", "--manifest-path"];
        shell.output(shell.cargo(&arguments).arg(&*manifest)).map_err(|error| {
            format!("{error}; `cargo update --workspace --manifest-path {manifest}` mends it")
        })?;
    }
    Ok(Outcome::Done)
}

fn format(shell: &Shell) -> Result<Outcome> {
    everywhere(shell, "fmt", &["--all", "--check"])
}

fn clippy(shell: &Shell) -> Result<Outcome> {
    let arguments = ["--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"];
    everywhere(shell, "clippy", &arguments)
}

/// Libraries only: the command line's binary and the facade have one name.
pub(crate) fn rustdoc(shell: &Shell) -> Result<Outcome> {
    let mut cargo = shell.cargo(&["doc", "--workspace", "--lib", "--no-deps", "--all-features"]);
    shell.run(cargo.env("RUSTDOCFLAGS", "-D warnings"))?;
    Ok(Outcome::Done)
}
