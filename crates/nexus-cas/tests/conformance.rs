//! The content-addressed layout keeps the contract of every backend, over memory and over a folder.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{cutting, expected, in_folder, over};
use nexus_backend_mem::MemBackend;
use nexus_cas::CasBackend;
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

/// A store in a folder of its own for each case; `open` mounts it.
async fn in_a_folder<F>(open: impl Fn(PathBuf) -> F + Sync)
where
    F: Future<Output = CasBackend> + Send,
{
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let cases = AtomicUsize::new(0);
    let fresh = || {
        let dir = root.join(cases.fetch_add(1, Ordering::Relaxed).to_string());
        std::fs::create_dir(&dir).unwrap();
        let opening = open(dir);
        async { Arc::new(opening.await) as Arc<dyn Backend> }
    };
    // Of the first one, whose capabilities are compared.
    let mut expected = expected();
    expected.own_files = Some(root.join("0/.nexus"));
    let report = conformance::run(fresh, &expected).await;
    assert!(report.passed.len() > 100, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_a_folder_against_power_cuts() {
    in_a_folder(|root| async move { in_folder(&root, Durability::Full).await }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_a_folder_against_kills() {
    in_a_folder(|root| async move { in_folder(&root, Durability::Process).await }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_chunks() {
    in_a_folder(|root| async move { cutting(&root).await }).await;
}
