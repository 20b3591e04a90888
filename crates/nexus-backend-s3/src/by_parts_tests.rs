//! Uploads and copies by parts under conditions, on a real server: what is done at Amazon only, tried
//! where one writer at a time makes the server exact as well.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Builder, Credentials, Region};
use nexus_core::{
    Backend, BackendExt, Bytes, ErrorKind, MemoryBudget, ReadOptions, VfsPath, WriteMode,
    WriteOptions,
};

use crate::backend::S3Backend;
use crate::config::Config;
use crate::probe::Conditions;
use crate::store::Store;
use crate::transfer::parts::Sizes;

/// More than two parts of the smallest size.
const SIZE: usize = (11 << 20) + 7;

async fn fresh(server: &str) -> (Arc<Store>, S3Backend) {
    let endpoint = std::env::var(server)
        .unwrap_or_else(|_| panic!("run it by `cargo xtask peers`, which sets {server}"));
    let builder = Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .force_path_style(true)
        .credentials_provider(Credentials::new("AK", "SK", None, None, "test"));
    let client = Client::from_conf(builder.build());
    let bucket = format!("parts-{:016x}", fastrand::u64(..));
    client.create_bucket().bucket(&bucket).send().await.unwrap();
    let config = Config::from_uri(&format!("s3://{bucket}/d").parse().unwrap()).unwrap();
    let config = Config { part: 5 << 20, sizes: Sizes::fixed(5 << 20, 100), ..config };
    let all = Conditions { write: true, create: true, replace: true, delete: true, by_parts: true };
    let store = Store::new(client, config, all, MemoryBudget::default());
    (Arc::clone(&store), S3Backend::new(store, None))
}

fn path(text: &str) -> VfsPath {
    VfsPath::parse(text).unwrap()
}

fn content() -> Bytes {
    (0..SIZE).map(|at| (at % 251) as u8).collect()
}

async fn unfinished(store: &Store) -> usize {
    let request = store.client.list_multipart_uploads().bucket(&store.config.bucket);
    request.send().await.unwrap().uploads().len()
}

async fn upload(backend: &S3Backend, to: &str, mode: WriteMode) -> nexus_core::Result<()> {
    let mut upload = backend.upload(&path(to), &mode.into()).await?;
    for piece in content().chunks(1 << 20) {
        upload.write(Bytes::copy_from_slice(piece)).await?;
    }
    upload.finish().await.map(drop)
}

async fn holds(backend: &S3Backend, at: &str) -> bool {
    let object = backend.read(&path(at), &ReadOptions::default()).await.unwrap();
    object.body.bytes(SIZE).await.unwrap() == content()
}

async fn keeps_conditions_by_parts(server: &str) {
    let (store, backend) = fresh(server).await;
    upload(&backend, "/a", WriteMode::Create).await.unwrap();
    assert!(holds(&backend, "/a").await);
    let again = upload(&backend, "/a", WriteMode::Create).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
    let version = backend.stat(&path("/a")).await.unwrap().version.unwrap();
    upload(&backend, "/a", WriteMode::Replace(version.clone())).await.unwrap();
    let gone = upload(&backend, "/b", WriteMode::Replace(version)).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);

    let whole = WriteOptions { content_type: Some("x/y".to_owned()), ..WriteOptions::default() };
    backend.write(&path("/w"), content(), &whole).await.unwrap();
    backend.copy(&path("/w"), &path("/c"), &WriteMode::Create).await.unwrap();
    let copied = backend.stat(&path("/c")).await.unwrap();
    assert_eq!(copied.content_type.as_deref(), Some("x/y"));
    assert_eq!(copied.digest, Some(nexus_core::Digest::of(&content())));
    assert!(holds(&backend, "/c").await);
    let onto = backend.copy(&path("/w"), &path("/c"), &WriteMode::Create).await.unwrap_err();
    assert_eq!(onto.kind(), ErrorKind::AlreadyExists);
    backend.close().await.unwrap();
    assert_eq!(unfinished(&store).await, 0, "an upload that was refused stays");
}

async fn gives_up_what_is_dropped(server: &str) {
    let (store, backend) = fresh(server).await;
    for aborts in [true, false] {
        let mut upload = backend.upload(&path("/a"), &WriteOptions::default()).await.unwrap();
        upload.write(content()).await.unwrap();
        if aborts {
            upload.abort().await.unwrap();
            assert_eq!(unfinished(&store).await, 0);
        } else {
            assert_eq!(unfinished(&store).await, 1);
            drop(upload);
        }
    }
    assert!(backend.try_stat(&path("/a")).await.unwrap().is_none());
    backend.close().await.unwrap();
    assert_eq!(unfinished(&store).await, 0, "an upload that was dropped stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_on_ministack() {
    keeps_conditions_by_parts("NEXUS_TEST_S3_MINISTACK").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_on_seaweedfs() {
    keeps_conditions_by_parts("NEXUS_TEST_S3_SEAWEEDFS").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drops_on_ministack() {
    gives_up_what_is_dropped("NEXUS_TEST_S3_MINISTACK").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drops_on_seaweedfs() {
    gives_up_what_is_dropped("NEXUS_TEST_S3_SEAWEEDFS").await;
}
