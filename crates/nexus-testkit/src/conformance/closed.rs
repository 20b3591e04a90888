//! `close`: idempotent, and every later call answers `Closed`.

use futures_util::StreamExt;
use nexus_core::{
    BackendExt, ErrorKind, ListOptions, ReadOptions, Result, WriteMode, WriteOptions,
};

use super::cases;
use super::subject::{Subject, done};
use crate::support::{content, path};

cases! {
    is_idempotent: |_| true,
    what_it_says_of_itself_never_changes: |_| true,
    every_verb_answers_closed: |_| true,
    an_upload_that_was_open_publishes_nothing: |c| c.write,
    a_body_and_a_listing_end: |c| c.write,
    what_is_stored_is_not_changed_by_closing: |c| c.write && c.local_root.is_some(),
}

async fn is_idempotent(store: &Subject) {
    for _ in 0..3 {
        done(store.backend().close().await);
    }
}

async fn what_it_says_of_itself_never_changes(store: &Subject) {
    let info = store.backend().info().clone();
    assert!(!info.scheme.is_empty() && info.uri.starts_with(&format!("{}://", info.scheme)));
    if info.capabilities.write {
        store.put("/a", "x").await;
        assert_eq!(store.backend().info(), &info);
    }
    done(store.backend().close().await);
    assert_eq!(store.backend().info(), &info);
}

#[track_caller]
fn closed<T>(verb: &str, result: Result<T>) {
    let kind = result.map(drop).map_err(|error| error.kind());
    assert_eq!(kind, Err(ErrorKind::Closed), "{verb}");
}

/// Verbs that the store does not have may say so instead.
#[track_caller]
fn closed_where(has: bool, verb: &str, result: Result<()>) {
    match result {
        Err(error) if !has && error.kind() == ErrorKind::Unsupported => {}
        result => closed(verb, result),
    }
}

async fn every_verb_answers_closed(store: &Subject) {
    let capabilities = store.capabilities().clone();
    if capabilities.write {
        store.put("/a", "x").await;
    }
    done(store.backend().close().await);
    let backend = store.backend();
    let (a, b, mode) = (path("/a"), path("/b"), WriteMode::Overwrite);
    let write = WriteOptions::default();
    closed("stat", store.stat("/a").await);
    closed("stat of the root", store.stat("/").await);
    closed("stat of nothing", store.stat("/b").await);
    closed("read", store.read("/a", &ReadOptions::default()).await);
    closed("list", store.list("/", &ListOptions::default()).await);
    let has = capabilities.write;
    closed_where(has, "write", backend.write(&b, "x".into(), &write).await.map(drop));
    closed_where(has, "upload", store.upload("/b", &["x".into()], &write).await.map(drop));
    closed_where(has, "delete", backend.delete_one(a.clone().into()).await.map(drop));
    let has = capabilities.copy;
    closed_where(has, "copy", backend.copy(&a, &b, &mode).await.map(drop));
    closed_where(capabilities.rename, "rename", backend.rename(&a, &b, &mode).await);
    let has = store.has_real_directories();
    closed_where(has, "create_dir", backend.create_dir(&b).await);
    closed_where(has, "remove_dir", backend.remove_dir(&b).await);
}

async fn an_upload_that_was_open_publishes_nothing(store: &Subject) {
    let mut upload = done(store.backend().upload(&path("/a"), &WriteOptions::default()).await);
    done(upload.write("x".into()).await);
    done(store.backend().close().await);
    closed("finish", upload.finish().await);
}

/// What was begun before may be completed, or fail; it does not hang and is not cut in silence.
async fn a_body_and_a_listing_end(store: &Subject) {
    let whole = content(1, 4 << 20);
    store.put("/a", whole.clone()).await;
    let object = done(store.backend().read(&path("/a"), &ReadOptions::default()).await);
    let listing = done(store.backend().list(&path("/"), &ListOptions::default()).await);
    done(store.backend().close().await);
    if let Ok(bytes) = object.body.bytes(whole.len()).await {
        assert!(bytes == whole, "cut in silence");
    }
    let entries: Vec<_> = listing.collect().await;
    assert!(entries.iter().any(Result::is_err) || entries.len() == 1, "cut in silence");
}

/// Closing touches nothing on the disk.
async fn what_is_stored_is_not_changed_by_closing(store: &Subject) {
    store.put("/a", "x").await;
    done(store.backend().close().await);
    let root = store.capabilities().local_root.clone().unwrap();
    assert!(root.is_dir(), "{} is gone", root.display());
}
