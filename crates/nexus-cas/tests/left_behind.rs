//! What a process that was killed, or a power cut, leaves behind: content that is not on the disk yet or
//! no longer, rows of nothing, trees of nothing. Whoever comes next makes it good.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{over, path, plain};
use nexus_cas::CasBackend;
use nexus_cas::refs::sqlite::Durability;
use nexus_core::{Backend, Bytes, CollectOptions, ErrorKind, WriteOptions};
use nexus_testkit::fault::{FaultBackend, Point};

const DELETE: CollectOptions = CollectOptions { delete: true, force: true };

fn content() -> Bytes {
    vec![7; 100_000].into()
}

/// A store in `root`, and what counts and fails its calls of the store below.
async fn faulty(root: &Path, durability: Durability) -> (Arc<FaultBackend>, CasBackend) {
    let below = FaultBackend::new(plain(root).await);
    let store = over(Arc::clone(&below) as _, root.join(".nexus"), durability).await;
    (below, store)
}

async fn write(store: &CasBackend, at: &str) -> nexus_core::Result<()> {
    store.write(&path(at), content(), &WriteOptions::default()).await.map(drop)
}

async fn upload(store: &CasBackend, at: &str) -> nexus_core::Result<()> {
    let mut upload = store.upload(&path(at), &WriteOptions::default()).await?;
    upload.write(content()).await?;
    upload.finish().await.map(drop)
}

/// The files of blobs and trees.
fn kept(root: &Path) -> Vec<PathBuf> {
    let dirs = std::fs::read_dir(root.join(".nexus/blobs")).unwrap();
    dirs.flat_map(|dir| std::fs::read_dir(dir.unwrap().path()).unwrap())
        .map(|file| file.unwrap().path())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_is_there_already_is_synced_before_it_is_relied_on() {
    let folder = tempfile::tempdir().unwrap();
    let (_, first) = faulty(folder.path(), Durability::Process).await;
    write(&first, "/a").await.unwrap();
    let (below, second) = faulty(folder.path(), Durability::Full).await;
    below.fail(Point::Sync, 0, ErrorKind::Unavailable);
    assert_eq!(write(&second, "/b").await.unwrap_err().kind(), ErrorKind::Unavailable);
    below.fail(Point::Sync, 0, ErrorKind::Unavailable);
    assert_eq!(upload(&second, "/b").await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(second.stat(&path("/b")).await.is_err());
    write(&second, "/b").await.unwrap();
    // Known from then on.
    let syncs = below.count(Point::Sync);
    write(&second, "/c").await.unwrap();
    upload(&second, "/d").await.unwrap();
    assert_eq!(below.count(Point::Sync), syncs);
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_was_collected_and_put_again_by_another_is_synced_again() {
    let folder = tempfile::tempdir().unwrap();
    let (below, full) = faulty(folder.path(), Durability::Full).await;
    let (_, other) = faulty(folder.path(), Durability::Process).await;
    write(&full, "/a").await.unwrap();
    write(&full, "/b").await.unwrap();
    full.delete(&[path("/a").into(), path("/b").into()]).await;
    other.care().unwrap().collect(&DELETE).await.unwrap();
    write(&other, "/c").await.unwrap();
    let syncs = below.count(Point::Sync);
    write(&full, "/d").await.unwrap();
    assert_eq!(below.count(Point::Sync), syncs + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_another_made_is_synced_before_it_is_written_to() {
    let folder = tempfile::tempdir().unwrap();
    let (_, first) = faulty(folder.path(), Durability::Process).await;
    write(&first, "/a").await.unwrap();
    let below = FaultBackend::new(plain(folder.path()).await);
    let store = over(Arc::clone(&below) as _, folder.path().join(".nexus"), Durability::Full).await;
    assert!(below.count(Point::Sync) > 0);
    drop(store);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_nothing_go_with_the_next_collection() {
    let folder = tempfile::tempdir().unwrap();
    let (_, store) = faulty(folder.path(), Durability::Process).await;
    write(&store, "/a").await.unwrap();
    store.delete(&[path("/a").into()]).await;
    // As a collector leaves it that dies before it commits.
    kept(folder.path()).into_iter().for_each(|file| std::fs::remove_file(file).unwrap());
    let care = store.care().unwrap();
    assert_eq!(care.usage().await.unwrap().contents, 1);
    care.collect(&DELETE).await.unwrap();
    assert_eq!(care.usage().await.unwrap(), Default::default());
    write(&store, "/a").await.unwrap();
    assert_eq!(care.usage().await.unwrap().contents, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_without_its_blob_is_garbage() {
    let folder = tempfile::tempdir().unwrap();
    let (_, store) = faulty(folder.path(), Durability::Process).await;
    write(&store, "/a").await.unwrap();
    store.delete(&[path("/a").into()]).await;
    let blob = kept(folder.path()).into_iter().find(|file| file.extension().is_none()).unwrap();
    std::fs::remove_file(blob).unwrap();
    let collected = store.care().unwrap().collect(&DELETE).await.unwrap();
    // It is still recorded.
    assert_eq!((collected.scanned, collected.deleted), (1, 1));
    assert_eq!(kept(folder.path()), Vec::<PathBuf>::new());
}

async fn read(store: &CasBackend, at: &str) -> nexus_core::Result<Bytes> {
    let object = store.read(&path(at), &Default::default()).await?;
    object.body.bytes(usize::MAX).await
}

/// As a power cut leaves a blob that was not synced: the name and the size are there.
fn lose_content(root: &Path) {
    let blob = kept(root).into_iter().find(|file| file.extension().is_none()).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&blob).unwrap();
    let size = file.metadata().unwrap().len();
    file.set_len(0).unwrap();
    file.set_len(size).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000))
        .unwrap();
}

/// The system was restarted since.
fn restart(root: &Path) {
    let refs = rusqlite::Connection::open(root.join(".nexus/refs.db")).unwrap();
    assert_eq!(refs.execute("DELETE FROM meta WHERE key = 'boot'", []).unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn content_from_before_a_restart_is_looked_at_before_it_is_relied_on() {
    for uploads in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let (_, store) = faulty(folder.path(), Durability::Process).await;
        write(&store, "/a").await.unwrap();
        store.close().await.unwrap();
        lose_content(folder.path());
        restart(folder.path());
        let (_, store) = faulty(folder.path(), Durability::Process).await;
        assert_eq!(read(&store, "/a").await.unwrap_err().kind(), ErrorKind::IntegrityMismatch);
        match uploads {
            true => upload(&store, "/b").await.unwrap(),
            false => write(&store, "/b").await.unwrap(),
        }
        assert!(read(&store, "/b").await.unwrap() == content());
        assert!(read(&store, "/a").await.unwrap() == content());
        let quarantine = std::fs::read_dir(folder.path().join(".nexus/quarantine")).unwrap();
        assert_eq!(quarantine.count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn content_is_looked_at_once_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (_, store) = faulty(folder.path(), Durability::Process).await;
    write(&store, "/a").await.unwrap();
    store.close().await.unwrap();
    let blob = kept(folder.path()).into_iter().find(|file| file.extension().is_none()).unwrap();
    let blob = std::fs::OpenOptions::new().write(true).open(&blob).unwrap();
    blob.set_modified(std::time::UNIX_EPOCH).unwrap();
    restart(folder.path());
    for looks in [1, 0] {
        let (below, store) = faulty(folder.path(), Durability::Process).await;
        let before = below.count(Point::Read);
        write(&store, "/b").await.unwrap();
        assert_eq!(below.count(Point::Read) - before > 0, looks == 1);
        store.close().await.unwrap();
    }
}
