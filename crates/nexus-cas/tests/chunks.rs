//! Content in chunks: what two files share is kept once, whatever form another mount gave it, and chunks
//! are verified, mended and collected like any content.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::{Path, PathBuf};
use std::time::Duration;

use common::{content, cutting, in_folder, path, sql};
use futures_util::TryStreamExt;
use nexus_cas::CasBackend;
use nexus_cas::refs::sqlite::Durability;
use nexus_core::{
    Backend, BackendExt, Body, ByteRange, Bytes, Checked, CollectOptions, Digest, ErrorKind,
    ReadOptions, Result, Verdict, WriteMode, WriteOptions,
};

const DELETE: CollectOptions = CollectOptions { delete: true, force: true };

async fn write(store: &CasBackend, at: &str, content: &Bytes) {
    let written = store.write(&path(at), content.clone(), &WriteOptions::default()).await.unwrap();
    assert_eq!(written.digest, Some(Digest::of(content)));
    assert_eq!(written.size, Some(content.len() as u64));
}

async fn upload(store: &CasBackend, at: &str, content: &Bytes) {
    let mut upload = store.upload(&path(at), &WriteOptions::default()).await.unwrap();
    for piece in content.chunks(77_777) {
        upload.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    assert_eq!(upload.finish().await.unwrap().digest, Some(Digest::of(content)));
}

async fn read(store: &CasBackend, at: &str) -> Result<Bytes> {
    let object = store.read(&path(at), &ReadOptions::default()).await?;
    object.body.bytes(usize::MAX).await
}

async fn delete(store: &CasBackend, at: &str) {
    store.delete_one(path(at).into()).await.unwrap();
}

async fn collect(store: &CasBackend) -> u64 {
    store.care().unwrap().collect(&DELETE).await.unwrap().deleted
}

async fn bad(store: &CasBackend) -> Vec<Checked> {
    let checking = store.care().unwrap().verify(&Default::default()).await.unwrap();
    let all: Vec<Checked> = checking.try_collect().await.unwrap();
    all.into_iter().filter(|checked| checked.verdict != Verdict::Good).collect()
}

/// Every blob file, trees left out.
fn blobs(root: &Path) -> Vec<PathBuf> {
    let dirs = std::fs::read_dir(root.join(".nexus/blobs")).unwrap();
    let mut blobs: Vec<_> = dirs
        .flat_map(|dir| std::fs::read_dir(dir.unwrap().path()).unwrap())
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_none())
        .collect();
    blobs.sort();
    blobs
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_files_share_is_kept_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = cutting(folder.path()).await;
    let whole = content(1, 3_000_000);
    upload(&store, "/a", &whole).await;
    let before = blobs(folder.path()).len();
    assert!(before > 40, "{before} chunks");
    write(&store, "/again", &whole).await;
    upload(&store, "/and-again", &whole).await;
    assert_eq!(blobs(folder.path()).len(), before);
    upload(&store, "/longer", &[&b"x"[..], &whole[..]].concat().into()).await;
    assert!(blobs(folder.path()).len() <= before + 2);
    let middle = [&whole[..1_500_000], b"in between", &whole[1_500_000..]].concat().into();
    upload(&store, "/changed", &middle).await;
    assert!(blobs(folder.path()).len() <= before + 2 + 3);
    assert!(read(&store, "/changed").await.unwrap() == middle);
    let usage = store.care().unwrap().usage().await.unwrap();
    assert!(usage.logical_bytes > 15_000_000 && usage.stored_bytes < 3_600_000, "{usage:?}");
    let traffic = store.care().unwrap().traffic();
    assert!(traffic.known_bytes > 11_000_000 && traffic.new_bytes < 3_400_000, "{traffic:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_are_exact_across_chunks() {
    let folder = tempfile::tempdir().unwrap();
    let store = cutting(folder.path()).await;
    let whole = content(2, 1_000_003);
    upload(&store, "/f", &whole).await;
    let size = whole.len();
    let mut ranges = vec![(0, 0), (0, 1), (0, size), (size - 1, size), (size, size)];
    ranges.extend((0..size - 70_000).step_by(33_331).map(|start| (start, start + 70_000)));
    for (start, end) in ranges {
        let range = ByteRange::new(start as u64, Some(end as u64)).unwrap();
        let object = store.read(&path("/f"), &ReadOptions::range(range)).await.unwrap();
        assert_eq!(object.metadata.size, Some(size as u64));
        let part = object.body.bytes(usize::MAX).await.unwrap();
        assert!(part == whole.slice(start..end), "{start}..{end}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_form_of_a_content_is_enough() {
    let folder = tempfile::tempdir().unwrap();
    let whole = content(3, 700_000);
    let keeping = in_folder(folder.path(), Durability::Process).await;
    let cutting = cutting(folder.path()).await;
    upload(&cutting, "/cut", &whole).await;
    let chunks = blobs(folder.path());
    upload(&keeping, "/kept", &whole).await;
    write(&keeping, "/written", &whole).await;
    assert_eq!(blobs(folder.path()), chunks, "known in chunks");
    assert!(read(&keeping, "/kept").await.unwrap() == whole);
    // A chunk is lost: what is written now is kept whole, and every path has it.
    std::fs::remove_file(&chunks[0]).unwrap();
    write(&keeping, "/new", &whole).await;
    for at in ["/cut", "/kept", "/written", "/new"] {
        assert!(read(&cutting, at).await.unwrap() == whole, "{at}");
    }
    // Known whole: cut again, nothing refers to the chunks.
    upload(&cutting, "/cut-again", &whole).await;
    assert!(collect(&keeping).await >= chunks.len() as u64 - 1);
    assert_eq!(blobs(folder.path()).len(), 1);
    assert!(read(&cutting, "/cut-again").await.unwrap() == whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_go_when_no_content_needs_them() {
    let folder = tempfile::tempdir().unwrap();
    let store = cutting(folder.path()).await;
    let whole = content(4, 900_000);
    let longer: Bytes = [&whole[..], &content(5, 300_000)[..]].concat().into();
    upload(&store, "/a", &whole).await;
    upload(&store, "/b", &longer).await;
    let copied = store.copy(&path("/a"), &path("/c"), &WriteMode::Overwrite).await.unwrap();
    assert_eq!(copied, nexus_core::CopyMethod::Metadata);
    let all = blobs(folder.path()).len();
    assert_eq!(collect(&store).await, 0);
    delete(&store, "/a").await;
    assert_eq!(collect(&store).await, 0);
    assert!(read(&store, "/c").await.unwrap() == whole);
    delete(&store, "/b").await;
    assert!(collect(&store).await > 0);
    assert!(read(&store, "/c").await.unwrap() == whole);
    assert!(bad(&store).await.is_empty());
    write(&store, "/c", &content(6, 100)).await;
    collect(&store).await;
    assert!(blobs(folder.path()).is_empty(), "of {all}");
    assert_eq!(store.care().unwrap().usage().await.unwrap().contents, 1);
    // Again from nothing.
    upload(&store, "/a", &whole).await;
    assert!(read(&store, "/a").await.unwrap() == whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_chunk_is_never_served_and_is_named_by_what_it_is_part_of() {
    let folder = tempfile::tempdir().unwrap();
    let store = cutting(folder.path()).await;
    let whole = content(7, 400_000);
    upload(&store, "/d/a", &whole).await;
    write(&store, "/d/b", &whole).await;
    write(&store, "/other", &content(8, 50_000)).await;
    // The chunk that the first byte is in.
    let at_start = blobs(folder.path())
        .into_iter()
        .find(|file| whole.starts_with(&std::fs::read(file).unwrap()));
    let file = at_start.unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    let good = Bytes::from(bytes.clone());
    bytes[100] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let error = read(&store, "/d/a").await.unwrap_err();
    assert_eq!((error.kind(), error.path()), (ErrorKind::IntegrityMismatch, Some("/d/a")));
    let found = bad(&store).await;
    let [Checked { digest, size, read: bytes_read, verdict }] = &found[..] else {
        panic!("{found:?}");
    };
    let Verdict::Bad { harmed, part_of, .. } = verdict else { panic!("{verdict:?}") };
    let length = good.len() as u64;
    assert_eq!((*digest, *size, *bytes_read), (Digest::of(&good), length, length));
    assert_eq!(harmed[..], [path("/d/a"), path("/d/b")]);
    assert_eq!(*part_of, Some((Digest::of(&whole), 0)));
    let care = store.care().unwrap();
    care.mend(digest, Body::whole(good.clone())).await.unwrap();
    assert!(read(&store, "/d/a").await.unwrap() == whole);
    assert!(bad(&store).await.is_empty());
    // Writing the file again is as good.
    std::fs::write(&file, &bytes[..30]).unwrap();
    upload(&store, "/d/a", &whole).await;
    assert!(read(&store, "/d/b").await.unwrap() == whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_manifest_or_row_is_found_and_mended() {
    let folder = tempfile::tempdir().unwrap();
    let store = cutting(folder.path()).await;
    let whole = content(9, 400_000);
    upload(&store, "/a", &whole).await;
    for damage in [
        "UPDATE contents SET content = zeroblob(90) WHERE content IS NOT NULL",
        "UPDATE contents SET content = NULL, place = 1 WHERE content IS NOT NULL",
        "UPDATE contents SET size = size - 1 WHERE content IS NOT NULL",
        "UPDATE contents SET checked = checked + 1 WHERE content IS NOT NULL",
    ] {
        sql(folder.path(), damage);
        let error = read(&store, "/a").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IntegrityMismatch, "{damage}");
        let found = bad(&store).await;
        assert_eq!(found.len(), 1, "{damage}: {found:?}");
        assert_eq!(found[0].digest, Digest::of(&whole));
        store.care().unwrap().mend(&found[0].digest, Body::whole(whole.clone())).await.unwrap();
        assert!(read(&store, "/a").await.unwrap() == whole, "{damage}");
        assert!(bad(&store).await.is_empty(), "{damage}");
        upload(&store, "/a", &whole).await;
        collect(&store).await;
        assert!(read(&store, "/a").await.unwrap() == whole, "{damage}");
        // In chunks again, for the next.
        delete(&store, "/a").await;
        collect(&store).await;
        upload(&store, "/a", &whole).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_deletes_nothing_once_the_refs_forgot_a_chunk() {
    let folder = tempfile::tempdir().unwrap();
    let store = cutting(folder.path()).await;
    let whole = content(10, 400_000);
    upload(&store, "/a", &whole).await;
    let all = blobs(folder.path());
    sql(folder.path(), "DELETE FROM chunks WHERE chunk = (SELECT min(chunk) FROM chunks)");
    let error = store.care().unwrap().collect(&DELETE).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::IntegrityMismatch);
    assert_eq!(blobs(folder.path()), all);
    assert!(read(&store, "/a").await.unwrap() == whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_given_up_leaves_only_garbage() {
    let folder = tempfile::tempdir().unwrap();
    let store = cutting(folder.path()).await;
    write(&store, "/first", &content(11, 10)).await;
    for abort in [true, false] {
        let mut upload = store.upload(&path("/a"), &WriteOptions::default()).await.unwrap();
        for piece in content(12, 3_000_000).chunks(1 << 20) {
            upload.write(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        assert!(!blobs(folder.path()).is_empty());
        if abort {
            upload.abort().await.unwrap();
            collect(&store).await;
            assert!(blobs(folder.path()).is_empty());
        } else {
            drop(upload);
            // A chunk that is being written when the upload is dropped lands a moment later.
            let collected = async {
                while !blobs(folder.path()).is_empty() {
                    collect(&store).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(60), collected).await.unwrap();
        }
        assert!(store.stat(&path("/a")).await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_looks_like_a_manifest_is_content() {
    let folder = tempfile::tempdir().unwrap();
    let store = cutting(folder.path()).await;
    let whole = content(13, 400_000);
    upload(&store, "/a", &whole).await;
    let chunks = blobs(folder.path()).into_iter().map(|file| {
        let bytes = std::fs::read(file).unwrap();
        nexus_cas::manifest::Chunk { digest: Digest::of(&bytes), length: bytes.len() as u32 }
    });
    let manifest =
        nexus_cas::manifest::Manifest::new(Digest::of(&whole), chunks.collect()).unwrap();
    let bytes = manifest.encode();
    write(&store, "/small", &bytes).await;
    let large: Bytes = bytes.repeat(1_000).into();
    upload(&store, "/large", &large).await;
    assert!(read(&store, "/small").await.unwrap() == bytes);
    assert!(read(&store, "/large").await.unwrap() == large);
    assert!(bad(&store).await.is_empty());
}
