//! The wrapper that fails on demand: when, where, and what it counts.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use fixture::mem;
use futures_util::StreamExt;
use nexus_core::{Backend, Deleted, ErrorKind, VfsPath, WriteOptions};
use nexus_testkit::fault::{FaultBackend, Point};

fn path(text: &str) -> VfsPath {
    VfsPath::parse(text).unwrap()
}

async fn put(store: &FaultBackend, at: &str) -> Result<(), ErrorKind> {
    let written = store.write(&path(at), "content".into(), &WriteOptions::default()).await;
    written.map(drop).map_err(|error| error.kind())
}

#[tokio::test]
async fn strikes_the_call_that_was_named_and_no_other() {
    let store = FaultBackend::new(mem());
    store.fail(Point::Write, 2, ErrorKind::Timeout);
    store.lose(Point::Write, 4, ErrorKind::Unavailable);
    assert_eq!(put(&store, "/1").await, Ok(()));
    assert_eq!(put(&store, "/2").await, Err(ErrorKind::Timeout));
    assert_eq!(put(&store, "/3").await, Ok(()));
    assert_eq!(put(&store, "/4").await, Err(ErrorKind::Unavailable));
    assert_eq!(put(&store, "/5").await, Ok(()));
    assert_eq!(store.count(Point::Write), 5);
    let there = async |at| store.stat(&path(at)).await.is_ok();
    assert!(!there("/2").await, "it failed before its effect");
    assert!(there("/4").await, "only its answer was lost");
}

#[tokio::test]
async fn a_failure_of_the_store_is_not_hidden_by_a_lost_answer() {
    let store = FaultBackend::new(mem());
    store.lose(Point::Stat, 1, ErrorKind::Timeout);
    let error = store.stat(&path("/nothing")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn strikes_single_targets_pieces_and_entries() {
    let store = FaultBackend::new(mem());
    for at in ["/1", "/2", "/3"] {
        put(&store, at).await.unwrap();
    }
    store.fail(Point::Entry, 2, ErrorKind::Unavailable);
    let listing = store.list(&path("/"), &Default::default()).await.unwrap();
    let entries: Vec<_> = listing.map(|entry| entry.is_ok()).collect().await;
    assert_eq!(entries, [true, false, true]);

    store.fail(Point::Delete, 1, ErrorKind::PermissionDenied);
    store.lose(Point::Delete, 2, ErrorKind::Timeout);
    let targets = ["/1", "/2", "/3"].map(|at| path(at).into());
    let results = store.delete(&targets).await;
    let kinds: Vec<_> = results.into_iter().map(|done| done.map_err(|e| e.kind())).collect();
    let expected =
        [Err(ErrorKind::PermissionDenied), Err(ErrorKind::Timeout), Ok(Deleted::Removed)];
    assert_eq!(kinds, expected);
    let left = store.list(&path("/"), &Default::default()).await.unwrap();
    assert_eq!(left.count().await, 1, "only the first is still there");

    store.fail(Point::Piece, 1, ErrorKind::Unavailable);
    let object = store.read(&path("/1"), &Default::default()).await.unwrap();
    assert_eq!(object.body.bytes(99).await.unwrap_err().kind(), ErrorKind::Unavailable);
    store.read_in_pieces(3);
    let object = store.read(&path("/1"), &Default::default()).await.unwrap();
    let pieces: Vec<_> =
        object.body.into_stream().map(|piece| piece.unwrap().len()).collect().await;
    assert_eq!(pieces, [3, 3, 1]);
}
