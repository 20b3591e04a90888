//! Import and export: what differs, and how much of it was there.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{in_folder, plain};
use nexus_cas::refs::sqlite::Durability;
use nexus_core::kernel::CopyOptions;
use nexus_core::{ErrorKind, Kernel, Registry};

/// A store at `/store`, and plain files at `/files`.
async fn mounted(store: &Path, files: &Path) -> Kernel {
    let kernel = Kernel::new(Registry::default());
    let backend = in_folder(store, Durability::Process).await;
    kernel.attach("/store", Arc::new(backend)).await.unwrap();
    kernel.attach("/files", plain(files).await).await.unwrap();
    kernel
}

fn put(root: &Path, at: &str, content: &[u8]) {
    let file = root.join(at);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, content).unwrap();
}

async fn read(kernel: &Kernel, path: &str) -> Vec<u8> {
    let object = kernel.read(path, &Default::default()).await.unwrap();
    object.body.bytes(1 << 20).await.unwrap().to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_tells_what_was_there_and_goes_on_where_it_stopped() {
    let (store, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    put(files.path(), "in/a", &[1; 50_000]);
    put(files.path(), "in/d/same", &[1; 50_000]);
    put(files.path(), "in/d/small", b"small");
    let kernel = mounted(store.path(), files.path()).await;

    let dry = CopyOptions { dry_run: true, ..CopyOptions::default() };
    let planned = kernel.import("/files/in", "/store/in", &dry).await.unwrap();
    assert_eq!((planned.files, planned.bytes, planned.known_bytes), (3, 100_005, 0));
    assert_eq!(kernel.stat("/store/in").await.unwrap_err().kind(), ErrorKind::NotFound);

    let options = CopyOptions::default();
    let first = kernel.import("/files/in", "/store/in", &options).await.unwrap();
    assert_eq!((first.files, first.bytes, first.known_bytes), (3, 100_005, 50_000));
    assert_eq!((first.directories, first.unchanged), (1, 0));
    assert_eq!(read(&kernel, "/store/in/d/same").await, [1; 50_000]);

    // Again: one is new, one has changed and keeps its size, the rest is there.
    put(files.path(), "in/new", b"small");
    put(files.path(), "in/a", &[2; 50_000]);
    let planned = kernel.import("/files/in", "/store/in", &dry).await.unwrap();
    assert_eq!((planned.files, planned.bytes, planned.known_bytes), (2, 50_005, 5));
    let second = kernel.import("/files/in", "/store/in", &options).await.unwrap();
    assert_eq!((second.files, second.bytes, second.known_bytes), (2, 50_005, 5));
    assert_eq!((second.unchanged, second.unchanged_bytes), (2, 50_005));
    assert_eq!(read(&kernel, "/store/in/a").await, [2; 50_000]);

    // One file.
    let one = kernel.import("/files/in/a", "/store/in/a", &options).await.unwrap();
    assert_eq!((one.files, one.unchanged), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_writes_what_differs_and_nothing_that_is_damaged() {
    let (store, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let kernel = mounted(store.path(), files.path()).await;
    for (path, content) in [("/store/a", vec![1; 50_000]), ("/store/d/b", b"small".to_vec())] {
        kernel.write(path, content, &Default::default()).await.unwrap();
    }
    let dry = CopyOptions { dry_run: true, ..CopyOptions::default() };
    let planned = kernel.export("/store", "/files/out", &dry).await.unwrap();
    assert_eq!((planned.files, planned.bytes), (2, 50_005));
    assert!(!files.path().join("out").exists());

    let options = CopyOptions::default();
    let first = kernel.export("/store", "/files/out", &options).await.unwrap();
    assert_eq!((first.files, first.bytes, first.unchanged), (2, 50_005, 0));
    assert_eq!(std::fs::read(files.path().join("out/d/b")).unwrap(), b"small");
    put(files.path(), "out/d/b", b"other");
    let second = kernel.export("/store", "/files/out", &options).await.unwrap();
    assert_eq!((second.files, second.bytes, second.unchanged), (1, 5, 1));
    assert_eq!(std::fs::read(files.path().join("out/d/b")).unwrap(), b"small");

    let blobs = std::fs::read_dir(store.path().join(".nexus/blobs")).unwrap();
    let blob = blobs
        .flat_map(|dir| std::fs::read_dir(dir.unwrap().path()).unwrap())
        .map(|file| file.unwrap().path())
        .find(|file| file.metadata().unwrap().len() == 50_000)
        .unwrap();
    std::fs::write(blob, [0; 50_000]).unwrap();
    let damaged = kernel.export("/store", "/files/again", &options).await.unwrap();
    assert_eq!((damaged.files, damaged.failed_count), (1, 1));
    assert_eq!(damaged.failures[0].kind(), ErrorKind::IntegrityMismatch);
    assert!(!files.path().join("again/a").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn both_are_for_stores_that_keep_content_by_digest() {
    let (store, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    put(files.path(), "a", b"a");
    let kernel = mounted(store.path(), files.path()).await;
    let options = CopyOptions::default();
    for error in [
        kernel.import("/files/a", "/files/b", &options).await.unwrap_err(),
        kernel.export("/files/a", "/store/b", &options).await.unwrap_err(),
        kernel.import("/files/a", "/", &options).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.hint().unwrap().contains("layout=cas"));
    }
    assert!(!files.path().join("b").exists());
}
