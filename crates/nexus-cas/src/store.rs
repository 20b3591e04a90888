//! One store: what `store.json` says of it, its refs and its blobs; how one is made and opened.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::BoxFuture;
use nexus_core::{
    Backend, BackendExt, Bytes, Error, ErrorKind, ReadOptions, Result, Traffic, VfsPath, WriteMode,
    WriteOptions,
};
use serde::{Deserialize, Serialize};

use crate::blobs::Blobs;
use crate::names;
use crate::refs::{Expect, Probe, Refs};

/// The format of stores that this program makes, and the newest that it reads.
const FORMAT: u64 = 1;

/// More than this is no `store.json`.
const STORE_FILE_BYTES: usize = 64 << 10;

/// Opens the refs of a store whose directory is there; given whoever knows the blobs.
pub type OpenRefs =
    Arc<dyn Fn(Arc<dyn Probe>, Expect) -> BoxFuture<'static, Result<Arc<dyn Refs>>> + Send + Sync>;

#[derive(Debug, Serialize, Deserialize)]
struct StoreFile {
    format: u64,
    layout: String,
    hash: String,
}

impl StoreFile {
    /// The description of stores that this program makes.
    fn of_new() -> Self {
        Self { format: FORMAT, layout: "cas".to_owned(), hash: "blake3".to_owned() }
    }
}

/// An open store.
#[derive(Clone)]
pub(crate) struct Store {
    pub(crate) refs: Arc<dyn Refs>,
    pub(crate) blobs: Blobs,
    pub(crate) traffic: Arc<Counters>,
}

/// What was written through one mount.
#[derive(Default)]
pub(crate) struct Counters {
    new: (AtomicU64, AtomicU64),
    known: (AtomicU64, AtomicU64),
}

impl Counters {
    pub(crate) fn add(&self, new: bool, bytes: u64) {
        let (contents, total) = if new { &self.new } else { &self.known };
        contents.fetch_add(1, Ordering::Relaxed);
        total.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Adds what was counted elsewhere.
    pub(crate) fn merge(&self, other: &Self) {
        for (here, there) in [(&self.new, &other.new), (&self.known, &other.known)] {
            here.0.fetch_add(there.0.load(Ordering::Relaxed), Ordering::Relaxed);
            here.1.fetch_add(there.1.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    pub(crate) fn traffic(&self) -> Traffic {
        Traffic {
            new_contents: self.new.0.load(Ordering::Relaxed),
            new_bytes: self.new.1.load(Ordering::Relaxed),
            known_contents: self.known.0.load(Ordering::Relaxed),
            known_bytes: self.known.1.load(Ordering::Relaxed),
        }
    }
}

/// Whether a store is there; one of a newer format, or that says nonsense, is an error.
pub(crate) async fn is_there(inner: &dyn Backend) -> Result<bool> {
    let path = names::path(names::STORE_FILE)?;
    let content = match inner.read(&path, &ReadOptions::default()).await {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(false);
        }
        read => read?.body.bytes(STORE_FILE_BYTES).await,
    };
    let content = content.map_err(|error| match error.kind() {
        ErrorKind::TooLarge => names::broken("the store's description is damaged".to_owned()),
        _ => error,
    })?;
    let file: StoreFile = serde_json::from_slice(&content)
        .map_err(|error| names::broken(format!("the store's description is damaged: {error}")))?;
    if file.format > FORMAT {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("the store has format {}, this program knows {FORMAT}", file.format),
        )
        .with_path(names::STORE_FILE)
        .with_hint("open it with a newer nexus-fs"));
    }
    if file.format == 0 || file.layout != "cas" || file.hash != "blake3" {
        return Err(names::broken("the store's description makes no sense".to_owned()));
    }
    Ok(true)
}

/// Opens the store, which is there.
pub(crate) async fn open(
    inner: &Arc<dyn Backend>,
    durable: bool,
    open_refs: &OpenRefs,
) -> Result<Store> {
    settle(&**inner, durable).await?;
    open_parts(inner, durable, open_refs, Expect::Refs).await
}

/// Refuses a store that lost its description: it looks like one that is not finished, and that one has
/// no paths.
pub(crate) async fn check_unfinished(inner: &Arc<dyn Backend>, open_refs: &OpenRefs) -> Result<()> {
    if inner.try_stat(&names::path(names::REFS)?).await?.is_none() {
        return Ok(());
    }
    let store = open_parts(inner, false, open_refs, Expect::Anything).await?;
    let paths = store.refs.page(&VfsPath::root(), true, None, 1).await;
    store.refs.close().await?;
    // Whoever was making it may have finished it.
    if paths?.is_empty() || is_there(&**inner).await? {
        return Ok(());
    }
    let text = serde_json::to_string(&StoreFile::of_new()).unwrap_or_default();
    Err(names::broken("the store's description is gone".to_owned())
        .with_hint(format!("write it again, it is a file with one line: {text}")))
}

/// Whoever made the store may have been killed before all of it was on the disk. What is written
/// below a description that a power cut takes away would be lost with it.
async fn settle(inner: &dyn Backend, durable: bool) -> Result<()> {
    if durable { inner.sync(&names::path(names::STORE_FILE)?).await } else { Ok(()) }
}

async fn open_parts(
    inner: &Arc<dyn Backend>,
    durable: bool,
    open_refs: &OpenRefs,
    expect: Expect,
) -> Result<Store> {
    let blobs = Blobs::new(Arc::clone(inner), durable);
    let refs = open_refs(Arc::new(blobs.clone()), expect).await?;
    Ok(Store { refs, blobs, traffic: Arc::default() })
}

/// Makes a store where none is, or finishes making one. The description is written last: without it
/// there is no store.
pub(crate) async fn make(
    inner: &Arc<dyn Backend>,
    durable: bool,
    open_refs: &OpenRefs,
) -> Result<Store> {
    for first in 0..=u8::MAX {
        inner.create_dir(&names::blob_dir(first)?).await?;
    }
    inner.create_dir(&names::path(names::QUARANTINE)?).await?;
    let store = open_parts(inner, durable, open_refs, Expect::Anything).await?;
    // Whatever its mounts promise: a description without refs would be damage.
    for dir in [names::BLOBS, names::STORE, "/"] {
        inner.sync(&names::path(dir)?).await?;
    }
    let content = serde_json::to_vec(&StoreFile::of_new()).map_err(|error| {
        Error::new(ErrorKind::Internal, "a description can not be written").with_source(error)
    })?;
    let options = WriteOptions { durable: true, ..WriteOptions::from(WriteMode::Create) };
    let path = names::path(names::STORE_FILE)?;
    match inner.write(&path, Bytes::from(content), &options).await {
        // Another process was as fast; what it wrote is what is read from now on.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => settle(&**inner, durable).await?,
        written => drop(written?),
    }
    if is_there(&**inner).await? {
        return Ok(store);
    }
    Err(names::broken("the store was removed while it was made".to_owned()))
}

/// Whether the root holds nothing, or nothing but a store that was not finished.
pub(crate) async fn is_vacant(inner: &dyn Backend) -> Result<bool> {
    use futures_util::StreamExt;
    if inner.try_stat(&VfsPath::root()).await?.is_none() {
        return Ok(true);
    }
    let options = nexus_core::ListOptions { names_only: true, ..Default::default() };
    let mut entries = inner.list(&VfsPath::root(), &options).await?;
    while let Some(entry) = entries.next().await {
        if entry?.path.as_str() != names::STORE {
            return Ok(false);
        }
    }
    Ok(true)
}
