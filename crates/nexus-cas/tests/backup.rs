//! Copies of the refs that a store takes of itself.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::{Path, PathBuf};

use common::{in_folder, path};
use nexus_cas::refs::sqlite::Durability;
use nexus_core::{Backend, Bytes, WriteOptions};

fn copies(root: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(root.join(".nexus/backup")) else { return Vec::new() };
    let mut copies: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    copies.retain(|path| path.extension().is_some_and(|extension| extension == "db"));
    copies
}

/// One session, which writes one file.
async fn session(root: &Path, at: &str) {
    let store = in_folder(root, Durability::Full).await;
    let content = Bytes::from(at.as_bytes().repeat(10_000));
    store.write(&path(at), content, &WriteOptions::default()).await.unwrap();
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_taken_once_a_day_and_opens_as_what_it_was() {
    let folder = tempfile::tempdir().unwrap();
    session(folder.path(), "/a").await;
    assert_eq!(copies(folder.path()), Vec::<PathBuf>::new());
    session(folder.path(), "/b").await;
    let first = copies(folder.path());
    assert_eq!(first.len(), 1);
    session(folder.path(), "/c").await;
    assert_eq!(copies(folder.path()), first);
    // The refs are lost; the copy takes their place.
    for file in ["refs.db", "refs.db-wal", "refs.db-shm"] {
        let _ = std::fs::remove_file(folder.path().join(".nexus").join(file));
    }
    std::fs::copy(&first[0], folder.path().join(".nexus/refs.db")).unwrap();
    let store = in_folder(folder.path(), Durability::Full).await;
    drop(store.care().unwrap().verify(&Default::default()).await.unwrap());
    let read = store.read(&path("/a"), &Default::default()).await.unwrap();
    assert!(read.body.bytes(1 << 20).await.unwrap() == "/a".repeat(10_000));
    // Taken beside the first write of the second session: without what came later.
    assert!(store.stat(&path("/c")).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn old_copies_make_room_for_new_ones() {
    let folder = tempfile::tempdir().unwrap();
    session(folder.path(), "/a").await;
    let dir = folder.path().join(".nexus/backup");
    std::fs::create_dir_all(&dir).unwrap();
    for day in 1..=4 {
        let old = std::fs::File::create(dir.join(format!("refs-2020010{day}T000000Z.db"))).unwrap();
        old.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_577_836_800))
            .unwrap();
    }
    // As a process that was killed leaves it.
    std::fs::write(dir.join("taking"), [1; 100_000]).unwrap();
    session(folder.path(), "/b").await;
    let mut names: Vec<_> = copies(folder.path());
    names.sort();
    assert_eq!(names.len(), 3);
    assert!(names[0].ends_with("refs-20200103T000000Z.db"));
    assert!(!dir.join("taking").exists());
}
