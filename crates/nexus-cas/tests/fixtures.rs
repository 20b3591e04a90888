//! Stores that releases made are opened, read, verified, written to and collected by this one. How they are
//! made is in `fixtures/README.md`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use common::{cutting, in_folder, path, sized};
use futures_util::TryStreamExt;
use nexus_cas::CasBackend;
use nexus_cas::refs::sqlite::Durability;
use nexus_core::{
    Backend, BackendExt, Checked, CollectOptions, Digest, ListOptions, ReadOptions, Verdict,
    WriteMode, WriteOptions,
};

const DELETE: CollectOptions = CollectOptions { delete: true, force: true };

/// Size and digest of a file; of a directory nothing.
type Known = BTreeMap<String, Option<(u64, Digest)>>;

fn releases() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_dir()).collect()
}

/// What the store of a release must answer.
fn known(release: &Path) -> Known {
    let text = fs::read_to_string(release.join("files")).unwrap();
    let line = |line: &str| {
        let [size, digest, path] = line.splitn(3, ' ').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        let file = (size != "-").then(|| (size.parse().unwrap(), digest.parse().unwrap()));
        (path.to_owned(), file)
    };
    text.lines().map(line).collect()
}

/// A copy to work on, with the directories that Git does not keep.
fn copy(release: &Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy_below(&release.join("store"), folder.path());
    for byte in 0..=u8::MAX {
        fs::create_dir_all(folder.path().join(format!(".nexus/blobs/{byte:02x}"))).unwrap();
    }
    folder
}

fn copy_below(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&target).unwrap();
            copy_below(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Everything that the store has, read back.
async fn answered(store: &CasBackend) -> Known {
    let options = ListOptions { recursive: true, ..Default::default() };
    let listing = store.list(&path("/"), &options).await.unwrap();
    let entries: Vec<_> = listing.try_collect().await.unwrap();
    let mut known = Known::new();
    for entry in entries {
        let mut file = None;
        if !entry.metadata.is_dir() {
            let object = store.read(&entry.path, &ReadOptions::default()).await.unwrap();
            let bytes = object.body.bytes(usize::MAX).await.unwrap();
            assert_eq!(entry.metadata.digest, Some(Digest::of(&bytes)), "{}", entry.path);
            file = Some((bytes.len() as u64, Digest::of(&bytes)));
        }
        known.insert(entry.path.to_string(), file);
    }
    known
}

async fn assert_good(store: &CasBackend) {
    let checking = store.care().unwrap().verify(&Default::default()).await.unwrap();
    let checked: Vec<Checked> = checking.try_collect().await.unwrap();
    assert!(checked.iter().all(|checked| checked.verdict == Verdict::Good), "{checked:?}");
}

async fn collect(store: &CasBackend) -> u64 {
    store.care().unwrap().collect(&DELETE).await.unwrap().deleted
}

#[test]
fn this_release_is_there() {
    let version = env!("CARGO_PKG_VERSION");
    assert!(releases().iter().any(|release| release.ends_with(version)), "{version}");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_a_release_kept_is_read_and_verified() {
    for release in releases() {
        let folder = copy(&release);
        let store = in_folder(folder.path(), Durability::Full).await;
        assert_eq!(answered(&store).await, known(&release), "{}", release.display());
        let inline = store.stat(&path("/inline")).await.unwrap();
        assert_eq!(inline.content_type.as_deref(), Some("text/plain"));
        assert_eq!(inline.user["owner"], "nobody");
        assert_good(&store).await;
        store.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_a_release_is_written_to_and_collected() {
    for release in releases() {
        let folder = copy(&release);
        let store = cutting(folder.path()).await;
        let mut expected = known(&release);
        assert!(collect(&store).await > 0, "a blob that no path needs");
        assert_eq!(answered(&store).await, expected);
        // Of every form one new file, one that is there already under a new path, and one less.
        for size in [300, 17_001, 17_000, 90_000, 100_000] {
            let at = format!("/new/{size}");
            store.write(&path(&at), sized(size), &WriteOptions::default()).await.unwrap();
            expected.insert(at, Some((size as u64, Digest::of(&sized(size)))));
        }
        expected.insert("/new".to_owned(), None);
        store.copy(&path("/chunked"), &path("/new/c"), &WriteMode::Create).await.unwrap();
        expected.insert("/new/c".to_owned(), expected["/chunked"]);
        store.rename(&path("/inline"), &path("/new/i"), &WriteMode::Create).await.unwrap();
        let inline = expected.remove("/inline").unwrap();
        expected.insert("/new/i".to_owned(), inline);
        for gone in ["/copy of tree", "/deep/er/tree", "/chunked"] {
            store.delete_one(path(gone).into()).await.unwrap();
            expected.remove(gone);
        }
        assert!(collect(&store).await > 0);
        store.close().await.unwrap();
        let store = in_folder(folder.path(), Durability::Full).await;
        assert_eq!(answered(&store).await, expected, "{}", release.display());
        assert_good(&store).await;
        assert_eq!(collect(&store).await, 0);
        store.close().await.unwrap();
    }
}
