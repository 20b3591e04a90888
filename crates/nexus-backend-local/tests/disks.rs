//! Disks as they are: full, read-only, and more than one below a root.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{get, open, path, put, snapshot};
use futures_util::StreamExt;
use nexus_core::{BackendExt, ErrorKind, ListOptions, WriteMode, WriteOptions};
use nexus_testkit::disk::Disk;

#[tokio::test]
async fn a_full_disk_refuses_and_keeps_what_was_there() {
    let Some(disk) = Disk::tmpfs("size=1m", "a_full_disk_refuses_and_keeps_what_was_there") else {
        return;
    };
    let backend = open(disk.path(), "").await.unwrap();
    put(&*backend, "/old", vec![1; 200 << 10]).await.unwrap();
    let before = snapshot(disk.path());
    for text in ["/old", "/new"] {
        let error = put(&*backend, text, vec![2; 2 << 20]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        let streamed = async {
            let mut upload = backend.upload(&path(text), &WriteOptions::default()).await?;
            for _ in 0..4 {
                upload.write(vec![2; 1 << 20].into()).await?;
            }
            upload.finish().await
        };
        assert_eq!(streamed.await.unwrap_err().kind(), ErrorKind::StorageFull);
    }
    assert_eq!(snapshot(disk.path()), before);
    // Reading and deleting still work, and make room.
    assert_eq!(get(&*backend, "/old").await.unwrap().len(), 200 << 10);
    backend.delete_one(path("/old").into()).await.unwrap();
    put(&*backend, "/new", vec![2; 300 << 10]).await.unwrap();
}

#[tokio::test]
async fn a_read_only_disk_denies_changes_and_serves_reads() {
    let Some(disk) = Disk::tmpfs("size=1m", "a_read_only_disk_denies_changes_and_serves_reads")
    else {
        return;
    };
    let backend = open(disk.path(), "").await.unwrap();
    put(&*backend, "/d/old", b"old".to_vec()).await.unwrap();
    disk.remount("ro");
    let before = snapshot(disk.path());
    for error in [
        put(&*backend, "/d/old", b"x".to_vec()).await.err(),
        put(&*backend, "/new", b"x".to_vec()).await.err(),
        backend.create_dir(&path("/made")).await.err(),
        backend.remove_dir(&path("/d")).await.err(),
        backend.rename(&path("/d/old"), &path("/x"), &WriteMode::Overwrite).await.err(),
        backend.delete(&[path("/d/old").into()]).await.pop().unwrap().err(),
    ] {
        assert_eq!(error.unwrap().kind(), ErrorKind::PermissionDenied);
    }
    assert_eq!(get(&*backend, "/d/old").await.unwrap(), b"old");
    assert_eq!(snapshot(disk.path()), before);
    disk.remount("rw");
}

#[tokio::test]
async fn a_root_of_two_file_systems_is_one_mount() {
    let Some(disk) = Disk::tmpfs("size=1m", "a_root_of_two_file_systems_is_one_mount") else {
        return;
    };
    let backend = open(disk.above(), "").await.unwrap();
    put(&*backend, "/here", b"x".to_vec()).await.unwrap();
    backend.create_dir(&path("/dir")).await.unwrap();
    let before = snapshot(disk.above());
    // Not atomic, so refused by name: the kernel composes it.
    for (from, mode) in [
        ("/here", WriteMode::Overwrite),
        ("/here", WriteMode::Create),
        ("/dir", WriteMode::Overwrite),
    ] {
        let renamed = backend.rename(&path(from), &path("/disk/there"), &mode).await;
        assert_eq!(renamed.unwrap_err().kind(), ErrorKind::Unsupported, "{from} {mode:?}");
    }
    assert_eq!(snapshot(disk.above()), before);
    let written = put(&*backend, "/disk/new/file", b"yz".to_vec()).await.unwrap();
    assert_eq!(written.size, Some(2));
    backend.copy(&path("/here"), &path("/disk/copy/x"), &WriteMode::Create).await.unwrap();
    assert_eq!(get(&*backend, "/disk/copy/x").await.unwrap(), b"x");
    let listing = backend
        .list(&path("/"), &ListOptions { recursive: true, ..Default::default() })
        .await
        .unwrap();
    let listed: Vec<_> = listing.map(|entry| entry.unwrap().path.to_string()).collect().await;
    assert_eq!(listed.iter().filter(|path| path.starts_with("/disk/")).count(), 4, "{listed:?}");
}
