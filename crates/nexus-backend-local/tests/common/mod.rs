//! A folder that is mounted, for the tests of this crate.

#![allow(
    clippy::unwrap_used,
    dead_code,
    reason = "a test fails by panicking, and uses what it needs"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nexus_core::{
    Backend, Metadata, MountContext, MountUri, ReadOptions, Result, VfsPath, WriteOptions,
};

/// The ways in which paths are kept beneath the root; every test of confinement runs with each.
pub(crate) const RESOLVERS: [&str; 2] = ["openat2", "portable"];

/// Opens a folder as a backend, with options as in a URI.
pub(crate) async fn open(root: &Path, options: &str) -> Result<Arc<dyn Backend>> {
    let uri = MountUri::parse(&format!("local://{}?{options}", root.display()))?;
    nexus_backend_local::DESCRIPTOR.check_options(&uri)?;
    let context = MountContext::default();
    let mut candidate = (nexus_backend_local::DESCRIPTOR.build)(&uri, &context)?;
    candidate.check_credentials().await?;
    candidate.open().await
}

pub(crate) fn path(text: &str) -> VfsPath {
    VfsPath::parse(text).unwrap()
}

/// Writes a whole file.
pub(crate) async fn put(backend: &dyn Backend, text: &str, content: Vec<u8>) -> Result<Metadata> {
    backend.write(&path(text), content.into(), &WriteOptions::default()).await
}

/// Reads a whole file.
pub(crate) async fn get(backend: &dyn Backend, text: &str) -> Result<Vec<u8>> {
    let object = backend.read(&path(text), &ReadOptions::default()).await?;
    Ok(object.body.bytes(64 << 20).await?.to_vec())
}

/// Every file below a folder with its content, sorted.
pub(crate) fn snapshot(folder: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                folders.push(entry.path());
            }
            found
                .push((entry.path(), kind.is_file().then(|| std::fs::read(entry.path()).unwrap())));
        }
    }
    found.sort();
    found
}

/// Whether this program may become another user. Where it may not, what depends on it is not tested,
/// and says so; continuous integration does not accept that.
#[allow(clippy::print_stderr, reason = "a test that can not be run must say so")]
pub(crate) fn may_become_others() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    assert!(is_root || std::env::var_os("CI").is_none(), "this test needs root");
    if !is_root {
        eprintln!("NOT TESTED: this test becomes another user, and needs root");
    }
    is_root
}
