//! What a store does not declare it refuses with `Unsupported`, before any side effect.

use nexus_core::{
    BackendExt, DeleteTarget, Directories, ErrorKind, ListOptions, Operation, ReadOptions, Version,
    WriteMode, WriteOptions,
};

use super::cases;
use super::subject::{Subject, refused};
use crate::support::path;

cases! {
    write: |c| !c.write,
    create: |c| !c.create,
    replace: |c| !c.replace,
    delete_if_version: |c| c.write && !c.delete_if_version,
    versions: |c| !c.versions,
    copy: |c| !c.copy,
    rename: |c| !c.rename,
    rename_dir: |c| c.write && !c.rename_dir,
    directories: |c| c.directories == Directories::Virtual || !c.write,
    list_recursive: |c| !c.list_recursive,
    list_start_after: |c| !c.list_start_after,
    content_type: |c| !c.content_type,
    user_metadata: |c| !c.user_metadata,
    too_much_at_once: |c| c.write && c.limits.write_bytes.is_some_and(|most| most < 64 << 20),
}

const UNSUPPORTED: ErrorKind = ErrorKind::Unsupported;

/// Two files, where the store takes any.
async fn fill(store: &Subject) {
    if store.capabilities().write {
        store.put("/a", "one").await;
        store.put("/d/b", "two").await;
    }
}

/// Neither `write` nor `upload` takes these options, for something new or something old.
async fn no_write(store: &Subject, options: &WriteOptions) {
    fill(store).await;
    store
        .unchanged(async {
            for at in ["/a", "/d/b", "/new", "/new/deep"] {
                let written = store.backend().write(&path(at), "x".into(), options).await;
                refused(written, UNSUPPORTED, Operation::Write, &[at]);
                let uploaded = store.upload(at, &["x".into()], options).await;
                refused(uploaded, UNSUPPORTED, Operation::Upload, &[at]);
            }
        })
        .await;
}

async fn write(store: &Subject) {
    no_write(store, &WriteOptions::default()).await;
    store
        .unchanged(async {
            let deleted = store.delete("/a").await;
            refused(deleted, UNSUPPORTED, Operation::Delete, &["/a"]);
        })
        .await;
}

async fn create(store: &Subject) {
    no_write(store, &WriteMode::Create.into()).await;
}

async fn replace(store: &Subject) {
    no_write(store, &WriteMode::Replace(Version::new("1")).into()).await;
}

async fn content_type(store: &Subject) {
    let content_type = Some("text/plain".to_owned());
    no_write(store, &WriteOptions { content_type, ..WriteOptions::default() }).await;
}

async fn user_metadata(store: &Subject) {
    let user = [("key".to_owned(), "value".to_owned())].into();
    no_write(store, &WriteOptions { user, ..WriteOptions::default() }).await;
}

async fn delete_if_version(store: &Subject) {
    fill(store).await;
    store
        .unchanged(async {
            let target = DeleteTarget { path: path("/a"), if_version: Some(Version::new("1")) };
            let deleted = store.backend().delete_one(target).await;
            refused(deleted, UNSUPPORTED, Operation::Delete, &["/a"]);
        })
        .await;
}

async fn versions(store: &Subject) {
    fill(store).await;
    let version = Some(Version::new("1"));
    for options in [
        ReadOptions { if_match: version.clone(), ..ReadOptions::default() },
        ReadOptions { if_none_match: version, ..ReadOptions::default() },
    ] {
        if store.capabilities().write {
            let read = store.read("/a", &options).await;
            refused(read, UNSUPPORTED, Operation::Read, &["/a"]);
        }
    }
}

async fn copy(store: &Subject) {
    fill(store).await;
    store
        .unchanged(async {
            for to in ["/new", "/new/deep", "/d/b"] {
                let copied = store.copy("/a", to, &WriteMode::Overwrite).await;
                refused(copied, UNSUPPORTED, Operation::Copy, &["/a", to]);
            }
        })
        .await;
}

async fn rename(store: &Subject) {
    fill(store).await;
    no_rename(store, "/a").await;
}

async fn rename_dir(store: &Subject) {
    fill(store).await;
    no_rename(store, "/d").await;
}

async fn no_rename(store: &Subject, from: &str) {
    store
        .unchanged(async {
            for to in ["/new", "/new/deep"] {
                let renamed = store.rename(from, to, &WriteMode::Overwrite).await;
                refused(renamed, UNSUPPORTED, Operation::Rename, &[from, to]);
            }
        })
        .await;
}

async fn directories(store: &Subject) {
    fill(store).await;
    store
        .unchanged(async {
            for at in ["/new", "/new/deep"] {
                let made = store.backend().create_dir(&path(at)).await;
                refused(made, UNSUPPORTED, Operation::CreateDir, &[at]);
                let removed = store.backend().remove_dir(&path(at)).await;
                refused(removed, UNSUPPORTED, Operation::RemoveDir, &[at]);
            }
        })
        .await;
}

async fn list_recursive(store: &Subject) {
    fill(store).await;
    let options = ListOptions { recursive: true, ..ListOptions::default() };
    let listed = store.list("/", &options).await;
    refused(listed, UNSUPPORTED, Operation::List, &["/"]);
}

async fn list_start_after(store: &Subject) {
    fill(store).await;
    let options = ListOptions { start_after: Some(path("/a")), ..ListOptions::default() };
    let listed = store.list("/", &options).await;
    refused(listed, UNSUPPORTED, Operation::List, &["/"]);
}

async fn too_much_at_once(store: &Subject) {
    fill(store).await;
    let most = store.capabilities().limits.write_bytes.unwrap_or_default();
    let content = crate::support::content(1, most as usize + 1);
    store
        .unchanged(async {
            let written = store.backend().write(&path("/a"), content, &Default::default()).await;
            refused(written, ErrorKind::TooLarge, Operation::Write, &["/a"]);
        })
        .await;
}
