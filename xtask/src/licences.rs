//! Licences, banned crates and sources of what we depend on, by `deny.toml`. Vulnerabilities are not
//! looked up here: that needs a database that changes every day.

use crate::Result;
use crate::shell::Shell;
use crate::steps::Outcome;
use crate::tools::{self, CARGO_DENY};

/// Runs `cargo deny` on the main workspace, which is what users build.
pub(crate) fn step(shell: &Shell) -> Result<Outcome> {
    let path = tools::ensure(shell, &CARGO_DENY)?;
    let mut cargo =
        shell.cargo(&["deny", "--all-features", "check", "bans", "licenses", "sources"]);
    shell.run(cargo.env("PATH", path))?;
    Ok(Outcome::Done)
}
