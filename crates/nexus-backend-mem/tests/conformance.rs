//! The store in memory keeps the contract of every backend.

use std::sync::Arc;

use nexus_backend_mem::MemBackend;
use nexus_core::{Backend, Capabilities, Digests, Directories, ListOrder};
use nexus_testkit::conformance;

fn expected() -> Capabilities {
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
    capabilities.list_start_after = true;
    capabilities.list_order = ListOrder::Bytewise;
    capabilities.content_type = true;
    capabilities.user_metadata = true;
    capabilities.upload_named_last = true;
    capabilities.digests = Digests::Recorded;
    capabilities
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keeps_the_contract() {
    let fresh = || async { Arc::new(MemBackend::new("conformance")) as Arc<dyn Backend> };
    let report = conformance::run(fresh, &expected()).await;
    assert!(report.passed.len() > 100, "{report}");
}
