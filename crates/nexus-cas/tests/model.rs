//! The kernel over content-addressed stores does what the reference model does.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{cutting, in_folder, over};
use nexus_backend_mem::MemBackend;
use nexus_cas::refs::sqlite::Durability;
use nexus_testkit::model::{self, Store};

/// New directories.
struct Dirs(tempfile::TempDir, AtomicUsize);

impl Dirs {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap(), AtomicUsize::new(0))
    }

    fn next(&self) -> PathBuf {
        let dir = self.0.path().join(self.1.fetch_add(1, Ordering::Relaxed).to_string());
        std::fs::create_dir(&dir).unwrap();
        dir
    }
}

#[test]
fn over_memory_and_in_a_folder() {
    let dirs = Dirs::new();
    model::check(48, || async {
        let mem = Arc::new(MemBackend::new("blobs"));
        let over_memory = over(mem, dirs.next(), Durability::Process).await;
        let in_folder = in_folder(&dirs.next(), Durability::Process).await;
        [over_memory, in_folder].map(|store| Store::new(Arc::new(store)))
    });
}

#[test]
fn in_chunks_and_beside_a_store_that_keeps_content_whole() {
    let dirs = Dirs::new();
    model::check(32, || async {
        let in_folder = in_folder(&dirs.next(), Durability::Process).await;
        let in_chunks = cutting(&dirs.next()).await;
        [in_folder, in_chunks].map(|store| Store::new(Arc::new(store)))
    });
}
