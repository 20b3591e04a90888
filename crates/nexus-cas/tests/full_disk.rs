//! A store on a disk that is really full: what is there is read and deleted, collecting makes room, and
//! what is refused says why and leaves nothing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;

use common::{content, in_folder, path};
use futures_util::TryStreamExt;
use nexus_cas::CasBackend;
use nexus_cas::refs::sqlite::Durability;
use nexus_core::{
    Backend, BackendExt, Bytes, Checked, CollectOptions, ErrorKind, ListOptions, Metadata, Result,
    Verdict, VfsPath, WriteMode, WriteOptions,
};
use nexus_testkit::disk::Disk;

async fn write(store: &CasBackend, at: &str, content: Bytes) -> Result<Metadata> {
    store.write(&path(at), content, &WriteOptions::default()).await
}

async fn upload(store: &CasBackend, at: &str, content: &Bytes) -> Result<Metadata> {
    let mut upload = store.upload(&path(at), &WriteOptions::default()).await?;
    for piece in content.chunks(300_000) {
        upload.write(Bytes::copy_from_slice(piece)).await?;
    }
    upload.finish().await
}

async fn read(store: &CasBackend, at: &str) -> Bytes {
    let object = store.read(&path(at), &Default::default()).await.unwrap();
    object.body.bytes(usize::MAX).await.unwrap()
}

async fn paths(store: &CasBackend) -> Vec<String> {
    let options = ListOptions { recursive: true, ..Default::default() };
    let listing = store.list(&VfsPath::root(), &options).await.unwrap();
    listing.map_ok(|entry| entry.path.to_string()).try_collect().await.unwrap()
}

/// Writes until nothing more goes in, large and then small; answers the paths.
async fn fill(store: &CasBackend) -> Vec<String> {
    let mut written = Vec::new();
    for size in [400_000, 100_000, 20_000, 3_000, 10] {
        for n in 0.. {
            let at = format!("/full/{size}-{n:05}");
            match write(store, &at, content(n * 7 + size as u64, size)).await {
                Ok(_) => written.push(at),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
                    break;
                }
            }
        }
    }
    written
}

async fn all_is_well_on(disk: &Path) {
    let root = disk.join("store");
    std::fs::create_dir(&root).unwrap();
    let store = in_folder(&root, Durability::Full).await;
    let old = content(1, 300_000);
    write(&store, "/old", old.clone()).await.unwrap();
    write(&store, "/small", content(2, 5_000)).await.unwrap();
    let mut written = fill(&store).await;
    written.sort();
    // Nothing more, of any kind, and nothing is left of it.
    for at in ["/old", "/new"] {
        for refused in [
            write(&store, at, content(3, 2 << 20)).await,
            upload(&store, at, &content(4, 30 << 20)).await,
        ] {
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::StorageFull);
        }
    }
    let expected: Vec<_> = written.iter().map(String::as_str).chain(["/old", "/small"]).collect();
    let files: Vec<_> = paths(&store).await.into_iter().filter(|path| path != "/full").collect();
    assert_eq!(files, expected);
    assert_eq!(read(&store, "/old").await, old);

    // As it is for whoever opens it now.
    store.close().await.unwrap();
    let store = in_folder(&root, Durability::Full).await;
    assert_eq!(read(&store, "/small").await, content(2, 5_000));
    let checking = store.care().unwrap().verify(&Default::default()).await;
    if let Ok(checking) = checking {
        // What was read back can not always be recorded.
        let checked: std::result::Result<Vec<Checked>, _> = checking.try_collect().await;
        match checked {
            Ok(all) => assert!(all.iter().all(|checked| checked.verdict == Verdict::Good)),
            Err(error) => assert_eq!(error.kind(), ErrorKind::StorageFull),
        }
    }

    // Deletes go through, and collecting makes room.
    for at in written.iter().filter(|at| at.starts_with("/full/4")) {
        store.delete_one(path(at).into()).await.unwrap();
    }
    let collected =
        store.care().unwrap().collect(&CollectOptions { delete: true, force: true }).await.unwrap();
    assert!(collected.deleted > 0);
    write(&store, "/new", content(5, 400_000)).await.unwrap();
    store.rename(&path("/new"), &path("/newer"), &WriteMode::Create).await.unwrap();
    assert_eq!(read(&store, "/newer").await, content(5, 400_000));
    assert_eq!(read(&store, "/old").await, old);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_memory() {
    let Some(disk) = Disk::tmpfs("size=12m", "in_memory") else { return };
    all_is_well_on(disk.path()).await;
}

/// The file system that most have: it finds out late that it is full. Only root may mount it.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_file_system_that_allocates_late() {
    let disk = Disk::ext4(24);
    assert!(disk.is_some() || !is_root(), "root can not mount an image");
    if let Some(disk) = disk {
        all_is_well_on(disk.path()).await;
    }
}

/// Whether this process is of root.
fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}
