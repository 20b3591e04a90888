//! Makes a store that is kept in the repository: see `tests/fixtures/README.md`.

#![allow(clippy::unwrap_used, reason = "a tool of the tests: it fails by panicking")]
#![allow(unreachable_pub, reason = "it shares a module with the tests")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::fmt::Write;
use std::path::PathBuf;

use futures_util::TryStreamExt;
use nexus_cas::CasBackend;
use nexus_core::{Backend, BackendExt, ListOptions, VfsPath, WriteMode, WriteOptions};

#[tokio::main]
async fn main() {
    let dir = PathBuf::from(std::env::args_os().nth(1).unwrap());
    let root = dir.join("store");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::create_dir(&root).unwrap();
    let whole = common::in_folder(&root, nexus_cas::refs::sqlite::Durability::Full).await;
    fill(&whole).await;
    whole.close().await.unwrap();
    let cutting = common::cutting(&root).await;
    upload(&cutting, "/chunked", 100_000).await;
    cutting.copy(&path("/chunked"), &path("/deep/er/chunked"), &WriteMode::Create).await.unwrap();
    std::fs::write(dir.join("files"), listing(&cutting).await).unwrap();
    cutting.close().await.unwrap();
    // What a store makes again, and what would be most of it.
    std::fs::remove_file(root.join(".nexus/reserve")).unwrap();
    std::fs::remove_dir_all(root.join(".nexus/backup")).unwrap();
}

async fn fill(store: &CasBackend) {
    let user = [("owner".to_owned(), "nobody".to_owned())].into();
    let about =
        WriteOptions { content_type: Some("text/plain".into()), user, ..Default::default() };
    store.write(&path("/inline"), common::sized(200), &about).await.unwrap();
    for (at, size) in [("/empty", 0), ("/blob", 17_000), ("/deep/er/tree", 66_000)] {
        store.write(&path(at), common::sized(size), &WriteOptions::default()).await.unwrap();
    }
    let shared = WriteMode::Create;
    store.copy(&path("/deep/er/tree"), &path("/copy of tree"), &shared).await.unwrap();
    store.create_dir(&path("/empty-dir")).await.unwrap();
    store.write(&path("/gone"), common::sized(20_000), &Default::default()).await.unwrap();
    store.copy(&path("/gone"), &path("/gone too"), &shared).await.unwrap();
    store.delete_one(path("/gone").into()).await.unwrap();
    store.delete_one(path("/gone too").into()).await.unwrap();
}

async fn upload(store: &CasBackend, at: &str, size: usize) {
    let mut upload = store.upload(&path(at), &WriteOptions::default()).await.unwrap();
    upload.write(common::sized(size)).await.unwrap();
    upload.finish().await.unwrap();
}

async fn listing(store: &CasBackend) -> String {
    let options = ListOptions { recursive: true, ..Default::default() };
    let listed = store.list(&path("/"), &options).await.unwrap();
    let entries: Vec<_> = listed.try_collect().await.unwrap();
    let mut lines = String::new();
    for entry in entries {
        let (size, digest) = (entry.metadata.size, entry.metadata.digest);
        match (size, digest) {
            (Some(size), Some(digest)) => writeln!(lines, "{size} {digest} {}", entry.path),
            _ => writeln!(lines, "- - {}", entry.path),
        }
        .unwrap();
    }
    lines
}

fn path(text: &str) -> VfsPath {
    text.parse().unwrap()
}
