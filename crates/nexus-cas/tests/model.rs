//! The kernel over content-addressed stores does what the reference model does.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{in_folder, over};
use nexus_backend_mem::MemBackend;
use nexus_cas::refs::sqlite::Durability;
use nexus_testkit::model::{self, Store};

#[test]
fn over_memory_and_in_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let stores = AtomicUsize::new(0);
    let dir = || {
        let dir = folder.path().join(stores.fetch_add(1, Ordering::Relaxed).to_string());
        std::fs::create_dir(&dir).unwrap();
        dir
    };
    model::check(64, || async {
        let mem = Arc::new(MemBackend::new("blobs"));
        let over_memory = over(mem, dir(), Durability::Process).await;
        let in_folder = in_folder(&dir(), Durability::Process).await;
        [Store::new(Arc::new(over_memory)), Store::new(Arc::new(in_folder))]
    });
}
