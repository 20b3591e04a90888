//! Tools that the checks need and Rust does not bring: built once by cargo from the registry, in a
//! pinned version, into the user's cache directory.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use crate::Result;
use crate::shell::{Shell, target_dir};

/// A tool that cargo can install.
pub(crate) struct Tool {
    name: &'static str,
    version: &'static str,
}

pub(crate) const CARGO_DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2" };
pub(crate) const CARGO_FUZZ: Tool = Tool { name: "cargo-fuzz", version: "0.13.2" };

/// Where tools are installed: `NEXUS_FS_TOOLS`, else a place beside other caches.
pub(crate) fn home() -> PathBuf {
    match (env::var_os("NEXUS_FS_TOOLS"), env::var_os("HOME")) {
        (Some(dir), _) => dir.into(),
        (None, Some(home)) => PathBuf::from(home).join(".cache/nexus-fs/tools"),
        (None, None) => target_dir().join("tools"),
    }
}

/// Installs a tool unless it is there in this very version; answers a `PATH` that begins with it.
pub(crate) fn ensure(shell: &Shell, tool: &Tool) -> Result<OsString> {
    let dir = home().join(format!("{}-{}", tool.name, tool.version));
    let bin = dir.join("bin");
    if !bin.join(tool.name).is_file() {
        let mut cargo = shell.cargo(&["install", "--locked", tool.name, "--version", tool.version]);
        // Built in a temporary directory: what a tool is made of does not stay.
        shell.run(cargo.arg("--root").arg(&dir).env_remove("CARGO_TARGET_DIR"))?;
    }
    with_path(bin)
}

/// The `PATH` of this process with a directory in front.
pub(crate) fn with_path(first: PathBuf) -> Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    Ok(env::join_paths(std::iter::once(first).chain(env::split_paths(&path)))?)
}
