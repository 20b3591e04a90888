//! `delete`: one result a target, in order, and nothing beside them.

use nexus_core::{
    BackendExt, DeleteTarget, Deleted, ErrorKind, Operation, ReadOptions, Result, Version,
    WriteMode, WriteOptions,
};

use super::cases;
use super::subject::{Subject, done, refused};
use crate::support::{path, together};

cases! {
    removes_one_file_and_nothing_beside: |c| c.write,
    leaves_the_directory: super::dirs::real,
    an_absent_path_is_no_failure: |c| c.write,
    refuses_the_root: |c| c.write,
    refuses_a_directory: super::dirs::real,
    answers_in_order_past_failures: |c| c.write,
    takes_no_target_and_the_same_twice: |c| c.write,
    takes_thousands: |c| c.write,
    one_of_many_removes: |c| c.write,
    if_version_removes_one_version_only: |c| c.write && c.delete_if_version && c.versions,
    if_version_of_nothing_makes_nothing: |c| c.write && c.delete_if_version && c.versions,
    if_version_never_deletes_what_replaced_it: |c| {
        c.write && c.delete_if_version && c.replace && c.versions
    },
    if_version_is_checked_for_each_target: |c| c.write && c.delete_if_version && c.versions,
}

/// It was there, or the store does not tell.
#[track_caller]
fn removed(result: Result<Deleted>) {
    assert!(matches!(done(result), Deleted::Removed | Deleted::Gone));
}

/// It was not there, or the store does not tell.
#[track_caller]
fn absent(result: Result<Deleted>) {
    assert!(matches!(done(result), Deleted::Absent | Deleted::Gone));
}

async fn removes_one_file_and_nothing_beside(store: &Subject) {
    for file in ["/d/a", "/d/ab", "/d/a-b", "/d/b"] {
        store.put(file, "x").await;
    }
    removed(store.delete("/d/a").await);
    refused(store.stat("/d/a").await, ErrorKind::NotFound, Operation::Stat, &["/d/a"]);
    let read = store.read("/d/a", &ReadOptions::default()).await;
    refused(read, ErrorKind::NotFound, Operation::Read, &["/d/a"]);
    assert_eq!(store.children("/d").await, ["/d/a-b", "/d/ab", "/d/b"]);
}

async fn leaves_the_directory(store: &Subject) {
    store.put("/d/e/a", "x").await;
    removed(store.delete("/d/e/a").await);
    assert!(done(store.stat("/d/e").await).is_dir());
    assert!(store.children("/d/e").await.is_empty());
}

async fn an_absent_path_is_no_failure(store: &Subject) {
    store.put("/a/b", "x").await;
    store
        .unchanged(async {
            absent(store.delete("/b").await);
            absent(store.delete("/a/c").await);
            absent(store.delete("/no/such/place").await);
        })
        .await;
}

async fn refuses_the_root(store: &Subject) {
    store.put("/a", "x").await;
    store
        .unchanged(async {
            refused(store.delete("/").await, ErrorKind::IsADirectory, Operation::Delete, &["/"]);
        })
        .await;
}

async fn refuses_a_directory(store: &Subject) {
    store.put("/d/a", "x").await;
    done(store.backend().create_dir(&path("/empty")).await);
    store
        .unchanged(async {
            for at in ["/d", "/empty"] {
                let deleted = store.delete(at).await;
                refused(deleted, ErrorKind::IsADirectory, Operation::Delete, &[at]);
            }
        })
        .await;
}

async fn answers_in_order_past_failures(store: &Subject) {
    for file in ["/a", "/b", "/d/x", "/f"] {
        store.put(file, "x").await;
    }
    let targets: Vec<DeleteTarget> =
        ["/a", "/none", "/d", "/f/below", "/b"].map(|text| path(text).into()).to_vec();
    let mut results = store.backend().delete(&targets).await.into_iter();
    assert_eq!(results.len(), 5);
    removed(results.next().unwrap());
    absent(results.next().unwrap());
    let directory = results.next().unwrap();
    if store.has_real_directories() {
        refused(directory, ErrorKind::IsADirectory, Operation::Delete, &["/d"]);
    }
    if let Err(error) = results.next().unwrap() {
        assert_eq!(error.kind(), ErrorKind::NotADirectory);
        assert_eq!(error.path(), Some("/f/below"));
    }
    removed(results.next().unwrap());
    assert_eq!(store.children("/").await, ["/d/", "/f"]);
    assert_eq!(store.get("/d/x").await, "x");
}

async fn takes_no_target_and_the_same_twice(store: &Subject) {
    store.put("/a", "x").await;
    assert!(store.backend().delete(&[]).await.is_empty());
    let mut results = store.backend().delete(&[path("/a").into(), path("/a").into()]).await;
    assert_eq!(results.len(), 2);
    absent(results.pop().unwrap());
    removed(results.pop().unwrap());
}

async fn takes_thousands(store: &Subject) {
    let names: Vec<_> = (0..1500).map(|n| format!("/many/{n:04}")).collect();
    for name in names.iter().step_by(2) {
        store.put(name, "x").await;
    }
    store.put("/many/stays", "x").await;
    let targets: Vec<DeleteTarget> = names.iter().map(|name| path(name).into()).collect();
    let batch = store.capabilities().limits.delete_batch.unwrap_or(usize::MAX);
    for batch in targets.chunks(batch) {
        for (target, result) in batch.iter().zip(store.backend().delete(batch).await) {
            let there = names.iter().step_by(2).any(|name| target.path.as_str() == name);
            if there { removed(result) } else { absent(result) }
        }
    }
    assert_eq!(store.children("/many").await, ["/many/stays"]);
}

async fn one_of_many_removes(store: &Subject) {
    store.put("/a", "x").await;
    let outcomes = together(16, |_| {
        let backend = store.shared();
        async move { backend.delete_one(path("/a").into()).await }
    })
    .await;
    let outcomes: Vec<_> = outcomes.into_iter().map(done).collect();
    if !outcomes.contains(&Deleted::Gone) {
        let removed = outcomes.iter().filter(|outcome| **outcome == Deleted::Removed);
        assert_eq!(removed.count(), 1);
    }
    assert!(store.children("/").await.is_empty());
}

fn only(at: &str, version: &Version) -> DeleteTarget {
    DeleteTarget { path: path(at), if_version: Some(version.clone()) }
}

async fn if_version_removes_one_version_only(store: &Subject) {
    let first = store.put("/a", "first").await.version.unwrap();
    let second = store.put("/a", "other").await.version.unwrap();
    store
        .unchanged(async {
            let stale = store.backend().delete_one(only("/a", &first)).await;
            refused(stale, ErrorKind::PreconditionFailed, Operation::Delete, &["/a"]);
        })
        .await;
    removed(store.backend().delete_one(only("/a", &second)).await);
    assert!(store.children("/").await.is_empty());
}

/// The contract leaves open whether this is a failure; nothing may come of it.
async fn if_version_of_nothing_makes_nothing(store: &Subject) {
    let version = store.put("/a", "x").await.version.unwrap();
    store
        .unchanged(async {
            match store.backend().delete_one(only("/b/c", &version)).await {
                Ok(deleted) => assert!(matches!(deleted, Deleted::Absent | Deleted::Gone)),
                Err(error) => assert_eq!(error.kind(), ErrorKind::PreconditionFailed),
            }
        })
        .await;
}

/// Of a delete and a write that name the same version, one succeeds: a write that succeeded stays.
async fn if_version_never_deletes_what_replaced_it(store: &Subject) {
    for round in 0..40 {
        let version = store.put("/a", format!("round {round}")).await.version.unwrap();
        let outcomes = together(2, |index| {
            let (backend, version) = (store.shared(), version.clone());
            async move {
                if index == 0 {
                    return backend.delete_one(only("/a", &version)).await.map(drop);
                }
                let options = WriteOptions::from(WriteMode::Replace(version));
                backend.write(&path("/a"), "new".into(), &options).await.map(drop)
            }
        })
        .await;
        match (&outcomes[0], &outcomes[1]) {
            (Ok(()), Err(late)) => {
                assert_eq!(late.kind(), ErrorKind::NotFound);
                assert!(store.children("/").await.is_empty());
            }
            (Err(late), Ok(())) => {
                assert_eq!(late.kind(), ErrorKind::PreconditionFailed);
                assert_eq!(store.get("/a").await, "new");
            }
            outcomes => panic!("{outcomes:?}"),
        }
    }
}

async fn if_version_is_checked_for_each_target(store: &Subject) {
    let stale = store.put("/a", "old").await.version.unwrap();
    store.put("/a", "new").await;
    let right = store.put("/b", "x").await.version.unwrap();
    let mut results =
        store.backend().delete(&[only("/a", &stale), only("/b", &right)]).await.into_iter();
    let first = results.next().unwrap();
    refused(first, ErrorKind::PreconditionFailed, Operation::Delete, &["/a"]);
    removed(results.next().unwrap());
    assert_eq!(store.children("/").await, ["/a"]);
}
