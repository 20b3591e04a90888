//! The content-addressed layout keeps the contract of every backend, over memory and over a folder.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{cutting, expected, in_folder, over};
use nexus_backend_mem::MemBackend;
use nexus_cas::refs::sqlite::Durability;
use nexus_core::Backend;
use nexus_testkit::conformance;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn over_memory() {
    let folder = tempfile::tempdir().unwrap();
    let cases = AtomicUsize::new(0);
    let fresh = || async {
        let dir = folder.path().join(cases.fetch_add(1, Ordering::Relaxed).to_string());
        std::fs::create_dir(&dir).unwrap();
        let mem = Arc::new(MemBackend::new("blobs"));
        Arc::new(over(mem, dir, Durability::Process).await) as Arc<dyn Backend>
    };
    let report = conformance::run(fresh, &expected()).await;
    assert!(report.passed.len() > 100, "{report}");
}

async fn in_a_folder(durability: Durability) {
    let folder = tempfile::tempdir().unwrap();
    let cases = AtomicUsize::new(0);
    let fresh = || async {
        let dir = folder.path().join(cases.fetch_add(1, Ordering::Relaxed).to_string());
        std::fs::create_dir(&dir).unwrap();
        Arc::new(in_folder(&dir, durability).await) as Arc<dyn Backend>
    };
    let report = conformance::run(fresh, &expected()).await;
    assert!(report.passed.len() > 100, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_a_folder_against_power_cuts() {
    in_a_folder(Durability::Full).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_a_folder_against_kills() {
    in_a_folder(Durability::Process).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_chunks() {
    let folder = tempfile::tempdir().unwrap();
    let cases = AtomicUsize::new(0);
    let fresh = || async {
        let dir = folder.path().join(cases.fetch_add(1, Ordering::Relaxed).to_string());
        std::fs::create_dir(&dir).unwrap();
        Arc::new(cutting(&dir).await) as Arc<dyn Backend>
    };
    let report = conformance::run(fresh, &expected()).await;
    assert!(report.passed.len() > 100, "{report}");
}
