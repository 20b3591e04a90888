//! Dropped futures: whichever await they are dropped at, the old state stands or the new one.

use std::future::Future;

use nexus_core::{
    Backend, BackendExt, Bytes, Capabilities, Directories, ListOptions, ReadOptions, Result,
    WriteMode, WriteOptions,
};

use super::cases;
use super::subject::{Subject, Tree, done};
use crate::cancel;
use crate::support::{content, path};

cases! {
    write: |c| c.write,
    write_of_something_new: |c| c.write,
    upload: |c| c.write,
    upload_of_something_new: |c| c.write,
    delete: |c| c.write,
    copy: |c| c.write && c.copy,
    rename: |c| c.write && c.rename,
    rename_dir: |c| c.write && c.rename_dir,
    create_dir: |c| c.directories == Directories::Real && c.write,
    remove_dir: |c| c.directories == Directories::Real && c.write,
    read_and_list: |c: &Capabilities| c.write,
}

/// A future that takes more polls than this does not end.
const MOST_POLLS: usize = 10_000;

/// The contents of a tree, without metadata.
fn contents(tree: Tree) -> Vec<(String, Option<Bytes>)> {
    tree.into_iter()
        .map(|(at, found)| match found {
            super::subject::Found::File(_, bytes) => (at, Some(bytes)),
            super::subject::Found::Directory => (at, None),
        })
        .collect()
}

/// Prepares the store, begins `verb`, and drops it after one poll, then after two, and so on until
/// it completes. What is there then is what was there before, or what the whole verb makes of it.
async fn at_each_await<P, V>(store: &Subject, prepare: impl Fn() -> P, verb: impl Fn() -> V)
where
    P: Future<Output = ()>,
    V: Future<Output = Result<()>>,
{
    prepare().await;
    let old = contents(store.tree().await);
    done(verb().await);
    let new = contents(store.tree().await);
    for polls in 0..MOST_POLLS {
        prepare().await;
        let outcome = cancel::after(polls, verb()).await;
        let now = contents(store.tree().await);
        assert!(now == new || (outcome.is_none() && now == old), "after {polls} polls: {now:?}");
        if let Some(outcome) = outcome {
            return done(outcome);
        }
    }
    panic!("not done after {MOST_POLLS} polls");
}

/// Makes the tree what it is when each round begins, whatever the last one left.
async fn begin(store: &Subject, files: &[(&str, &str)], gone: &[&str]) {
    for (at, text) in files {
        store.put(at, (*text).to_owned()).await;
    }
    for at in gone {
        // Where the store has no directories, or this was never made, there is nothing to remove.
        let _ = store.delete(at).await;
        let _ = store.backend().remove_dir(&path(at)).await;
    }
}

async fn write(store: &Subject) {
    let large = content(1, 1 << 20);
    at_each_await(
        store,
        || begin(store, &[("/a", "old")], &[]),
        || async {
            let options = WriteOptions::default();
            store.backend().write(&path("/a"), large.clone(), &options).await.map(drop)
        },
    )
    .await;
}

async fn write_of_something_new(store: &Subject) {
    at_each_await(
        store,
        || begin(store, &[("/d/stays", "x")], &["/d/new"]),
        || async {
            let options = WriteOptions::default();
            store.backend().write(&path("/d/new"), "new".into(), &options).await.map(drop)
        },
    )
    .await;
}

/// Three pieces, published; every await of the whole is one to be dropped at.
async fn upload_to(backend: &dyn Backend, at: &str) -> Result<()> {
    let mut upload = backend.upload(&path(at), &WriteOptions::default()).await?;
    for seed in 0..3 {
        upload.write(content(seed, 200_000)).await?;
    }
    upload.finish().await.map(drop)
}

async fn upload(store: &Subject) {
    at_each_await(
        store,
        || begin(store, &[("/a", "old")], &[]),
        || upload_to(store.backend(), "/a"),
    )
    .await;
}

async fn upload_of_something_new(store: &Subject) {
    at_each_await(
        store,
        || begin(store, &[("/d/stays", "x")], &["/d/new"]),
        || upload_to(store.backend(), "/d/new"),
    )
    .await;
}

async fn delete(store: &Subject) {
    at_each_await(
        store,
        || begin(store, &[("/a", "x"), ("/b", "y")], &[]),
        || async { store.backend().delete_one(path("/a").into()).await.map(drop) },
    )
    .await;
}

async fn copy(store: &Subject) {
    at_each_await(
        store,
        || begin(store, &[("/a", "new"), ("/b", "old")], &[]),
        || async { store.copy("/a", "/b", &WriteMode::Overwrite).await.map(drop) },
    )
    .await;
}

async fn rename(store: &Subject) {
    at_each_await(
        store,
        || begin(store, &[("/a", "new"), ("/b", "old")], &[]),
        || async { store.rename("/a", "/b", &WriteMode::Overwrite).await },
    )
    .await;
}

async fn rename_dir(store: &Subject) {
    at_each_await(
        store,
        || {
            begin(
                store,
                &[("/from/a", "x"), ("/from/b/c", "y")],
                &["/to/a", "/to/b/c", "/to/b", "/to"],
            )
        },
        || async { store.rename("/from", "/to", &WriteMode::Create).await },
    )
    .await;
}

async fn create_dir(store: &Subject) {
    at_each_await(
        store,
        || begin(store, &[("/d/a", "x")], &["/d/new"]),
        || async { store.backend().create_dir(&path("/d/new")).await },
    )
    .await;
}

async fn remove_dir(store: &Subject) {
    at_each_await(
        store,
        || async {
            begin(store, &[("/d/a", "x")], &[]).await;
            done(store.backend().create_dir(&path("/d/empty")).await);
        },
        || async { store.backend().remove_dir(&path("/d/empty")).await },
    )
    .await;
}

async fn read_and_list(store: &Subject) {
    at_each_await(
        store,
        || begin(store, &[("/d/a", "x"), ("/d/b", "y")], &[]),
        || async {
            store.stat("/d/a").await?;
            store.read("/d/b", &ReadOptions::default()).await?;
            store.list("/d", &ListOptions::default()).await.map(drop)
        },
    )
    .await;
}
