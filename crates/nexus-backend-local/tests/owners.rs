//! Who may use a file: what nexus-fs writes is never open to more people than what was there, and what
//! the system denies is denied.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{get, may_become_others, open, path, put, snapshot};
use futures_util::StreamExt;
use nexus_core::{Backend, EntryKind, ErrorKind, ListOptions, WriteMode, WriteOptions};

fn set_mode(file: &Path, mode: u32) {
    std::fs::set_permissions(file, PermissionsExt::from_mode(mode)).unwrap();
}

fn mode(file: &Path) -> u32 {
    std::fs::metadata(file).unwrap().mode() & 0o7777
}

/// Overwrites `/file` in each way that there is.
async fn overwrite_all_ways(backend: &dyn Backend, mut check: impl FnMut(&str)) {
    put(backend, "/file", b"written".to_vec()).await.unwrap();
    check("write");
    let upload = backend.upload(&path("/file"), &WriteOptions::default()).await.unwrap();
    upload.finish().await.unwrap();
    check("upload");
    put(backend, "/source", b"copied".to_vec()).await.unwrap();
    backend.copy(&path("/source"), &path("/file"), &WriteMode::Overwrite).await.unwrap();
    check("copy");
}

#[tokio::test]
async fn owner_and_permissions_outlive_an_overwrite() {
    if !may_become_others() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "old").unwrap();
    chown(&file, Some(1234), Some(5678)).unwrap();
    for permissions in [0o750, 0o400, 0o666] {
        set_mode(&file, permissions);
        let backend = open(folder.path(), "").await.unwrap();
        overwrite_all_ways(&*backend, |how| {
            let is = std::fs::metadata(&file).unwrap();
            assert_eq!((is.uid(), is.gid()), (1234, 5678), "{how}");
            assert_eq!(mode(&file), permissions, "{how}");
        })
        .await;
    }
}

#[tokio::test]
async fn new_content_is_never_set_user_id() {
    if !may_become_others() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "old").unwrap();
    chown(&file, Some(1234), Some(5678)).unwrap();
    let backend = open(folder.path(), "").await.unwrap();
    set_mode(&file, 0o6755);
    overwrite_all_ways(&*backend, |how| assert_eq!(mode(&file), 0o755, "{how}")).await;
    set_mode(&file, 0o6755);
    backend.copy(&path("/file"), &path("/copy"), &WriteMode::Create).await.unwrap();
    assert_eq!(mode(&folder.path().join("copy")), 0o755);
}

#[tokio::test]
async fn a_copy_runs_if_its_source_does() {
    let folder = tempfile::tempdir().unwrap();
    let backend = open(folder.path(), "").await.unwrap();
    put(&*backend, "/source", b"#!/bin/sh".to_vec()).await.unwrap();
    for permissions in [0o700, 0o755, 0o600] {
        set_mode(&folder.path().join("source"), permissions);
        let to = format!("/copy-{permissions:o}");
        backend.copy(&path("/source"), &path(&to), &WriteMode::Create).await.unwrap();
        assert_eq!(mode(&folder.path().join(&to[1..])), permissions);
    }
}

#[tokio::test]
async fn what_replaces_a_private_file_is_private_from_the_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "old").unwrap();
    set_mode(&file, 0o600);
    let backend = open(folder.path(), "").await.unwrap();
    let writer = tokio::spawn(async move {
        for _ in 0..300 {
            put(&*backend, "/file", vec![7; 64 << 10]).await.unwrap();
        }
    });
    let mut seen = 0;
    while !writer.is_finished() {
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            let entry = entry.unwrap();
            if let Ok(is) = entry.metadata() {
                assert_eq!(is.mode() & 0o077, 0, "{:?}", entry.file_name());
                seen += usize::from(entry.file_name() != "file");
            }
        }
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
    assert!(seen > 0, "no temporary file was seen");
}

const FOLDER: &str = "NEXUS_LOCAL_TEST_FOLDER";
const NOBODY: u32 = 65534;

/// Does nothing by itself; the next test starts it as a user who may do little.
#[allow(clippy::disallowed_methods, reason = "a child of a test is told what to do")]
#[tokio::test]
async fn as_nobody() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let backend = open(&PathBuf::from(folder), "").await.unwrap();
    // To be seen, though not to be read.
    let secret = backend.stat(&path("/secret")).await.unwrap();
    assert_eq!((secret.size, secret.digest), (Some(6), None));
    let overwrite = WriteMode::Overwrite;
    for (verb, error) in [
        ("read", get(&*backend, "/secret").await.err()),
        ("stat", backend.stat(&path("/closed/file")).await.err()),
        ("list", backend.list(&path("/closed"), &ListOptions::default()).await.err()),
        ("write", put(&*backend, "/new", b"x".to_vec()).await.err()),
        ("overwrite", put(&*backend, "/readable", b"x".to_vec()).await.err()),
        ("write into", put(&*backend, "/closed/new", b"x".to_vec()).await.err()),
        ("upload", backend.upload(&path("/new"), &WriteOptions::default()).await.err()),
        ("copy", backend.copy(&path("/readable"), &path("/new"), &overwrite).await.err()),
        ("copy from", backend.copy(&path("/secret"), &path("/new"), &overwrite).await.err()),
        ("rename", backend.rename(&path("/readable"), &path("/new"), &overwrite).await.err()),
        ("delete", backend.delete(&[path("/readable").into()]).await.pop().unwrap().err()),
        ("create_dir", backend.create_dir(&path("/dir")).await.err()),
        ("remove_dir", backend.remove_dir(&path("/empty")).await.err()),
    ] {
        assert_eq!(error.map(|error| error.kind()), Some(ErrorKind::PermissionDenied), "{verb}");
    }
    assert_eq!(get(&*backend, "/readable").await.unwrap(), b"readable");

    // What can not be listed is listed itself, and is one error; the rest goes on.
    let all = ListOptions { recursive: true, ..ListOptions::default() };
    let (mut entries, mut errors) = (Vec::new(), Vec::new());
    let mut listing = backend.list(&path("/"), &all).await.unwrap();
    while let Some(entry) = listing.next().await {
        match entry {
            Ok(entry) => entries.push((entry.path.to_string(), entry.metadata.kind)),
            Err(error) => errors.push((error.path().unwrap().to_owned(), error.kind())),
        }
    }
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    let (file, dir) = (EntryKind::File, EntryKind::Directory);
    let expected = [("/closed", dir), ("/empty", dir), ("/readable", file), ("/secret", file)];
    assert_eq!(entries, expected.map(|(path, kind)| (path.to_owned(), kind)));
    assert_eq!(errors, [("/closed".to_owned(), ErrorKind::PermissionDenied)]);

    // In a directory of everybody, a file of another group is not opened to ours.
    let shared = open(Path::new(&std::env::var_os(SHARED).unwrap()), "").await.unwrap();
    put(&*shared, "/theirs", b"new".to_vec()).await.unwrap();
}

const SHARED: &str = "NEXUS_LOCAL_TEST_SHARED";

#[tokio::test]
async fn what_the_system_denies_is_denied_and_changes_nothing() {
    if !may_become_others() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (root, shared) = (folder.path().join("root"), folder.path().join("shared"));
    for dir in ["root/closed", "root/empty", "shared"] {
        std::fs::create_dir_all(folder.path().join(dir)).unwrap();
    }
    let files = [("secret", 0o600), ("readable", 0o644), ("closed/file", 0o644)];
    for (file, permissions) in files {
        let at = root.join(file);
        std::fs::write(&at, file).unwrap();
        set_mode(&at, permissions);
    }
    set_mode(&root.join("closed"), 0o700);
    set_mode(&shared, 0o777);
    let theirs = shared.join("theirs");
    std::fs::write(&theirs, "old").unwrap();
    chown(&theirs, Some(1234), Some(5678)).unwrap();
    set_mode(&theirs, 0o664);
    set_mode(folder.path(), 0o755);
    // Where this program lies, nobody may look.
    let program = folder.path().join("program");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let before = snapshot(&root);
    let child = Command::new(&program)
        .args(["--exact", "as_nobody"])
        .env(FOLDER, &root)
        .env(SHARED, &shared)
        .current_dir("/")
        .uid(NOBODY)
        .gid(NOBODY)
        .output();
    let child = child.expect("this test becomes another user, and needs root");
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    assert_eq!(snapshot(&root), before);
    assert_eq!(std::fs::read(&theirs).unwrap(), b"new");
    assert_eq!(mode(&theirs), 0o644);
}
