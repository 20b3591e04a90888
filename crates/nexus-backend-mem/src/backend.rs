//! The store as a [`Backend`]: one lock around the tree, never held across an `await`, and streams
//! that take it a page at a time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::stream::{self, StreamExt};
use nexus_core::{
    Backend, Body, Bytes, Capabilities, CopyMethod, DeleteTarget, Deleted, Digest, Digests,
    Directories, Error, ErrorKind, Info, ListOptions, ListOrder, Listing, Metadata, Object,
    ReadOptions, Result, Upload, VfsPath, WriteMode, WriteOptions, async_trait,
};

use crate::store::{Incoming, Store};
use crate::upload::MemUpload;

/// How many entries a listing takes from the store at a time.
const PAGE: usize = 256;

/// A store in memory. Dropping it drops the content.
pub struct MemBackend {
    info: Info,
    shared: Arc<Shared>,
}

/// The store, shared with the streams and uploads that came from it.
pub(crate) struct Shared(Mutex<Store>);

impl Shared {
    /// The store, locked.
    pub(crate) fn store(&self) -> Result<MutexGuard<'_, Store>> {
        let store = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if store.is_closed() {
            return Err(Error::new(ErrorKind::Closed, "the store was closed"));
        }
        Ok(store)
    }
}

impl MemBackend {
    /// An empty store without a limit.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self::build(format!("mem://{name}"), None)
    }

    pub(crate) fn build(uri: String, limit: Option<u64>) -> Self {
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
        capabilities.digests = Digests::Recorded;
        let info = Info {
            scheme: "mem",
            uri,
            layout_reason: String::new(),
            credentials: None,
            capabilities,
        };
        Self { info, shared: Arc::new(Shared(Mutex::new(Store::new(limit)))) }
    }
}

#[async_trait]
impl Backend for MemBackend {
    fn info(&self) -> &Info {
        &self.info
    }

    async fn stat(&self, path: &VfsPath) -> Result<Metadata> {
        self.shared.store()?.stat(path)
    }

    async fn read(&self, path: &VfsPath, options: &ReadOptions) -> Result<Object> {
        let about = |error: Error| error.with_path(path.as_str());
        let file = self.shared.store()?.file(path)?.clone();
        options.check(file.metadata.version.as_ref()).map_err(about)?;
        let size = file.metadata.size.unwrap_or_default();
        let pieces = match options.range {
            None => file.pieces,
            Some(range) => {
                let range = range.resolve(size).map_err(about)?;
                slice(file.pieces, range.start, range.end)
            }
        };
        let body = match <[Bytes; 1]>::try_from(pieces) {
            Ok([whole]) => Body::whole(whole),
            Err(pieces) if pieces.is_empty() => Body::whole(Bytes::new()),
            Err(pieces) => Body::stream(stream::iter(pieces.into_iter().map(Ok))),
        };
        Ok(Object { metadata: file.metadata, body })
    }

    async fn write(
        &self,
        path: &VfsPath,
        content: Bytes,
        options: &WriteOptions,
    ) -> Result<Metadata> {
        // Hashed before the lock is taken; a refusal then costs a hash, not other callers' time.
        let digest = Digest::of(&content);
        let size = content.len() as u64;
        let pieces = if content.is_empty() { Vec::new() } else { vec![content] };
        self.shared.store()?.put(path, Incoming { pieces, size, digest }, options)
    }

    async fn upload(&self, path: &VfsPath, options: &WriteOptions) -> Result<Box<dyn Upload>> {
        self.shared.store()?.check_target(path, &options.mode)?;
        Ok(Box::new(MemUpload::new(Arc::clone(&self.shared), path.clone(), options.clone())))
    }

    async fn list(&self, path: &VfsPath, options: &ListOptions) -> Result<Listing> {
        self.shared.store()?.check_directory(path)?;
        let (shared, dir, options) = (Arc::clone(&self.shared), path.clone(), options.clone());
        let after = options.start_after.as_ref().map(|after| after.as_str().to_owned());
        let pages = stream::unfold(Some(after), move |after| {
            let page = after.map(|after| {
                let store = shared.store()?;
                let page = store.page(&dir, options.recursive, after.as_deref(), PAGE);
                Ok::<_, Error>(page)
            });
            std::future::ready(page.map(|page| match page {
                Err(error) => (vec![Err(error)], None),
                Ok(page) => {
                    let last = page.last().filter(|_| page.len() == PAGE);
                    let after = last.map(|entry| Some(entry.path.as_str().to_owned()));
                    (page.into_iter().map(Ok).collect(), after)
                }
            }))
        });
        let entries = pages.flat_map(stream::iter);
        Ok(entries.take(options.limit.unwrap_or(usize::MAX)).boxed())
    }

    async fn delete(&self, targets: &[DeleteTarget]) -> Vec<Result<Deleted>> {
        targets.iter().map(|target| self.shared.store()?.delete(target)).collect()
    }

    async fn copy(&self, from: &VfsPath, to: &VfsPath, mode: &WriteMode) -> Result<CopyMethod> {
        self.shared.store()?.copy(from, to, mode)?;
        Ok(CopyMethod::Metadata)
    }

    async fn rename(&self, from: &VfsPath, to: &VfsPath, mode: &WriteMode) -> Result<()> {
        self.shared.store()?.rename(from, to, mode)
    }

    async fn create_dir(&self, path: &VfsPath) -> Result<()> {
        self.shared.store()?.create_dir(path)
    }

    async fn remove_dir(&self, path: &VfsPath) -> Result<()> {
        self.shared.store()?.remove_dir(path)
    }

    async fn sync(&self, path: &VfsPath) -> Result<()> {
        self.shared.store()?.check_directory(path)
    }

    async fn close(&self) -> Result<()> {
        let mut store = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        store.close();
        Ok(())
    }
}

/// The part of `pieces` between two offsets, sharing their memory.
fn slice(pieces: Vec<Bytes>, start: u64, end: u64) -> Vec<Bytes> {
    let mut at = 0;
    let parts = pieces.into_iter().filter_map(|piece| {
        let begin = at;
        at += piece.len() as u64;
        let from = start.clamp(begin, at) - begin;
        let to = end.clamp(begin, at) - begin;
        (from < to).then(|| piece.slice(from as usize..to as usize))
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_cross_pieces() {
        let pieces = || ["abc", "", "de", "f"].map(Bytes::from).to_vec();
        let text = |start, end| slice(pieces(), start, end).concat();
        assert_eq!(text(0, 6), b"abcdef");
        assert_eq!(text(2, 4), b"cd");
        assert_eq!(text(3, 3), b"");
        assert_eq!(text(5, 6), b"f");
    }
}
