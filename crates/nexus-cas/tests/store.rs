//! What a content-addressed store promises beyond the contract of every backend: content is kept
//! once, what is damaged is never served, and what nobody needs goes when it is told to.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{content, in_folder, path};
use futures_util::{StreamExt, TryStreamExt};
use nexus_cas::CasBackend;
use nexus_cas::refs::sqlite::Durability;
use nexus_core::{
    Backend, BackendExt, Body, ByteRange, Bytes, Care, Checked, CollectOptions, CopyMethod,
    DeleteTarget, Digest, ErrorKind, ReadOptions, Result, Verdict, WriteMode, WriteOptions,
};

async fn store(root: &Path) -> CasBackend {
    in_folder(root, Durability::Full).await
}

async fn write(store: &CasBackend, at: &str, content: &Bytes) {
    store.write(&path(at), content.clone(), &WriteOptions::default()).await.unwrap();
}

async fn read(store: &CasBackend, at: &str) -> Result<Bytes> {
    let object = store.read(&path(at), &ReadOptions::default()).await?;
    object.body.bytes(usize::MAX).await
}

async fn upload(store: &CasBackend, at: &str, content: &Bytes) {
    let mut upload = store.upload(&path(at), &WriteOptions::default()).await.unwrap();
    for piece in content.chunks(300_000) {
        upload.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    let metadata = upload.finish().await.unwrap();
    assert_eq!(metadata.digest, Some(Digest::of(content)));
}

fn care(store: &CasBackend) -> &dyn Care {
    store.care().unwrap()
}

async fn verified(store: &CasBackend) -> Vec<Checked> {
    let checking = care(store).verify(&Default::default()).await.unwrap();
    checking.try_collect().await.unwrap()
}

/// Every blob file, trees left out.
fn blobs(root: &Path) -> Vec<PathBuf> {
    let dirs = std::fs::read_dir(root.join(".nexus/blobs")).unwrap();
    dirs.flat_map(|dir| std::fs::read_dir(dir.unwrap().path()).unwrap())
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_none())
        .collect()
}

fn flip(file: &Path, at: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[at] ^= 1;
    std::fs::write(file, bytes).unwrap();
}

const DELETE: CollectOptions = CollectOptions { delete: true, force: true };

#[tokio::test(flavor = "multi_thread")]
async fn identical_content_is_kept_once_however_it_came() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let large = content(1, 3 << 20);
    write(&store, "/a", &large).await;
    upload(&store, "/dir/b", &large).await;
    write(&store, "/c", &large).await;
    for (at, size) in [("/small", 100), ("/edge", 16 << 10), ("/blob", (16 << 10) + 1)] {
        write(&store, at, &content(2, size)).await;
        write(&store, &format!("{at}-again"), &content(2, size)).await;
    }
    assert_eq!(blobs(folder.path()).len(), 2);
    let usage = care(&store).usage().await.unwrap();
    assert_eq!((usage.files, usage.contents), (9, 5 - 1));
    assert!(usage.logical_bytes > 9 << 20 && usage.stored_bytes < 4 << 20, "{usage:?}");
    let traffic = care(&store).traffic();
    assert_eq!(traffic.new_bytes, (3 << 20) + 100 + 2 * (16 << 10) + 1);
    assert_eq!((traffic.new_contents, traffic.known_contents), (4, 5));
    for at in ["/a", "/dir/b", "/c"] {
        assert!(read(&store, at).await.unwrap() == large);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_stored_is_there_after_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let (small, large) = (content(1, 10), content(2, 5 << 20));
    let first = store(folder.path()).await;
    write(&first, "/d/small", &small).await;
    upload(&first, "/d/large", &large).await;
    let version = first.stat(&path("/d/large")).await.unwrap().version;
    first.close().await.unwrap();
    let second = store(folder.path()).await;
    assert!(read(&second, "/d/small").await.unwrap() == small);
    assert!(read(&second, "/d/large").await.unwrap() == large);
    assert_eq!(second.stat(&path("/d/large")).await.unwrap().version, version);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_have_one_store_open_see_each_other_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let one = store(folder.path()).await;
    let two = store(folder.path()).await;
    write(&one, "/from-one", &content(1, 100_000)).await;
    assert!(read(&two, "/from-one").await.unwrap() == content(1, 100_000));
    write(&two, "/from-one", &content(2, 10)).await;
    assert!(read(&one, "/from-one").await.unwrap() == content(2, 10));
    let create = WriteOptions::from(WriteMode::Create);
    let refused = one.write(&path("/from-one"), Bytes::new(), &create).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_move_no_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    write(&store, "/a", &content(1, 2 << 20)).await;
    let before = blobs(folder.path());
    let method = store.copy(&path("/a"), &path("/b"), &WriteMode::Overwrite).await.unwrap();
    assert_eq!(method, CopyMethod::Metadata);
    assert_eq!(blobs(folder.path()), before);
    store.delete_one(path("/a").into()).await.unwrap();
    assert!(read(&store, "/b").await.unwrap() == content(1, 2 << 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_of_all_sizes_are_exact() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    for size in [10_usize, 16 << 10, 40_000, 64 << 10, (64 << 10) + 1, (5 << 20) + 77] {
        let whole = content(size as u64, size);
        write(&store, "/f", &whole).await;
        for (start, end) in
            [(0, 1), (0, size), (size / 3, size / 2), (size - 1, size), (size, size)]
        {
            let range = ByteRange::new(start as u64, Some(end as u64)).unwrap();
            let object = store.read(&path("/f"), &ReadOptions::range(range)).await.unwrap();
            assert_eq!(object.metadata.size, Some(size as u64));
            let part = object.body.bytes(usize::MAX).await.unwrap();
            assert!(part == whole.slice(start..end), "{start}..{end} of {size}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_content_is_never_served() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    for size in [20_000_usize, 100_000, 3 << 20] {
        let whole = content(size as u64, size);
        write(&store, "/f", &whole).await;
        let file = blobs(folder.path()).into_iter().find(|file| {
            file.file_name().unwrap().to_str() == Some(&Digest::of(&whole).to_string())
        });
        let file = file.unwrap();
        for at in [0, size / 2, size - 1] {
            flip(&file, at);
            let error = read(&store, "/f").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::IntegrityMismatch, "{at} of {size}");
            assert_eq!(error.path(), Some("/f"));
            let range = ByteRange::new(at as u64, Some(at as u64 + 1)).unwrap();
            let object = store.read(&path("/f"), &ReadOptions::range(range)).await;
            let part = match object {
                Ok(object) => object.body.bytes(10).await,
                Err(error) => Err(error),
            };
            assert_eq!(part.unwrap_err().kind(), ErrorKind::IntegrityMismatch);
            flip(&file, at);
        }
        std::fs::write(&file, &whole[..size - 1]).unwrap();
        assert_eq!(read(&store, "/f").await.unwrap_err().kind(), ErrorKind::IntegrityMismatch);
        std::fs::remove_file(&file).unwrap();
        assert_eq!(read(&store, "/f").await.unwrap_err().kind(), ErrorKind::IntegrityMismatch);
        // Written again, it is well again.
        write(&store, "/f", &whole).await;
        assert!(read(&store, "/f").await.unwrap() == whole);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_that_is_damaged_or_gone_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let whole = content(9, 2 << 20);
    write(&store, "/f", &whole).await;
    let file = blobs(folder.path()).remove(0).with_extension("tree");
    let good = std::fs::read(&file).unwrap();
    for damage in [None, Some(Vec::new()), Some(vec![7; good.len()])] {
        store.close().await.unwrap();
        match &damage {
            None => std::fs::remove_file(&file).unwrap(),
            Some(bytes) => std::fs::write(&file, bytes).unwrap(),
        }
        let store = in_folder(folder.path(), Durability::Full).await;
        assert!(read(&store, "/f").await.unwrap() == whole);
        assert_eq!(std::fs::read(&file).unwrap(), good);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_finds_damage_names_what_it_harms_and_mends() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let whole = content(3, 200_000);
    write(&store, "/good", &content(4, 50_000)).await;
    write(&store, "/a", &whole).await;
    write(&store, "/b/c", &whole).await;
    assert!(verified(&store).await.iter().all(|checked| checked.verdict == Verdict::Good));
    let digest = Digest::of(&whole);
    let file = folder.path().join(format!(".nexus/blobs/{}/{digest}", &digest.to_string()[..2]));
    flip(&file, 100);
    let bad: Vec<_> =
        verified(&store).await.into_iter().filter(|c| c.verdict != Verdict::Good).collect();
    let [Checked { digest: found, verdict: Verdict::Bad { harmed, .. }, .. }] = &bad[..] else {
        panic!("{bad:?}");
    };
    assert_eq!((*found, harmed.clone()), (digest, vec![path("/a"), path("/b/c")]));
    assert!(!file.exists() && folder.path().join(format!(".nexus/quarantine/{digest}")).exists());
    let wrong = care(&store).mend(&digest, Body::whole(content(5, 200_000))).await.unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::IntegrityMismatch);
    care(&store).mend(&digest, Body::whole(whole.clone())).await.unwrap();
    assert!(read(&store, "/b/c").await.unwrap() == whole);
    assert!(verified(&store).await.iter().all(|checked| checked.verdict == Verdict::Good));
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_goes_oldest_first_and_can_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    for seed in 0..20 {
        write(&store, &format!("/{seed}"), &content(seed, 20_000)).await;
    }
    let begun = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let before = i64::try_from(begun.as_millis()).unwrap();
    let options = nexus_core::VerifyOptions { before: Some(before) };
    let first: Vec<_> = care(&store).verify(&options).await.unwrap().take(7).collect().await;
    assert_eq!(first.len(), 7);
    let rest: Vec<_> = care(&store).verify(&options).await.unwrap().collect().await;
    assert_eq!(rest.len(), 13);
    // However often it is asked: each once.
    for _ in 0..3 {
        let mut all: Vec<_> = verified(&store).await.iter().map(|checked| checked.digest).collect();
        all.sort();
        all.dedup();
        assert_eq!((all.len(), verified(&store).await.len()), (20, 20));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_goes_only_when_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    for seed in 0..4 {
        write(&store, &format!("/{seed}"), &content(seed, 100_000)).await;
    }
    let targets: Vec<DeleteTarget> = ["/0", "/1"].into_iter().map(|at| path(at).into()).collect();
    store.delete(&targets).await;
    let dry = care(&store).collect(&CollectOptions::default()).await.unwrap();
    assert_eq!((dry.scanned, dry.garbage, dry.deleted), (4, 2, 0));
    let careful = CollectOptions { delete: true, force: false };
    let refused = care(&store).collect(&careful).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PreconditionFailed);
    assert_eq!(blobs(folder.path()).len(), 4);
    let done = care(&store).collect(&DELETE).await.unwrap();
    assert_eq!((done.garbage, done.deleted), (2, 2));
    assert_eq!(blobs(folder.path()).len(), 2);
    for seed in 2..4 {
        assert!(read(&store, &format!("/{seed}")).await.unwrap() == content(seed, 100_000));
    }
    // What was collected can be written again.
    write(&store, "/0", &content(0, 100_000)).await;
    assert!(read(&store, "/0").await.unwrap() == content(0, 100_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_collector_beside_writers_takes_nothing_that_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(in_folder(folder.path(), Durability::Process).await);
    let writers: Vec<_> = (0..8_u64)
        .map(|writer| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for round in 0..60_u64 {
                    // Few contents, so that one is often garbage and written again at once.
                    let whole =
                        content((3 * writer + round) % 40, 20_000 + (round % 3) as usize * 60_000);
                    let at = format!("/{writer}-{}", round % 4);
                    if round % 2 == 0 {
                        write(&store, &at, &whole).await;
                    } else {
                        upload(&store, &at, &whole).await;
                    }
                    assert!(read(&store, &at).await.unwrap() == whole);
                    if round % 3 == 0 {
                        store.delete_one(path(&at).into()).await.unwrap();
                    }
                }
            })
        })
        .collect();
    let working = Arc::new(AtomicBool::new(true));
    let collector = {
        let (store, working) = (Arc::clone(&store), Arc::clone(&working));
        tokio::spawn(async move {
            let mut deleted = 0;
            while working.load(Ordering::Relaxed) {
                deleted += care(&store).collect(&DELETE).await.unwrap().deleted;
            }
            deleted
        })
    };
    for writer in writers {
        writer.await.unwrap();
    }
    working.store(false, Ordering::Relaxed);
    assert!(collector.await.unwrap() > 0, "the collector had nothing to do");
    assert!(verified(&store).await.iter().all(|checked| checked.verdict == Verdict::Good));
}

#[tokio::test]
async fn a_newer_store_is_refused_before_any_write() {
    let folder = tempfile::tempdir().unwrap();
    let first = store(folder.path()).await;
    write(&first, "/a", &content(1, 10)).await;
    first.close().await.unwrap();
    let file = folder.path().join(".nexus/store.json");
    let newer = std::fs::read_to_string(&file).unwrap().replace("\"format\":1", "\"format\":2");
    std::fs::write(&file, &newer).unwrap();
    let options = common::options(folder.path().join(".nexus"), Durability::Process);
    let opened = CasBackend::open(common::plain(folder.path()).await, options).await;
    assert_eq!(opened.err().unwrap().kind(), ErrorKind::Unsupported);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), newer);
}
