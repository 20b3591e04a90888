//! The release binary: built, and asked for what it holds. The linker may drop a backend that
//! nobody names; only the binary itself can tell that it did not.

use std::path::PathBuf;
use std::process::Command;

use crate::shell::{Shell, target_dir};
use crate::steps::Outcome;
use crate::{Result, features};

/// Builds the command line tool as users get it; answers where it is.
pub(crate) fn build(shell: &Shell) -> Result<PathBuf> {
    shell.run(&mut shell.cargo(&["build", "--release", "--package", "nexus-cli"]))?;
    Ok(target_dir().join("release").join(format!("nexus-fs{}", std::env::consts::EXE_SUFFIX)))
}

/// Every scheme that the features promise is in the binary.
pub(crate) fn step(shell: &Shell) -> Result<Outcome> {
    let binary = build(shell)?;
    let shown = shell.output(Command::new(binary).arg("backends"))?;
    shell.note(&shown)?;
    for feature in features::names(shell)? {
        // A layout has no scheme of its own.
        let Some(scheme) =
            feature.strip_prefix("backend-").or_else(|| feature.strip_prefix("connector-"))
        else {
            continue;
        };
        let listed = |line: &str| line.split_whitespace().next() == Some(scheme);
        if !shown.lines().any(listed) {
            return Err(format!("`nexus-fs backends` does not show `{scheme}`").into());
        }
    }
    Ok(Outcome::Done)
}
