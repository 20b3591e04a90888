//! Stores for tests: over memory and over a folder.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "not every test needs everything")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nexus_cas::refs::Refs;
use nexus_cas::refs::sqlite::{Durability, SqliteRefs};
use nexus_cas::{CasBackend, ChunkSizes, OpenRefs, Options};
use nexus_core::kernel::MountRequest;
use nexus_core::{Backend, Bytes, Capabilities, Digests, Directories, Layout, ListOrder, VfsPath};

/// Refs in an SQLite database in `dir`.
pub(crate) fn refs_in(dir: PathBuf, durability: Durability) -> OpenRefs {
    Arc::new(move |probe, expect| {
        let dir = dir.clone();
        Box::pin(async move {
            let refs = SqliteRefs::open(&dir, durability, expect, probe)?;
            Ok(Arc::new(refs) as Arc<dyn Refs>)
        })
    })
}

/// How a store with its refs in `dir` is mounted.
pub(crate) fn options(dir: PathBuf, durability: Durability) -> Options {
    Options {
        durable: durability == Durability::Full,
        refs: refs_in(dir, durability),
        store_id: None,
        chunking: None,
        reason: "for tests".to_owned(),
    }
}

/// A store over `inner`, with its refs in `dir`.
pub(crate) async fn over(
    inner: Arc<dyn Backend>,
    dir: PathBuf,
    durability: Durability,
) -> CasBackend {
    CasBackend::open(inner, options(dir, durability)).await.unwrap()
}

/// Sizes of chunks that cut files of tests.
pub(crate) const SMALL: ChunkSizes =
    ChunkSizes { least: 18 << 10, average: 32 << 10, most: 64 << 10 };

/// A store in the folder `root` that cuts content into small chunks.
pub(crate) async fn cutting(root: &Path) -> CasBackend {
    let chunking = Some(SMALL);
    let options = Options { chunking, ..options(root.join(".nexus"), Durability::Process) };
    CasBackend::open(plain(root).await, options).await.unwrap()
}

/// A plain local store at `root`.
pub(crate) async fn plain(root: &Path) -> Arc<dyn Backend> {
    let uri = format!("local://{}", root.display());
    let request = MountRequest::parse(&uri).unwrap();
    let candidate =
        (nexus_backend_local::DESCRIPTOR.build)(&request.uri, &Default::default()).unwrap();
    candidate.open().await.unwrap()
}

/// A store in the folder `root`.
pub(crate) async fn in_folder(root: &Path, durability: Durability) -> CasBackend {
    over(plain(root).await, root.join(".nexus"), durability).await
}

pub(crate) fn expected() -> Capabilities {
    let mut capabilities = Capabilities::default();
    capabilities.write = true;
    capabilities.create = true;
    capabilities.replace = true;
    capabilities.delete_if_version = true;
    capabilities.versions = true;
    capabilities.copy = true;
    capabilities.rename = true;
    capabilities.rename_dir = true;
    capabilities.directories = Directories::Real;
    capabilities.list_recursive = true;
    capabilities.list_start_after = true;
    capabilities.list_order = ListOrder::Bytewise;
    capabilities.content_type = true;
    capabilities.user_metadata = true;
    capabilities.upload_named_last = true;
    capabilities.digests = Digests::Verified;
    capabilities.layout = Layout::Cas;
    capabilities
}

/// Changes what is recorded, past the store.
pub(crate) fn sql(root: &Path, text: &str) {
    let refs = rusqlite::Connection::open(root.join(".nexus/refs.db")).unwrap();
    assert!(refs.execute(text, []).unwrap() > 0, "{text}");
}

/// Content that its size says.
pub(crate) fn sized(size: usize) -> Bytes {
    content(size as u64, size)
}

pub(crate) fn path(text: &str) -> VfsPath {
    text.parse().unwrap()
}

/// Content that is like no other's.
pub(crate) fn content(seed: u64, size: usize) -> Bytes {
    let mut bytes = vec![0; size];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes.into()
}
