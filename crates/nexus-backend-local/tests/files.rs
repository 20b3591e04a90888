//! Files as other programs leave them: odd names, odd kinds, foreign edits,
//! no root.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::ffi::OsStr;
use std::io::{Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use common::{RESOLVERS, get, open, path, put};
use futures_util::StreamExt;
use nexus_core::{
    Backend, BackendExt, CopyMethod, Digest, EntryKind, ErrorKind, ListOptions, ReadOptions,
    WriteMode,
};

async fn names(backend: &dyn Backend) -> Vec<String> {
    let listing = backend.list(&path("/"), &ListOptions::default()).await.unwrap();
    let mut names: Vec<_> = listing.map(|entry| entry.unwrap().path.to_string()).collect().await;
    names.sort();
    names
}

#[tokio::test]
async fn names_that_are_not_utf8_are_listed_and_reachable() {
    for resolver in RESOLVERS {
        let folder = tempfile::tempdir().unwrap();
        let raw = |name: &[u8]| folder.path().join(OsStr::from_bytes(name));
        std::fs::write(raw(b"caf\xE9"), "one").unwrap();
        std::fs::write(raw(b"caf\\xE9"), "two").unwrap();
        std::fs::create_dir(raw(b"\xFF")).unwrap();
        std::fs::write(raw(b"\xFF/in"), "three").unwrap();
        let backend = open(folder.path(), &format!("resolver={resolver}")).await.unwrap();
        assert_eq!(names(&*backend).await, ["/\\xFF", "/caf\\x5CxE9", "/caf\\xE9"]);
        assert_eq!(get(&*backend, "/caf\\xE9").await.unwrap(), b"one");
        assert_eq!(get(&*backend, "/caf\\x5CxE9").await.unwrap(), b"two");
        assert_eq!(get(&*backend, "/\\xFF/in").await.unwrap(), b"three");
        backend.rename(&path("/caf\\xE9"), &path("/\\xFE"), &WriteMode::Create).await.unwrap();
        assert_eq!(std::fs::read(raw(b"\xFE")).unwrap(), b"one");
        backend.delete_one(path("/\\xFE").into()).await.unwrap();
        assert!(!raw(b"\xFE").exists());
        let error = put(&*backend, "/\\xC3\\xA9", Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidPath);
    }
}

#[tokio::test]
async fn a_digest_holds_until_somebody_else_writes() {
    let folder = tempfile::tempdir().unwrap();
    let backend = open(folder.path(), "").await.unwrap();
    let written = put(&*backend, "/f", b"hello".to_vec()).await.unwrap();
    assert_eq!(written.digest, Some(Digest::of(b"hello")));
    assert_eq!(backend.stat(&path("/f")).await.unwrap(), written);
    // A foreign edit: the digest is of another content, and is not claimed any more.
    std::fs::write(folder.path().join("f"), "HELLO").unwrap();
    let edited = backend.stat(&path("/f")).await.unwrap();
    assert_eq!(edited.digest, None);
    assert_ne!(edited.version, written.version);
    assert_eq!(get(&*backend, "/f").await.unwrap(), b"HELLO");
}

/// Flips a byte and puts the modification time back: what a failing disk does.
fn damage(file: &Path, at: u64) {
    let modified = std::fs::metadata(file).unwrap().modified().unwrap();
    let mut open = std::fs::OpenOptions::new().read(true).write(true).open(file).unwrap();
    open.seek(std::io::SeekFrom::Start(at)).unwrap();
    open.write_all(b"!").unwrap();
    open.set_modified(modified).unwrap();
}

#[tokio::test]
async fn damage_is_noticed_in_small_and_large_files() {
    let folder = tempfile::tempdir().unwrap();
    let backend = open(folder.path(), "").await.unwrap();
    for (name, size) in [("small", 1000), ("middle", 300 << 10), ("large", 5 << 20)] {
        let text = format!("/{name}");
        put(&*backend, &text, vec![7; size]).await.unwrap();
        assert_eq!(get(&*backend, &text).await.unwrap().len(), size);
        damage(&folder.path().join(name), size as u64 / 2);
        let error = get(&*backend, &text).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IntegrityMismatch, "{name}");
        assert!(error.hint().is_some());
    }
}

#[tokio::test]
async fn damage_is_noticed_before_the_last_piece_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let backend = open(folder.path(), "").await.unwrap();
    put(&*backend, "/f", vec![7; 5 << 20]).await.unwrap();
    damage(&folder.path().join("f"), 3);
    let mut body = backend.read(&path("/f"), &ReadOptions::default()).await.unwrap().body;
    let mut served = 0;
    let error = loop {
        match body.next().await.unwrap() {
            Ok(piece) => served += piece.len(),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::IntegrityMismatch);
    assert!(served < 5 << 20);
    assert!(body.next().await.is_none());
}

#[tokio::test]
async fn a_file_that_shrinks_under_a_reader_is_an_error_not_an_end() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("f"), vec![7; 8 << 20]).unwrap();
    let backend = open(folder.path(), "").await.unwrap();
    let mut body = backend.read(&path("/f"), &ReadOptions::default()).await.unwrap().body;
    body.next().await.unwrap().unwrap();
    std::fs::File::options()
        .write(true)
        .open(folder.path().join("f"))
        .unwrap()
        .set_len(10)
        .unwrap();
    let error = loop {
        match body.next().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => break error,
            None => panic!("the stream ended as if it were whole"),
        }
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn pipes_and_sockets_neither_hang_nor_are_touched() {
    for resolver in RESOLVERS {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
        for name in ["pipe", "socket"] {
            symlink(name, folder.path().join(format!("to-{name}"))).unwrap();
        }
        let backend = open(folder.path(), &format!("resolver={resolver}")).await.unwrap();
        for text in ["/pipe", "/socket", "/to-pipe", "/to-socket"] {
            assert_eq!(backend.stat(&path(text)).await.unwrap().kind, EntryKind::Other);
            for error in [
                get(&*backend, text).await.err(),
                put(&*backend, text, b"x".to_vec()).await.err(),
                backend.copy(&path(text), &path("/copy"), &WriteMode::Overwrite).await.err(),
            ] {
                assert_eq!(error.unwrap().kind(), ErrorKind::Unsupported, "{resolver} {text}");
            }
        }
        backend.delete_one(path("/pipe").into()).await.unwrap();
        assert!(!pipe.exists());
    }
}

#[tokio::test]
async fn copies_share_or_stay_in_the_system_and_carry_the_digest() {
    let folder = tempfile::tempdir().unwrap();
    let backend = open(folder.path(), "").await.unwrap();
    let written = put(&*backend, "/a", vec![3; 3 << 20]).await.unwrap();
    let how = backend.copy(&path("/a"), &path("/x/b"), &WriteMode::Overwrite).await.unwrap();
    assert!(matches!(how, CopyMethod::ServerSide | CopyMethod::Reflink), "{how:?}");
    let copy = backend.stat(&path("/x/b")).await.unwrap();
    assert_eq!((copy.size, copy.digest), (written.size, written.digest));
}

#[tokio::test]
async fn a_root_that_vanished_is_named() {
    for resolver in RESOLVERS {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir(&root).unwrap();
        let backend = open(&root, &format!("resolver={resolver}")).await.unwrap();
        std::fs::remove_dir(&root).unwrap();
        let list = backend.list(&path("/"), &ListOptions::default()).await.err();
        for error in [
            backend.stat(&path("/")).await.err(),
            backend.stat(&path("/f")).await.err(),
            get(&*backend, "/f").await.err(),
            put(&*backend, "/f", b"x".to_vec()).await.err(),
            put(&*backend, "/d/f", b"x".to_vec()).await.err(),
            backend.create_dir(&path("/d")).await.err(),
            list,
        ] {
            let error = error.unwrap();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{resolver} {error:?}");
            assert!(error.message().contains(root.to_str().unwrap()), "{error}");
        }
        assert!(!root.exists());
    }
}

#[tokio::test]
async fn a_root_that_is_missing_or_no_directory_is_refused_when_mounted() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("a/b");
    let error = open(&missing, "").await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.hint().unwrap().contains("create=true"));
    assert!(!missing.exists());
    open(&missing, "create=true").await.unwrap();
    assert!(missing.is_dir());
    std::fs::write(folder.path().join("file"), "").unwrap();
    let error = open(&folder.path().join("file"), "").await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotADirectory);
}

#[tokio::test]
async fn names_of_temporary_files_are_reserved_and_left_ones_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let left = folder.path().join("d/.nexus-fs-tmp-dead-1-1");
    std::fs::create_dir(folder.path().join("d")).unwrap();
    std::fs::write(&left, "half").unwrap();
    let backend = open(folder.path(), "").await.unwrap();
    for text in ["/d/.nexus-fs-tmp-dead-1-1", "/.nexus-fs-tmp-/x"] {
        for error in [
            backend.stat(&path(text)).await.err(),
            put(&*backend, text, b"x".to_vec()).await.err(),
            backend.delete(&[path(text).into()]).await.pop().unwrap().err(),
        ] {
            assert_eq!(error.unwrap().kind(), ErrorKind::InvalidPath, "{text}");
        }
    }
    assert!(left.exists());
    backend.remove_dir(&path("/d")).await.unwrap();
    assert!(!left.exists());
}

#[tokio::test]
async fn below_a_link_to_nowhere_nothing_is_made_and_nothing_waits() {
    for resolver in RESOLVERS {
        let folder = tempfile::tempdir().unwrap();
        symlink("nowhere", folder.path().join("link")).unwrap();
        let backend = open(folder.path(), &format!("resolver={resolver}")).await.unwrap();
        let deep = format!("/link{}", "/d".repeat(40));
        // A search that grew with the depth would not end today.
        for error in [
            put(&*backend, &deep, b"x".to_vec()).await.err(),
            backend.create_dir(&path(&deep)).await.err(),
            put(&*backend, "/link", b"x".to_vec()).await.err(),
        ] {
            assert_eq!(error.unwrap().kind(), ErrorKind::NotFound, "{resolver}");
        }
        assert!(!folder.path().join("nowhere").exists());
    }
}

#[tokio::test]
async fn a_file_renamed_onto_another_name_of_itself_has_one_name_left() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a"), "x").unwrap();
    std::fs::hard_link(folder.path().join("a"), folder.path().join("b")).unwrap();
    let backend = open(folder.path(), "").await.unwrap();
    backend.rename(&path("/a"), &path("/b"), &WriteMode::Overwrite).await.unwrap();
    assert!(!folder.path().join("a").exists());
    assert_eq!(std::fs::read_to_string(folder.path().join("b")).unwrap(), "x");
}

#[tokio::test]
async fn a_file_renamed_onto_itself_by_another_path_stays() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("d")).unwrap();
    std::os::unix::fs::symlink("d", at("link")).unwrap();
    std::fs::write(at("d/f"), "x").unwrap();
    let backend = open(folder.path(), "").await.unwrap();
    let (from, to) = (path("/d/f"), path("/link/f"));
    let rename = || backend.rename(&from, &to, &WriteMode::Overwrite);
    rename().await.unwrap();
    assert_eq!(std::fs::read_to_string(at("d/f")).unwrap(), "x");
    // Another name elsewhere makes no difference.
    std::fs::hard_link(at("d/f"), at("other")).unwrap();
    rename().await.unwrap();
    assert_eq!(std::fs::read_to_string(at("d/f")).unwrap(), "x");
}

#[tokio::test]
async fn a_root_reached_by_a_link_declares_where_it_really_is() {
    let folder = tempfile::tempdir().unwrap();
    let real = folder.path().canonicalize().unwrap().join("real");
    std::fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink("real", folder.path().join("link")).unwrap();
    let backend = open(&folder.path().join("link"), "").await.unwrap();
    assert_eq!(backend.info().capabilities.local_root.as_deref(), Some(&*real));
}

#[tokio::test]
async fn a_program_without_the_other_layout_says_so() {
    use nexus_core::kernel::MountRequest;
    let folder = tempfile::tempdir().unwrap();
    let registry = nexus_core::Registry::of(&[nexus_backend_local::DESCRIPTOR]).unwrap();
    let fs = nexus_core::Kernel::new(registry);
    for (layout, hint) in [("cas", "layout-cas"), ("tape", "plain")] {
        let uri = format!("local://{}?layout={layout}", folder.path().display());
        let refused = fs.mount(vec![MountRequest::parse(&uri).unwrap()]).await.unwrap_err();
        assert_eq!(refused.kind(), nexus_core::ErrorKind::InvalidOption, "{layout}");
        assert!(refused.hint().unwrap().contains(hint), "{refused:?}");
    }
    let uri = format!("local://{}?layout=auto", folder.path().display());
    fs.mount(vec![MountRequest::parse(&uri).unwrap()]).await.unwrap();
}
