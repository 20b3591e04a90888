//! Refs that are damaged as a whole: refused and told, never taken for a store without paths; and what
//! their damage can not take.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;

use common::{in_folder, options, path, plain, sql};
use futures_util::TryStreamExt;
use nexus_cas::CasBackend;
use nexus_cas::refs::sqlite::Durability;
use nexus_core::{
    Backend, BackendExt, Body, Bytes, Checked, CollectOptions, CopyMethod, Digest, Error,
    ErrorKind, ReadOptions, Verdict, WriteMode, WriteOptions,
};

const DELETE: CollectOptions = CollectOptions { delete: true, force: true };

async fn write(store: &CasBackend, at: &str, content: &[u8]) {
    let content = Bytes::copy_from_slice(content);
    store.write(&path(at), content, &WriteOptions::default()).await.unwrap();
}

async fn read(store: &CasBackend, at: &str) -> nexus_core::Result<Bytes> {
    store.read(&path(at), &ReadOptions::default()).await?.body.bytes(usize::MAX).await
}

async fn verify(store: &CasBackend) -> Vec<Checked> {
    let checking = store.care().unwrap().verify(&Default::default()).await.unwrap();
    checking.try_collect().await.unwrap()
}

/// A store with a small file and a large one, closed.
async fn made(root: &Path) {
    let store = in_folder(root, Durability::Process).await;
    write(&store, "/small", b"small").await;
    write(&store, "/large", &[7; 50_000]).await;
    store.close().await.unwrap();
}

async fn open(root: &Path) -> Result<CasBackend, Error> {
    let options = options(root.join(".nexus"), Durability::Process);
    CasBackend::open(plain(root).await, options).await
}

#[tokio::test(flavor = "multi_thread")]
async fn refs_that_are_gone_are_damage_not_an_empty_store() {
    for damage in ["gone", "emptied", "without tables", "with other tables"] {
        let folder = tempfile::tempdir().unwrap();
        made(folder.path()).await;
        let refs = folder.path().join(".nexus/refs.db");
        match damage {
            "gone" => std::fs::remove_file(&refs).unwrap(),
            "emptied" => std::fs::write(&refs, "").unwrap(),
            "without tables" => {
                std::fs::remove_file(&refs).unwrap();
                let other = rusqlite::Connection::open(&refs).unwrap();
                other.execute_batch("CREATE TABLE x (y); DROP TABLE x").unwrap();
            }
            _ => {
                let refs = rusqlite::Connection::open(&refs).unwrap();
                refs.execute_batch("DROP INDEX refs_digest").unwrap();
            }
        }
        let error = open(folder.path()).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::IntegrityMismatch, "{damage}");
        assert!(error.hint().unwrap().contains(".nexus/backup"), "{damage}");
        assert!(folder.path().join(".nexus/store.json").is_file(), "{damage}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_lost_its_description_is_not_one_that_is_not_finished() {
    let folder = tempfile::tempdir().unwrap();
    made(folder.path()).await;
    let description = folder.path().join(".nexus/store.json");
    let text = std::fs::read_to_string(&description).unwrap();
    std::fs::remove_file(&description).unwrap();
    let error = open(folder.path()).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::IntegrityMismatch);
    let hint = error.hint().unwrap();
    assert!(hint.contains(&text), "{hint}");
    std::fs::write(&description, text).unwrap();
    assert_eq!(read(&open(folder.path()).await.unwrap(), "/small").await.unwrap(), "small");

    // One that was never finished has no paths, and is finished by the first write.
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await.unwrap();
    write(&store, "/a", b"a").await;
    store.delete_one(path("/a").into()).await.unwrap();
    store.close().await.unwrap();
    std::fs::remove_file(folder.path().join(".nexus/store.json")).unwrap();
    let store = open(folder.path()).await.unwrap();
    write(&store, "/b", b"b").await;
    assert_eq!(read(&store, "/b").await.unwrap(), "b");
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_nothing_is_recorded_of_is_told_and_mended() {
    let folder = tempfile::tempdir().unwrap();
    made(folder.path()).await;
    let store = open(folder.path()).await.unwrap();
    store.copy(&path("/small"), &path("/also"), &WriteMode::Create).await.unwrap();
    sql(folder.path(), "DELETE FROM contents");
    for at in ["/small", "/also", "/large"] {
        assert_eq!(read(&store, at).await.unwrap_err().kind(), ErrorKind::IntegrityMismatch);
    }
    let verified = verify(&store).await;
    let [Checked { digest, verdict: Verdict::Bad { harmed, .. }, .. }] = &verified
        .iter()
        .filter(|checked| checked.verdict != Verdict::Good)
        .cloned()
        .collect::<Vec<_>>()[..]
    else {
        panic!("{verified:?}");
    };
    assert_eq!(
        (*digest, &harmed[..]),
        (Digest::of(b"small"), &[path("/also"), path("/small")][..])
    );
    // The large one is there, and only had to be recorded.
    assert_eq!(read(&store, "/large").await.unwrap(), [7; 50_000][..]);
    let small = Body::whole(Bytes::from_static(b"small"));
    store.care().unwrap().mend(&Digest::of(b"small"), small).await.unwrap();
    assert_eq!(read(&store, "/also").await.unwrap(), "small");
    assert!(verify(&store).await.iter().all(|checked| checked.verdict == Verdict::Good));
}

/// SQLite finds its files by their paths: those of another store, where that took the place of this one.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_moved_while_it_is_open_leaves_its_successor_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (here, away) = (folder.path().join("here"), folder.path().join("away"));
    std::fs::create_dir(&here).unwrap();
    made(&here).await;
    let moved = open(&here).await.unwrap();
    write(&moved, "/before", b"before").await;
    std::fs::rename(&here, &away).unwrap();
    std::fs::create_dir(&here).unwrap();
    let other = in_folder(&here, Durability::Process).await;
    write(&other, "/other", b"other").await;

    let late = Bytes::from_static(b"late");
    let error = moved.write(&path("/late"), late, &Default::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.hint().unwrap().contains("mount it where it is now"));
    // As many at once as need connections of their own: none of them reads what the other store has.
    let other_path = path("/other");
    let reads = (0..16).map(|_| moved.stat(&other_path));
    for read in futures_util::future::join_all(reads).await {
        let kind = read.unwrap_err().kind();
        assert!(matches!(kind, ErrorKind::NotFound | ErrorKind::Unavailable), "{kind}");
    }
    drop(moved.close().await);
    write(&other, "/more", b"more").await;
    other.close().await.unwrap();
    let other = open(&here).await.unwrap();
    assert_eq!(read(&other, "/other").await.unwrap(), "other");
    assert_eq!(read(&other, "/more").await.unwrap(), "more");
    assert!(verify(&other).await.iter().all(|checked| checked.verdict == Verdict::Good));
    let moved = open(&away).await.unwrap();
    assert_eq!(read(&moved, "/before").await.unwrap(), "before");
}

/// What is recorded of a blob says nothing about the blob itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_blob_is_not_taken_away_because_its_row_is_damaged() {
    for damage in ["size = size - 1", "place = 2", "seal = zeroblob(8)", "checked = 7"] {
        let folder = tempfile::tempdir().unwrap();
        made(folder.path()).await;
        let store = open(folder.path()).await.unwrap();
        sql(folder.path(), &format!("UPDATE contents SET {damage} WHERE size = 50000"));
        assert!(verify(&store).await.iter().all(|checked| checked.verdict == Verdict::Good));
        assert_eq!(read(&store, "/large").await.unwrap(), [7; 50_000][..], "{damage}");
        store.care().unwrap().collect(&DELETE).await.unwrap();
        assert_eq!(read(&store, "/large").await.unwrap(), [7; 50_000][..], "{damage}");
    }
}

/// An index says whether content has other paths. A damaged one must not take content with the first of
/// two paths.
#[tokio::test(flavor = "multi_thread")]
async fn content_that_was_ever_shared_is_left_to_the_collector() {
    let folder = tempfile::tempdir().unwrap();
    made(folder.path()).await;
    let store = open(folder.path()).await.unwrap();
    let care = store.care().unwrap();
    write(&store, "/sole", b"sole").await;
    assert_eq!(care.usage().await.unwrap().contents, 3);
    store.delete_one(path("/sole").into()).await.unwrap();
    assert_eq!(care.usage().await.unwrap().contents, 2, "what had one path goes with it");
    for shared in ["by a copy", "by a write"] {
        write(&store, "/one", b"shared").await;
        match shared {
            "by a copy" => {
                let copied = store.copy(&path("/one"), &path("/two"), &WriteMode::Create).await;
                assert_eq!(copied.unwrap(), CopyMethod::Metadata);
            }
            _ => write(&store, "/two", b"shared").await,
        }
        store.delete_one(path("/one").into()).await.unwrap();
        store.delete_one(path("/two").into()).await.unwrap();
        assert_eq!(care.usage().await.unwrap().contents, 3, "{shared}");
        let dry = care.collect(&CollectOptions::default()).await.unwrap();
        assert_eq!((dry.garbage, dry.garbage_bytes, dry.deleted), (1, 6, 0), "{shared}");
        let collected = care.collect(&DELETE).await.unwrap();
        assert_eq!((collected.garbage, collected.deleted), (1, 1), "{shared}");
        assert_eq!(care.usage().await.unwrap().contents, 2, "{shared}");
    }
    // A rename shares nothing.
    write(&store, "/one", b"moved").await;
    store.rename(&path("/one"), &path("/two"), &WriteMode::Create).await.unwrap();
    write(&store, "/two", b"moved").await;
    store.delete_one(path("/two").into()).await.unwrap();
    assert_eq!(care.usage().await.unwrap().contents, 2);
}
