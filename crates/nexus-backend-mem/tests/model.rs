//! The kernel over stores in memory does what the reference model does.

use std::sync::Arc;

use nexus_backend_mem::MemBackend;
use nexus_testkit::model::{self, Store};

#[test]
fn agrees_with_the_model() {
    model::check(512, || async {
        ["a", "b"].map(|name| Store::new(Arc::new(MemBackend::new(name))))
    });
}
