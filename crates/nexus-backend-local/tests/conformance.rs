//! The local backend keeps the contract of every backend, whichever way paths are resolved.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::open;
use nexus_core::{Capabilities, Digests, Directories, Layout, Limits};
use nexus_testkit::conformance;

fn expected(root: PathBuf) -> Capabilities {
    let mut capabilities = Capabilities::default();
    capabilities.write = true;
    capabilities.create = true;
    capabilities.replace = true;
    capabilities.delete_if_version = true;
    capabilities.versions = true;
    capabilities.copy = true;
    capabilities.rename = true;
    capabilities.rename_dir = true;
    capabilities.directories = Directories::Real;
    capabilities.list_recursive = true;
    capabilities.upload_named_last = true;
    capabilities.digests = Digests::Recorded;
    capabilities.layout = Layout::Plain;
    capabilities.limits =
        Limits { path_bytes: Some(4095), segment_bytes: Some(255), ..Limits::default() };
    capabilities.local_root = Some(root);
    capabilities
}

async fn keeps_the_contract(options: &str) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let cases = AtomicUsize::new(0);
    let report = conformance::run(
        || {
            // Every case gets a root of the same name, with what the last one left out of the way.
            let case = cases.fetch_add(1, Ordering::Relaxed);
            let _ = std::fs::rename(&root, folder.path().join(case.to_string()));
            std::fs::create_dir(&root).unwrap();
            async { open(&root, options).await.unwrap() }
        },
        &expected(root.clone()),
    )
    .await;
    assert!(report.passed.len() > 90, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_openat2() {
    keeps_the_contract("resolver=openat2").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_the_portable_resolver() {
    keeps_the_contract("resolver=portable").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_full_durability() {
    keeps_the_contract("durability=full").await;
}
