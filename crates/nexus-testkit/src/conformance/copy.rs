//! `copy`: inside the store, published as by `write`.

use std::collections::BTreeMap;

use nexus_core::{Capabilities, CopyMethod, ErrorKind, Operation, WriteMode, WriteOptions};

use super::cases;
use super::subject::{Subject, done, refused};
use crate::support::{content, path, together};

cases! {
    copies_a_file: copies,
    copies_a_large_file: copies,
    takes_everything_along: copies,
    the_two_are_independent: copies,
    replaces_a_file: copies,
    makes_the_directories_above: copies,
    create_does_not_replace: |c| copies(c) && c.create && !c.copy_overwrites_only,
    create_wins_once: |c| copies(c) && c.create && !c.copy_overwrites_only,
    replace_takes_exactly_one_version: |c| {
        copies(c) && c.replace && c.versions && !c.copy_overwrites_only
    },
    other_modes_are_refused: |c| copies(c) && c.copy_overwrites_only,
    nothing_is_not_found: copies,
    refuses_directories: |c| copies(c) && super::dirs::real(c),
    refuses_a_file_above: |c| copies(c) && super::dirs::real(c),
}

fn copies(capabilities: &Capabilities) -> bool {
    capabilities.write && capabilities.copy
}

/// Overwrites whatever is there.
async fn copied(store: &Subject, from: &str, to: &str) {
    let method = done(store.copy(from, to, &WriteMode::Overwrite).await);
    assert_ne!(method, CopyMethod::Streamed, "not inside the store");
}

async fn copies_a_file(store: &Subject) {
    store.put("/a", "content").await;
    let before = done(store.stat("/a").await);
    copied(store, "/a", "/b").await;
    assert_eq!(store.get("/a").await, "content");
    assert_eq!(store.get("/b").await, "content");
    assert_eq!(done(store.stat("/a").await).version, before.version);
    assert_eq!(store.children("/").await, ["/a", "/b"]);
}

async fn copies_a_large_file(store: &Subject) {
    let whole = content(1, (6 << 20) + 1);
    done(store.upload("/a", std::slice::from_ref(&whole), &WriteOptions::default()).await);
    copied(store, "/a", "/d/b").await;
    assert!(store.get("/d/b").await == whole);
    store.put("/empty", "").await;
    copied(store, "/empty", "/d/b").await;
    assert_eq!(store.get("/d/b").await, "");
}

async fn takes_everything_along(store: &Subject) {
    let capabilities = store.capabilities();
    let mut options = WriteOptions::default();
    if capabilities.content_type {
        options.content_type = Some("text/csv".to_owned());
    }
    if capabilities.user_metadata {
        options.user = BTreeMap::from([("colour".to_owned(), "blue".to_owned())]);
    }
    let source = done(store.backend().write(&path("/a"), "1,2".into(), &options).await);
    copied(store, "/a", "/b").await;
    let target = done(store.stat("/b").await);
    assert_eq!(target.content_type, source.content_type);
    assert_eq!(target.user, source.user);
    assert_eq!(target.size, source.size);
    if target.digest.is_some() {
        assert_eq!(target.digest, source.digest);
    }
}

async fn the_two_are_independent(store: &Subject) {
    let whole = content(1, 300_000);
    store.put("/a", whole.clone()).await;
    copied(store, "/a", "/b").await;
    store.put("/a", "changed").await;
    assert!(store.get("/b").await == whole);
    copied(store, "/b", "/c").await;
    done(store.delete("/b").await);
    assert!(store.get("/c").await == whole);
}

async fn replaces_a_file(store: &Subject) {
    store.put("/a", "new").await;
    let old = store.put("/b", "old and longer").await;
    copied(store, "/a", "/b").await;
    assert_eq!(store.get("/b").await, "new");
    if store.capabilities().versions {
        assert_ne!(done(store.stat("/b").await).version, old.version);
    }
}

async fn makes_the_directories_above(store: &Subject) {
    store.put("/a", "x").await;
    copied(store, "/a", "/b/c/d").await;
    assert_eq!(store.get("/b/c/d").await, "x");
}

async fn create_does_not_replace(store: &Subject) {
    store.put("/a", "one").await;
    store.put("/b", "two").await;
    store
        .unchanged(async {
            let onto = store.copy("/a", "/b", &WriteMode::Create).await;
            refused(onto, ErrorKind::AlreadyExists, Operation::Copy, &["/a", "/b"]);
        })
        .await;
    done(store.copy("/a", "/c", &WriteMode::Create).await);
    assert_eq!(store.get("/c").await, "one");
}

async fn create_wins_once(store: &Subject) {
    for index in 0..16 {
        store.put(&format!("/from-{index:02}"), content(index, 2000)).await;
    }
    let outcomes = together(16, |index| {
        let backend = store.shared();
        async move {
            let from = path(&format!("/from-{index:02}"));
            backend.copy(&from, &path("/to"), &WriteMode::Create).await
        }
    })
    .await;
    let winners: Vec<_> = (0..16).filter(|index| outcomes[*index].is_ok()).collect();
    assert_eq!(winners.len(), 1, "winners: {winners:?}");
    assert_eq!(store.get("/to").await, content(winners[0] as u64, 2000));
    assert_eq!(store.children("/").await.len(), 17);
}

async fn replace_takes_exactly_one_version(store: &Subject) {
    store.put("/a", "new").await;
    let stale = WriteMode::Replace(store.put("/b", "one").await.version.unwrap());
    let right = WriteMode::Replace(store.put("/b", "two").await.version.unwrap());
    store
        .unchanged(async {
            let onto = store.copy("/a", "/b", &stale).await;
            refused(onto, ErrorKind::PreconditionFailed, Operation::Copy, &["/a", "/b"]);
            let onto = store.copy("/a", "/c/d", &stale).await;
            refused(onto, ErrorKind::NotFound, Operation::Copy, &["/a", "/c/d"]);
        })
        .await;
    done(store.copy("/a", "/b", &right).await);
    assert_eq!(store.get("/b").await, "new");
}

async fn other_modes_are_refused(store: &Subject) {
    store.put("/a", "new").await;
    let version = store.put("/b", "old").await.version;
    let replace = version.map(WriteMode::Replace);
    store
        .unchanged(async {
            for mode in [Some(WriteMode::Create), replace].into_iter().flatten() {
                for to in ["/b", "/c/d"] {
                    let onto = store.copy("/a", to, &mode).await;
                    refused(onto, ErrorKind::Unsupported, Operation::Copy, &["/a", to]);
                }
            }
        })
        .await;
}

async fn nothing_is_not_found(store: &Subject) {
    store.put("/a", "x").await;
    store
        .unchanged(async {
            for to in ["/a", "/b", "/c/d/e"] {
                let nothing = store.copy("/nothing", to, &WriteMode::Overwrite).await;
                refused(nothing, ErrorKind::NotFound, Operation::Copy, &["/nothing"]);
            }
        })
        .await;
}

async fn refuses_directories(store: &Subject) {
    store.put("/a", "x").await;
    store.put("/d/b", "y").await;
    store
        .unchanged(async {
            for (from, to) in [("/d", "/e"), ("/", "/e"), ("/a", "/d"), ("/a", "/")] {
                let refusal = store.copy(from, to, &WriteMode::Overwrite).await;
                refused(refusal, ErrorKind::IsADirectory, Operation::Copy, &[from, to]);
            }
        })
        .await;
}

async fn refuses_a_file_above(store: &Subject) {
    store.put("/a", "x").await;
    store.put("/f", "y").await;
    store
        .unchanged(async {
            for (from, to) in [("/a", "/f/x"), ("/a", "/f/x/y"), ("/f/x", "/b"), ("/f/x", "/c/b")] {
                let refusal = store.copy(from, to, &WriteMode::Overwrite).await;
                refused(refusal, ErrorKind::NotADirectory, Operation::Copy, &[from, to]);
            }
        })
        .await;
}
