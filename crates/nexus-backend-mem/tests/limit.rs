//! The limit of a store in memory, and that each mount is a store of its own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use nexus_core::kernel::MountRequest;
use nexus_core::{ErrorKind, Kernel, ReadOptions, Registry, Result, VfsPath, WriteOptions};

async fn mounted(uri: &str) -> Kernel {
    let kernel = Kernel::new(Registry::of(&[nexus_backend_mem::DESCRIPTOR]).unwrap());
    let at = VfsPath::parse("/m").unwrap();
    kernel.mount(vec![MountRequest::parse(uri).unwrap().at(at)]).await.unwrap();
    kernel
}

async fn put(kernel: &Kernel, path: &str, bytes: usize) -> Result<()> {
    kernel.write(path, vec![b'x'; bytes], &WriteOptions::default()).await.map(drop)
}

#[track_caller]
fn full<T>(result: Result<T>, path: &str) {
    let error = result.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert_eq!(error.path(), Some(path));
    assert!(error.message().contains("1024"), "{error}");
}

#[tokio::test]
async fn a_write_past_the_limit_changes_nothing() {
    let kernel = mounted("mem://x?limit=1K").await;
    full(put(&kernel, "/m/d/a", 1025).await, "/m/d/a");
    assert_eq!(kernel.stat("/m/d").await.unwrap_err().kind(), ErrorKind::NotFound);
    put(&kernel, "/m/a", 1000).await.unwrap();
    full(put(&kernel, "/m/b", 25).await, "/m/b");
    put(&kernel, "/m/b", 24).await.unwrap();
    full(put(&kernel, "/m/a", 1001).await, "/m/a");
    assert_eq!(kernel.stat("/m/a").await.unwrap().size, Some(1000));
    put(&kernel, "/m/empty", 0).await.unwrap();
}

#[tokio::test]
async fn what_goes_makes_room() {
    let kernel = mounted("mem://x?limit=1024").await;
    put(&kernel, "/m/a", 1024).await.unwrap();
    put(&kernel, "/m/a", 24).await.unwrap();
    put(&kernel, "/m/b", 1000).await.unwrap();
    kernel.rename("/m/a", "/m/b", &Default::default()).await.unwrap();
    put(&kernel, "/m/c", 1000).await.unwrap();
    kernel.delete("/m/c").await.unwrap();
    kernel.create_dir("/m/d").await.unwrap();
    kernel.rename("/m/b", "/m/d/b", &Default::default()).await.unwrap();
    kernel.remove_all("/m/d").await.unwrap();
    put(&kernel, "/m/a", 1024).await.unwrap();
}

#[tokio::test]
async fn a_copy_counts_in_full() {
    let kernel = mounted("mem://x?limit=1K").await;
    put(&kernel, "/m/a", 600).await.unwrap();
    full(kernel.copy("/m/a", "/m/b", &Default::default()).await, "/m/b");
    put(&kernel, "/m/a", 512).await.unwrap();
    kernel.copy("/m/a", "/m/b", &Default::default()).await.unwrap();
    kernel.copy("/m/a", "/m/b", &Default::default()).await.unwrap();
    full(put(&kernel, "/m/c", 1).await, "/m/c");
}

#[tokio::test]
async fn an_upload_past_the_limit_fails_early_and_leaves_nothing() {
    let kernel = mounted("mem://x?limit=1K").await;
    let mut upload = kernel.upload("/m/a", &WriteOptions::default()).await.unwrap();
    upload.write(vec![0; 1000].into()).await.unwrap();
    full(upload.write(vec![0; 25].into()).await, "/m/a");
    drop(upload);
    put(&kernel, "/m/b", 1024).await.unwrap();
    let mut upload = kernel.upload("/m/b", &WriteOptions::default()).await.unwrap();
    upload.write(vec![0; 1024].into()).await.unwrap();
    upload.finish().await.unwrap();
}

#[tokio::test]
async fn two_mounts_of_one_name_share_nothing() {
    let kernel = mounted("mem://same").await;
    let other = MountRequest::parse("mem://same").unwrap();
    kernel.mount(vec![other]).await.unwrap();
    put(&kernel, "/m/a", 1).await.unwrap();
    let read = kernel.read("/mem/same/a", &ReadOptions::default()).await;
    assert_eq!(read.unwrap_err().kind(), ErrorKind::NotFound);
}
