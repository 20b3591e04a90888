//! A collector that can not look everywhere deletes nothing, and one beside writers and a verifier takes
//! nothing that is needed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{over, plain};
use futures_util::TryStreamExt;
use nexus_cas::refs::sqlite::Durability;
use nexus_core::{
    Backend, BackendExt, Bytes, Checked, CollectOptions, ErrorKind, Verdict, VfsPath,
};
use nexus_testkit::fault::{FaultBackend, Point};

const DELETE: CollectOptions = CollectOptions { delete: true, force: true };

/// Everything below the blobs of a store.
fn blobs(root: &Path) -> Vec<PathBuf> {
    let dirs = std::fs::read_dir(root.join(".nexus/blobs")).unwrap();
    let files = dirs.flat_map(|dir| std::fs::read_dir(dir.unwrap().path()).unwrap());
    let mut blobs: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    blobs.sort();
    blobs
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_that_fails_anywhere_deletes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let below = FaultBackend::new(plain(folder.path()).await);
    let dir = folder.path().join(".nexus");
    let store = over(Arc::clone(&below) as _, dir, Durability::Process).await;
    for seed in 0..40_u8 {
        let path: VfsPath = format!("/{seed}").parse().unwrap();
        let content = Bytes::from(vec![seed; 70_000]);
        store.write(&path, content, &Default::default()).await.unwrap();
        if seed % 2 == 0 {
            store.delete_one(path.into()).await.unwrap();
        }
    }
    let before = blobs(folder.path());
    let care = store.care().unwrap();
    // Of 256 directories, and of 40 contents with a tree each.
    for (point, nth) in [
        (Point::List, 1),
        (Point::List, 100),
        (Point::List, 256),
        (Point::Entry, 1),
        (Point::Entry, 41),
        (Point::Entry, 80),
    ] {
        below.fail(point, nth, ErrorKind::Unavailable);
        let error = care.collect(&DELETE).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{point:?} {nth}");
        assert_eq!(blobs(folder.path()), before, "{point:?} {nth}");
    }
    let collected = care.collect(&DELETE).await.unwrap();
    assert_eq!((collected.garbage, collected.deleted), (20, 20));
    assert_eq!(blobs(folder.path()).len(), before.len() / 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_that_fails_leaves_what_the_next_collection_takes() {
    let folder = tempfile::tempdir().unwrap();
    let below = FaultBackend::new(plain(folder.path()).await);
    let dir = folder.path().join(".nexus");
    let store = over(Arc::clone(&below) as _, dir, Durability::Process).await;
    for seed in 0..10_u8 {
        let path: VfsPath = format!("/{seed}").parse().unwrap();
        let content = Bytes::from(vec![seed; 70_000]);
        store.write(&path, content, &Default::default()).await.unwrap();
        if seed > 0 {
            store.delete_one(path.into()).await.unwrap();
        }
    }
    let care = store.care().unwrap();
    below.fail(Point::Delete, 5, ErrorKind::PermissionDenied);
    let error = care.collect(&DELETE).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    care.collect(&DELETE).await.unwrap();
    assert_eq!(blobs(folder.path()).len(), 2);
    assert_eq!(care.usage().await.unwrap().contents, 1);
    let object = store.read(&"/0".parse().unwrap(), &Default::default()).await.unwrap();
    assert_eq!(object.body.bytes(1 << 20).await.unwrap(), vec![0; 70_000]);
}

/// Content comes and goes while it is read back: what nobody needs any more is no damage, and what came
/// back meanwhile is not taken for what was missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_comes_and_goes_is_never_called_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join(".nexus");
    let below = plain(folder.path()).await;
    let store = Arc::new(over(below, dir, Durability::Process).await);
    let over = Arc::new(AtomicBool::new(false));
    let contents = || [10_000, 20_000, 70_000].map(|size| Bytes::from(vec![7; size]));
    let writers = (0..2).map(|writer| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for _ in 0..800 {
                for content in contents() {
                    let path: VfsPath = format!("/{writer}").parse().unwrap();
                    store.write(&path, content.clone(), &Default::default()).await.unwrap();
                    let object = store.read(&path, &Default::default()).await.unwrap();
                    assert_eq!(object.body.bytes(1 << 20).await.unwrap(), content);
                    store.delete_one(path.into()).await.unwrap();
                }
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let collector = tokio::spawn({
        let (store, over) = (Arc::clone(&store), Arc::clone(&over));
        async move {
            while !over.load(Ordering::Relaxed) {
                store.care().unwrap().collect(&DELETE).await.unwrap();
            }
        }
    });
    let verifier = tokio::spawn({
        let (store, over) = (Arc::clone(&store), Arc::clone(&over));
        async move {
            while !over.load(Ordering::Relaxed) {
                let checking = store.care().unwrap().verify(&Default::default()).await.unwrap();
                let all: Vec<Checked> = checking.try_collect().await.unwrap();
                for checked in all {
                    if let Verdict::Bad { harmed, .. } = &checked.verdict {
                        assert!(harmed.is_empty(), "{checked:?}");
                    }
                }
            }
        }
    });
    for writer in writers {
        writer.await.unwrap();
    }
    over.store(true, Ordering::Relaxed);
    collector.await.unwrap();
    verifier.await.unwrap();
    assert!(std::fs::read_dir(folder.path().join(".nexus/quarantine")).unwrap().next().is_none());
}
