//! Which layout a folder gets, and what two mounts of one store know of each other.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![cfg(all(feature = "backend-local", feature = "layout-cas"))]

use std::path::Path;

use nexus_fs::{CopyMethod, ErrorKind, Kernel, Layout, RenameMethod, Result};

async fn mount(root: &Path, options: &str, at: &str) -> Result<Kernel> {
    let uri = format!("local://{}{options}", root.display());
    nexus_fs::Builder::new().mount_at(uri, at)?.open().await
}

fn layout(fs: &Kernel) -> (Layout, String) {
    let info = fs.mounts().remove(0).info.unwrap();
    (info.capabilities.layout, info.layout_reason)
}

async fn read(fs: &Kernel, path: &str) -> Result<Vec<u8>> {
    let object = fs.read(path, &Default::default()).await?;
    Ok(object.body.bytes(1 << 20).await?.to_vec())
}

#[tokio::test]
async fn an_empty_folder_becomes_a_store_at_the_first_write() {
    let folder = tempfile::tempdir().unwrap();
    for root in [folder.path().to_owned(), folder.path().join("new")] {
        let fs = mount(&root, "?create=true", "/m").await.unwrap();
        let (cas, reason) = layout(&fs);
        assert_eq!(cas, Layout::Cas);
        assert!(reason.contains("`layout=plain`"), "{reason}");
        assert!(fs.stat("/m").await.unwrap().is_dir());
        assert_eq!(std::fs::read_dir(&root).unwrap().count(), 0);
        fs.write("/m/a", "content", &Default::default()).await.unwrap();
        fs.close().await.unwrap();
        assert!(root.join(".nexus/store.json").is_file());
        std::fs::remove_dir_all(root.join(".nexus")).unwrap();
    }
}

#[tokio::test]
async fn a_store_is_recognised() {
    let folder = tempfile::tempdir().unwrap();
    let fs = mount(folder.path(), "?layout=cas", "/m").await.unwrap();
    assert_eq!(layout(&fs).0, Layout::Cas);
    fs.write("/m/a", "content", &Default::default()).await.unwrap();
    fs.close().await.unwrap();
    let again = mount(folder.path(), "", "/m").await.unwrap();
    let (cas, reason) = layout(&again);
    assert_eq!(cas, Layout::Cas);
    assert!(reason.contains("`layout=plain`"), "{reason}");
    assert_eq!(read(&again, "/m/a").await.unwrap(), b"content");
    let plain = mount(folder.path(), "?layout=plain", "/m").await.unwrap();
    assert_eq!(layout(&plain).0, Layout::Plain);
    assert!(plain.stat("/m/.nexus/store.json").await.unwrap().is_file());
}

#[tokio::test]
async fn a_folder_with_files_stays_plain() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("mine")).unwrap();
    let fs = mount(folder.path(), "", "/m").await.unwrap();
    let (plain, reason) = layout(&fs);
    assert_eq!(plain, Layout::Plain);
    assert!(reason.contains("holds files"), "{reason}");
    fs.write("/m/a", "content", &Default::default()).await.unwrap();
    assert_eq!(std::fs::read(folder.path().join("a")).unwrap(), b"content");
}

#[tokio::test]
async fn a_folder_with_files_does_not_become_a_store() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mine"), "mine").unwrap();
    let refused = mount(folder.path(), "?layout=cas", "/m").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::MountConflict);
    assert!(!folder.path().join(".nexus").exists());
    // Nor does one that was empty when it was mounted.
    let empty = tempfile::tempdir().unwrap();
    let fs = mount(empty.path(), "?layout=cas", "/m").await.unwrap();
    std::fs::write(empty.path().join("mine"), "mine").unwrap();
    let late = fs.write("/m/a", "x", &Default::default()).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::MountConflict);
    assert!(!empty.path().join(".nexus").exists());
}

#[tokio::test]
async fn an_unknown_layout_is_refused_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let refused = mount(folder.path(), "?layout=tape", "/m").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidOption);
    assert!(refused.message().contains("tape") && refused.hint().unwrap().contains("cas"));
    let memory = nexus_fs::mount(["mem://x?layout=cas"]).await;
    if cfg!(feature = "backend-mem") {
        assert_eq!(memory.unwrap_err().kind(), ErrorKind::InvalidOption);
    }
}

#[tokio::test]
async fn chunking_asks_for_a_store_and_is_never_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let fs = mount(folder.path(), "?chunking=cdc", "/m").await.unwrap();
    let (cas, reason) = layout(&fs);
    assert_eq!(cas, Layout::Cas);
    assert!(reason.contains("`chunking`"), "{reason}");
    for options in ["?layout=plain&chunking=cdc", "?layout=cas&chunking=tape"] {
        let refused = mount(folder.path(), options, "/m").await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidOption, "{options}");
    }
    mount(folder.path(), "?layout=plain&chunking=none", "/m").await.unwrap();
    std::fs::write(folder.path().join("mine"), "mine").unwrap();
    let refused = mount(folder.path(), "?chunking=cdc", "/m").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::MountConflict);
}

#[tokio::test]
async fn two_mounts_of_one_store_share_it() {
    let folder = tempfile::tempdir().unwrap();
    let uri = format!("local://{}?layout=cas", folder.path().display());
    let fs = nexus_fs::Builder::new()
        .mount_at(&uri, "/one")
        .unwrap()
        .mount_at(&uri, "/two")
        .unwrap()
        .open()
        .await
        .unwrap();
    let content = vec![7; 300_000];
    fs.write("/one/a", content.clone(), &Default::default()).await.unwrap();
    assert_eq!(read(&fs, "/two/a").await.unwrap(), content);
    let copied = fs.copy("/one/a", "/two/b", &Default::default()).await.unwrap();
    assert_eq!(copied, CopyMethod::Metadata);
    let moved = fs.rename("/two/b", "/one/c", &Default::default()).await.unwrap();
    assert_eq!(moved, RenameMethod::Atomic);
    let same = fs.rename("/one/a", "/two/a", &Default::default()).await.unwrap();
    assert_eq!(same, RenameMethod::Unchanged);
    assert_eq!(read(&fs, "/one/c").await.unwrap(), content);
}
