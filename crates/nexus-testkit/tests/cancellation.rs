//! Kernel verbs that are dropped at each of their awaits: old state or new one for one object, whole
//! objects for many, and nothing that keeps a mount from closing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use std::future::Future;
use std::pin::Pin;

use fixture::{Contents, Fixture, fixture};
use nexus_core::{Bytes, Kernel, Result, WriteOptions};
use nexus_testkit::cancel;
use tokio::time::Instant;

type Verb = for<'a> fn(&'a Kernel) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

/// A fixture that waits around every effect, with a tree at `/a/t` and something old at `/b/old`.
async fn slow() -> Fixture {
    let f = fixture().await;
    for (path, content) in [
        ("/a/t/1", "one one one"),
        ("/a/t/d/2", "two two two"),
        ("/a/t/d/e/3", "three three"),
        ("/b/old", "old"),
    ] {
        f.put(path, content).await;
    }
    for store in [&f.a, &f.b] {
        store.yield_around_effects();
        store.read_in_pieces(4);
    }
    f
}

async fn everything(f: &Fixture) -> Contents {
    let mut contents = f.contents("/a").await;
    contents.extend(f.contents("/b").await);
    contents
}

/// Drops `verb` after one poll, then two, and so on until it completes, on a fresh fixture each;
/// `check` looks at what is there before, now, and when the verb is done.
async fn at_each_await(verb: Verb, check: fn(&Contents, &Contents, &Contents)) {
    let f = slow().await;
    let old = everything(&f).await;
    verb(&f.kernel).await.unwrap();
    let new = everything(&f).await;
    for polls in 0.. {
        let f = slow().await;
        let outcome = cancel::after(polls, verb(&f.kernel)).await;
        let now = everything(&f).await;
        check(&old, &now, &new);
        let begun = Instant::now();
        f.kernel.close().await.unwrap();
        assert_eq!(begun.elapsed().as_secs(), 0, "something is still under way");
        if let Some(outcome) = outcome {
            outcome.unwrap();
            assert_eq!(now, new);
            assert!(polls > 2, "it never waited");
            return;
        }
    }
}

fn old_or_new(old: &Contents, now: &Contents, new: &Contents) {
    assert!(now == old || now == new, "{now:?}");
}

/// Every path that is there is as it was before or as it is afterwards.
fn each_old_or_new(old: &Contents, now: &Contents, new: &Contents) {
    for (path, content) in now {
        let known = [old.get(path), new.get(path)];
        assert!(known.contains(&Some(content)), "{path}: {content:?}");
    }
}

/// Moreover nothing that was there is gone everywhere.
fn nothing_lost(old: &Contents, now: &Contents, new: &Contents) {
    each_old_or_new(old, now, new);
    let contents = |tree: &Contents| -> Vec<Bytes> {
        let mut contents: Vec<_> = tree.values().flatten().cloned().collect();
        contents.sort_unstable();
        contents.dedup();
        contents
    };
    assert_eq!(contents(now), contents(old));
}

#[tokio::test(start_paused = true)]
async fn write() {
    let verb: Verb = |kernel| {
        Box::pin(async { kernel.write("/b/old", "new", &WriteOptions::default()).await.map(drop) })
    };
    at_each_await(verb, old_or_new).await;
}

#[tokio::test(start_paused = true)]
async fn upload() {
    let verb: Verb = |kernel| {
        Box::pin(async {
            let mut upload = kernel.upload("/b/old", &WriteOptions::default()).await?;
            upload.write("first".into()).await?;
            upload.write("second".into()).await?;
            upload.finish().await.map(drop)
        })
    };
    at_each_await(verb, old_or_new).await;
}

#[tokio::test(start_paused = true)]
async fn delete() {
    at_each_await(|kernel| Box::pin(kernel.delete("/b/old")), old_or_new).await;
}

#[tokio::test(start_paused = true)]
async fn copy_inside_a_mount() {
    let verb: Verb = |kernel| {
        Box::pin(async { kernel.copy("/a/t/1", "/a/t/d/2", &Default::default()).await.map(drop) })
    };
    at_each_await(verb, old_or_new).await;
}

#[tokio::test(start_paused = true)]
async fn copy_between_mounts() {
    let verb: Verb = |kernel| {
        Box::pin(async { kernel.copy("/a/t/1", "/b/old", &Default::default()).await.map(drop) })
    };
    at_each_await(verb, old_or_new).await;
}

#[tokio::test(start_paused = true)]
async fn rename_inside_a_mount() {
    let verb: Verb = |kernel| {
        Box::pin(async { kernel.rename("/a/t", "/a/moved", &Default::default()).await.map(drop) })
    };
    at_each_await(verb, old_or_new).await;
}

#[tokio::test(start_paused = true)]
async fn rename_between_mounts() {
    let verb: Verb = |kernel| {
        Box::pin(async { kernel.rename("/a/t/1", "/b/new", &Default::default()).await.map(drop) })
    };
    at_each_await(verb, nothing_lost).await;
}

#[tokio::test(start_paused = true)]
async fn rename_of_a_tree_between_mounts() {
    let verb: Verb = |kernel| {
        Box::pin(async { kernel.rename("/a/t", "/b/t", &Default::default()).await.map(drop) })
    };
    at_each_await(verb, nothing_lost).await;
}

#[tokio::test(start_paused = true)]
async fn copy_of_a_tree() {
    let verb: Verb = |kernel| {
        Box::pin(async { kernel.copy_all("/a/t", "/b/t", &Default::default()).await.map(drop) })
    };
    at_each_await(verb, nothing_lost).await;
}

#[tokio::test(start_paused = true)]
async fn removal_of_a_tree() {
    let verb: Verb = |kernel| Box::pin(async { kernel.remove_all("/a/t").await.map(drop) });
    at_each_await(verb, each_old_or_new).await;
}

#[tokio::test(start_paused = true)]
async fn directories() {
    let verb: Verb = |kernel| Box::pin(kernel.create_dir("/b/new/deep"));
    at_each_await(verb, old_or_new).await;
}

#[tokio::test(start_paused = true)]
async fn reading() {
    let verb: Verb = |kernel| {
        Box::pin(async {
            let object = kernel.read("/a/t/1", &Default::default()).await?;
            object.body.bytes(100).await?;
            futures_util::StreamExt::count(kernel.walk("/a", &Default::default()).await?).await;
            Ok(())
        })
    };
    at_each_await(verb, old_or_new).await;
}
