//! The suite itself passes stores of every kind that keep the contract. That it finds those that do
//! not is shown in `defects`.

use std::sync::Arc;

use nexus_backend_mem::MemBackend;
use nexus_core::{Backend, Capabilities, Digests, Directories, ListOrder};
use nexus_testkit::conformance::{self, Report};
use nexus_testkit::fault::FaultBackend;
use nexus_testkit::lesser::Lesser;

fn mem() -> Arc<dyn Backend> {
    Arc::new(MemBackend::new("suite"))
}

/// Runs the suite on a store with fewer capabilities.
async fn reduced(reduce: fn(&mut Capabilities)) -> Report {
    let make = || async move { Lesser::new(mem(), reduce) as Arc<dyn Backend> };
    let expected = make().await.info().capabilities.clone();
    conformance::run(make, &expected).await
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_a_store_without_any_option() {
    let report = reduced(|capabilities| {
        *capabilities = Capabilities::default();
        capabilities.write = true;
    })
    .await;
    for refused in [
        "refused::create",
        "refused::replace",
        "refused::delete_if_version",
        "refused::versions",
        "refused::copy",
        "refused::rename",
        "refused::rename_dir",
        "refused::directories",
        "refused::list_recursive",
        "refused::list_start_after",
        "refused::content_type",
        "refused::user_metadata",
    ] {
        assert!(report.passed.contains(&refused), "{refused} did not run");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_a_read_only_store() {
    let report = reduced(|capabilities| {
        let digests = capabilities.digests;
        *capabilities = Capabilities::default();
        capabilities.versions = true;
        capabilities.digests = digests;
    })
    .await;
    assert!(report.passed.contains(&"refused::write"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_a_store_whose_directories_are_only_keys() {
    let report = reduced(|capabilities| {
        capabilities.directories = Directories::Virtual;
        capabilities.rename_dir = false;
        capabilities.list_order = ListOrder::Unordered;
        capabilities.list_start_after = false;
    })
    .await;
    assert!(report.passed.contains(&"dirs::a_directory_lives_as_long_as_what_is_in_it"));
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_a_store_that_waits_at_every_step() {
    let make = || async {
        let slow = FaultBackend::new(mem());
        slow.yield_around_effects();
        slow.read_in_pieces(100_000);
        slow as Arc<dyn Backend>
    };
    conformance::run(make, &mem().info().capabilities).await;
}

#[tokio::test]
#[should_panic(expected = "declares other capabilities")]
async fn finds_a_capability_that_was_not_expected() {
    let mut expected = mem().info().capabilities.clone();
    expected.digests = Digests::None;
    conformance::run(|| async { mem() }, &expected).await;
}

#[tokio::test]
#[should_panic(expected = "no case is called")]
async fn a_filter_that_matches_nothing_is_no_success() {
    let expected = mem().info().capabilities.clone();
    conformance::run_matching(|| async { mem() }, &expected, "nonsense").await;
}
