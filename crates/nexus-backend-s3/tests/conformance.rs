//! Buckets on real servers keep the contract of every backend.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Bucket, MINISTACK, SEAWEEDFS};
use nexus_core::{Capabilities, Digests, Directories, Limits};
use nexus_testkit::conformance;

/// What both servers can do, found by the probe.
fn expected() -> Capabilities {
    let mut capabilities = Capabilities::default();
    capabilities.write = true;
    capabilities.create = true;
    capabilities.replace = true;
    capabilities.delete_if_version = true;
    capabilities.versions = true;
    capabilities.versions_repeat = true;
    capabilities.copy = true;
    // Only Amazon is trusted with conditions on uploads by parts.
    capabilities.copy_overwrites_only = true;
    capabilities.directories = Directories::Virtual;
    capabilities.list_recursive = true;
    capabilities.content_type = true;
    capabilities.user_metadata = true;
    capabilities.digests = Digests::Recorded;
    capabilities.limits = Limits {
        path_bytes: Some(1024 - "case-0000".len()),
        delete_batch: Some(1000),
        ..Limits::default()
    };
    capabilities
}

async fn keeps_the_contract(server: &str, known: &[&'static str]) {
    let bucket = Bucket::make(server).await;
    let cases = AtomicUsize::new(0);
    let report = conformance::run_except(
        || {
            let case = cases.fetch_add(1, Ordering::Relaxed);
            let bucket = &bucket;
            async move { bucket.mount(&format!("/case-{case:04}")).await }
        },
        &expected(),
        known,
    )
    .await;
    assert!(report.passed.len() > 60, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_seaweedfs() {
    let known = [
        // An empty directory stays listed.
        "dirs::a_directory_lives_as_long_as_what_is_in_it",
        // A `\\` in a key is listed as a `/`.
        "paths::odd_names_stay_as_they_are",
    ];
    keeps_the_contract(SEAWEEDFS, &known).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_ministack() {
    keeps_the_contract(MINISTACK, &[]).await;
}
