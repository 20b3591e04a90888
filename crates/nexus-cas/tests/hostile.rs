//! What somebody put into a store to lead it elsewhere: content that looks like the store's own files, rows
//! for paths that leave the root, blobs that are links. It is read back as what it is, or refused with an
//! error that says so; nothing outside of the root is read, written or deleted.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{cutting, in_folder, path, sized};
use futures_util::{StreamExt, TryStreamExt};
use nexus_cas::CasBackend;
use nexus_cas::record::{FileRecord, Record};
use nexus_cas::refs::sqlite::Durability;
use nexus_core::{
    Backend, BackendExt, Bytes, Checked, CollectOptions, Digest, ErrorKind, ListOptions,
    ReadOptions, Result, Verdict, WriteMode, WriteOptions,
};
use rusqlite::types::Value;

const DELETE: CollectOptions = CollectOptions { delete: true, force: true };

/// What lies beside the root of every store here, and must stay as it is.
const OUTSIDE: &[u8] = b"nobody but its owner reads or changes this";

/// A folder with a store in `root` and a file beside it.
struct Fixture {
    folder: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("root")).unwrap();
        fs::write(folder.path().join("outside"), OUTSIDE).unwrap();
        Self { folder }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    fn outside(&self) -> PathBuf {
        self.folder.path().join("outside")
    }

    fn assert_nothing_left_the_root(&self) {
        assert_eq!(fs::read(self.outside()).unwrap(), OUTSIDE);
        let mut beside: Vec<_> = fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        beside.sort();
        assert_eq!(beside, ["outside", "root"]);
    }
}

async fn write(store: &CasBackend, at: &str, content: impl Into<Bytes>) {
    store.write(&path(at), content.into(), &WriteOptions::default()).await.unwrap();
}

async fn read(store: &CasBackend, at: &str) -> Result<Bytes> {
    let object = store.read(&path(at), &ReadOptions::default()).await?;
    object.body.bytes(usize::MAX).await
}

async fn collect(store: &CasBackend) -> Result<u64> {
    Ok(store.care().unwrap().collect(&DELETE).await?.deleted)
}

/// Whether everything is good; or the error that ended it.
async fn verify(store: &CasBackend) -> Result<bool> {
    let checking = store.care().unwrap().verify(&Default::default()).await?;
    let checked: Vec<Checked> = checking.try_collect().await?;
    Ok(checked.iter().all(|checked| checked.verdict == Verdict::Good))
}

/// Every file of the store itself whose name ends like this.
fn own_files(root: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![root.join(".nexus")];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => dirs.push(path),
                false if path.to_string_lossy().ends_with(ending) => found.push(path),
                false => {}
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_is_a_file_of_the_store_is_content() {
    let fixture = Fixture::new();
    let root = fixture.root();
    let store = cutting(&root).await;
    write(&store, "/f", sized(200_000)).await;
    write(&store, "/tree", sized(64 << 10 | 1)).await;
    store.close().await.unwrap();
    let whole = in_folder(&root, Durability::Process).await;
    write(&whole, "/with-tree", sized(300_000)).await;
    whole.close().await.unwrap();
    let mut own: Vec<(String, Bytes)> = Vec::new();
    for ending in ["refs.db", ".tree", "store.json"] {
        let file = own_files(&root, ending).pop().unwrap();
        own.push((format!("/own{ending}"), fs::read(file).unwrap().into()));
    }
    let refs = rusqlite::Connection::open(root.join(".nexus/refs.db")).unwrap();
    let row = |row: &rusqlite::Row<'_>| row.get::<_, Vec<u8>>(0);
    let manifest = refs.query_row("SELECT content FROM contents WHERE size = 200000", [], row);
    own.push(("/own-manifest".to_owned(), manifest.unwrap().into()));
    let record = refs.query_row("SELECT record FROM refs WHERE path = '/f'", [], row);
    own.push(("/own-record".to_owned(), record.unwrap().into()));
    drop(refs);

    let store = cutting(&root).await;
    for (at, bytes) in &own {
        write(&store, at, bytes.clone()).await;
        let found = store.stat(&path(at)).await.unwrap();
        let (size, digest) = (bytes.len() as u64, Digest::of(bytes));
        assert_eq!((found.size, found.digest), (Some(size), Some(digest)));
    }
    // None of them is what the content of `/f` is kept by.
    store.delete_one(path("/f").into()).await.unwrap();
    collect(&store).await.unwrap();
    store.close().await.unwrap();
    let store = in_folder(&root, Durability::Process).await;
    for (at, bytes) in &own {
        assert_eq!(read(&store, at).await.unwrap(), bytes, "{at}");
    }
    assert!(verify(&store).await.unwrap());
}

/// Paths that no store makes, as SQL has them. Each gets a record whose checksum is right.
fn hostile_paths() -> Vec<Value> {
    let texts = [
        "/../outside",
        "/d/../../outside",
        "/..",
        "/.",
        "/d/./f",
        "//outside",
        "/d//f",
        "/d/",
        "/d/nul\0/f",
        "/",
    ];
    texts.map(|text| Value::Text(text.to_owned())).into()
}

fn plant(root: &Path, at: &Value, digest: Digest, record: &[u8]) {
    let refs = rusqlite::Connection::open(root.join(".nexus/refs.db")).unwrap();
    let row = (at, digest.as_bytes().as_slice(), record);
    assert_eq!(refs.execute("INSERT INTO refs VALUES (?, ?, ?)", row).unwrap(), 1);
}

fn record(digest: Digest, size: u64) -> Record {
    Record::File(FileRecord {
        digest,
        size,
        modified: 0,
        version: 1 << 40,
        content_type: None,
        user: Default::default(),
    })
}

/// Asks a store with a planted row everything. What it answers for the row may only be an error that
/// says what is damaged.
async fn ask_everything(fixture: &Fixture, about: &str) {
    let root = fixture.root();
    let store = in_folder(&root, Durability::Process).await;
    let mut told = false;
    for dir in ["/", "/d"] {
        for recursive in [true, false] {
            let options = ListOptions { recursive, ..Default::default() };
            let listed = match store.list(&path(dir), &options).await {
                Ok(listing) => listing.collect::<Vec<_>>().await,
                Err(error) => vec![Err(error)],
            };
            for entry in listed {
                match entry {
                    Ok(entry) => assert!(
                        ["/d", "/d/neighbour", "/neighbour"].contains(&entry.path.as_str()),
                        "{about}: {}",
                        entry.path
                    ),
                    Err(error) => {
                        told = true;
                        assert_eq!(error.kind(), ErrorKind::IntegrityMismatch, "{about}: {error}");
                    }
                }
            }
        }
    }
    assert_eq!(read(&store, "/neighbour").await.unwrap(), sized(20_000), "{about}");
    assert_eq!(read(&store, "/d/neighbour").await.unwrap(), sized(20_000), "{about}");
    let verified = verify(&store).await;
    assert!(told || !matches!(verified, Ok(true)), "{about}: nothing tells it");
    for outcome in [verified.map(drop), collect(&store).await.map(drop)] {
        if let Err(error) = outcome {
            assert_eq!(error.kind(), ErrorKind::IntegrityMismatch, "{about}: {error}");
        }
    }
    // Neighbours and their content are there after all of it.
    assert_eq!(read(&store, "/d/neighbour").await.unwrap(), sized(20_000), "{about}");
    // A directory with such a row in it moves with it, or is refused; it is never taken apart.
    match store.rename(&path("/d"), &path("/e"), &WriteMode::Create).await {
        Ok(_) => assert_eq!(read(&store, "/e/neighbour").await.unwrap(), sized(20_000)),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::IntegrityMismatch, "{about}: {error}");
            assert_eq!(read(&store, "/d/neighbour").await.unwrap(), sized(20_000), "{about}");
        }
    }
    store.close().await.unwrap();
    fixture.assert_nothing_left_the_root();
}

async fn with_neighbours(fixture: &Fixture) {
    let store = in_folder(&fixture.root(), Durability::Process).await;
    write(&store, "/neighbour", sized(20_000)).await;
    write(&store, "/d/neighbour", sized(20_000)).await;
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_for_a_path_that_leaves_the_root_is_damage() {
    let digest = Digest::of(&sized(20_000));
    for at in hostile_paths() {
        let Value::Text(text) = &at else { continue };
        let fixture = Fixture::new();
        with_neighbours(&fixture).await;
        plant(&fixture.root(), &at, digest, &record(digest, 20_000).encode(text));
        ask_everything(&fixture, &format!("{text:?}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_for_a_path_that_is_not_text_is_damage() {
    let digest = Digest::of(&sized(20_000));
    for bytes in ["2f642fff", "2f642fc3", "2fedbfbf"] {
        let fixture = Fixture::new();
        with_neighbours(&fixture).await;
        let encoded = record(digest, 20_000).encode("/d/f");
        plant(&fixture.root(), &Value::Text("/d/f".to_owned()), digest, &encoded);
        let change = format!("UPDATE refs SET path = CAST(x'{bytes}' AS TEXT) WHERE path = '/d/f'");
        common::sql(&fixture.root(), &change);
        ask_everything(&fixture, bytes).await;
    }
}

/// A row may be right in every way, and say that content is there that never was.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_for_content_that_is_elsewhere_is_damage() {
    let fixture = Fixture::new();
    with_neighbours(&fixture).await;
    let digest = Digest::of(OUTSIDE);
    let size = OUTSIDE.len() as u64;
    plant(
        &fixture.root(),
        &Value::Text("/d/f".to_owned()),
        digest,
        &record(digest, size).encode("/d/f"),
    );
    let store = in_folder(&fixture.root(), Durability::Process).await;
    assert_eq!(read(&store, "/d/f").await.unwrap_err().kind(), ErrorKind::IntegrityMismatch);
    assert!(!verify(&store).await.is_ok_and(|good| good));
    fixture.assert_nothing_left_the_root();
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_is_a_link_leads_nowhere() {
    let fixture = Fixture::new();
    let root = fixture.root();
    let large = sized(20_000);
    fs::write(fixture.outside(), &large).unwrap();
    with_neighbours(&fixture).await;
    let blob = own_files(&root, Digest::of(&large).to_string().as_str()).pop().unwrap();
    fs::remove_file(&blob).unwrap();
    // Even where it leads to the right bytes.
    std::os::unix::fs::symlink(fixture.outside(), &blob).unwrap();
    let store = in_folder(&root, Durability::Process).await;
    assert!(read(&store, "/neighbour").await.is_err());
    let _ = verify(&store).await;
    for gone in ["/neighbour", "/d/neighbour"] {
        store.delete_one(path(gone).into()).await.unwrap();
    }
    let _ = collect(&store).await;
    write(&store, "/again", large.clone()).await;
    assert_eq!(read(&store, "/again").await.unwrap(), large);
    store.close().await.unwrap();
    assert_eq!(fs::read(fixture.outside()).unwrap(), large);
}
