//! The kernel over buckets on a real server does what the reference model does. SeaweedFS is not
//! asked: it goes on listing directories that became empty, and puts a directory in the place of a
//! file.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Bucket, MINISTACK};
use nexus_testkit::model::{Plan, Store};

fn agrees(server: &str) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bucket = runtime.block_on(Bucket::make(server));
    let stores = AtomicUsize::new(0);
    let store = || {
        let prefix = format!("/store-{}", stores.fetch_add(1, Ordering::Relaxed));
        let bucket = &bucket;
        async move { Store::new(bucket.mount(&prefix).await) }
    };
    let plan = Plan { cases: 24, steps: 30, ..Plan::default() };
    plan.check(|| async { [store().await, store().await] });
}

#[test]
fn on_ministack() {
    agrees(MINISTACK);
}
