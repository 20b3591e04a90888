//! The store under test, with the few phrases that every case is written in.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures_util::StreamExt;
use nexus_core::{
    Backend, BackendExt, Bytes, Capabilities, CopyMethod, Directories, Entry, Error, ErrorKind,
    ListOptions, Metadata, Operation, ReadOptions, Result, WriteMode, WriteOptions,
};

use tokio::task::JoinSet;

use crate::support::path;

/// More than any content of the suite.
const LIMIT: usize = 64 << 20;

/// What a snapshot of the whole store holds at one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A file: all that `stat` tells, and its bytes.
    File(Metadata, Bytes),
    /// A directory.
    Directory,
}

/// Every path of a store, and what is there.
pub(super) type Tree = BTreeMap<String, Found>;

/// A fresh store that one case may do what it likes with.
pub(super) struct Subject {
    backend: Arc<dyn Backend>,
}

impl Subject {
    pub(super) fn new(backend: Arc<dyn Backend>) -> Self {
        Self { backend }
    }

    pub(super) fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    /// The store, for a task.
    pub(super) fn shared(&self) -> Arc<dyn Backend> {
        Arc::clone(&self.backend)
    }

    pub(super) fn capabilities(&self) -> &Capabilities {
        &self.backend.info().capabilities
    }

    pub(super) fn has_real_directories(&self) -> bool {
        self.capabilities().directories == Directories::Real
    }

    /// Writes, which must succeed.
    pub(super) async fn put(&self, at: &str, content: impl Into<Bytes>) -> Metadata {
        put(&*self.backend, at, content).await
    }

    /// Reads all, which must succeed.
    pub(super) async fn get(&self, at: &str) -> Bytes {
        let read = self.read(at, &ReadOptions::default()).await;
        read.unwrap_or_else(|error| panic!("{error:?}")).1
    }

    /// Reads with options, to the end.
    pub(super) async fn read(&self, at: &str, options: &ReadOptions) -> Result<(Metadata, Bytes)> {
        read(&*self.backend, at, options).await
    }

    /// Uploads all of `pieces` and finishes.
    pub(super) async fn upload(
        &self,
        at: &str,
        pieces: &[Bytes],
        options: &WriteOptions,
    ) -> Result<Metadata> {
        let mut upload = self.backend.upload(&path(at), options).await?;
        for piece in pieces {
            upload.write(piece.clone()).await?;
        }
        upload.finish().await
    }

    pub(super) async fn stat(&self, at: &str) -> Result<Metadata> {
        self.backend.stat(&path(at)).await
    }

    pub(super) async fn delete(&self, at: &str) -> Result<nexus_core::Deleted> {
        self.backend.delete_one(path(at).into()).await
    }

    pub(super) async fn copy(&self, from: &str, to: &str, mode: &WriteMode) -> Result<CopyMethod> {
        self.backend.copy(&path(from), &path(to), mode).await
    }

    pub(super) async fn rename(&self, from: &str, to: &str, mode: &WriteMode) -> Result<()> {
        self.backend.rename(&path(from), &path(to), mode).await
    }

    /// Every entry, or the first error, whether it comes from the call or from the stream.
    pub(super) async fn list(&self, at: &str, options: &ListOptions) -> Result<Vec<Entry>> {
        let mut listing = self.backend.list(&path(at), options).await?;
        let mut entries = Vec::new();
        while let Some(entry) = listing.next().await {
            entries.push(entry?);
        }
        Ok(entries)
    }

    /// The paths of a listing in the order they came, directories with a `/` at the end.
    pub(super) async fn names(&self, at: &str, options: &ListOptions) -> Vec<String> {
        let entries = self.list(at, options).await.unwrap_or_else(|error| panic!("{error:?}"));
        entries.iter().map(name).collect()
    }

    /// The direct children of a directory, sorted.
    pub(super) async fn children(&self, at: &str) -> Vec<String> {
        let mut names = self.names(at, &ListOptions::default()).await;
        names.sort_unstable();
        names
    }

    /// All that the store holds, found without any optional capability.
    pub(super) async fn tree(&self) -> Tree {
        let mut tree = Tree::new();
        let mut directories = vec!["/".to_owned()];
        while let Some(directory) = directories.pop() {
            let entries = self.list(&directory, &ListOptions::default()).await;
            for entry in entries.unwrap_or_else(|error| panic!("{error:?}")) {
                let at = entry.path.as_str().to_owned();
                let found = if entry.metadata.is_dir() {
                    directories.push(at.clone());
                    Found::Directory
                } else {
                    let metadata = self.stat(&at).await.unwrap();
                    Found::File(metadata, self.get(&at).await)
                };
                assert!(tree.insert(at, found).is_none(), "listed twice: {}", entry.path);
            }
        }
        tree
    }

    /// Does something that must not change anything in the store.
    pub(super) async fn unchanged<T>(&self, doing: impl Future<Output = T>) -> T {
        let before = self.tree().await;
        let output = doing.await;
        assert_eq!(self.tree().await, before, "something has changed");
        output
    }
}

/// A path as listed, with a `/` at the end of a directory.
pub(super) fn name(entry: &Entry) -> String {
    format!("{}{}", entry.path, if entry.metadata.is_dir() { "/" } else { "" })
}

/// Reads `at` in three tasks while `change` happens again and again with the numbers from 0, until
/// enough was read; answers everything that was read.
pub(super) async fn watched<F>(
    store: &Subject,
    at: &str,
    change: impl Fn(u64) -> F + Send + Sync,
) -> Vec<(Metadata, Bytes)>
where
    F: Future<Output = ()> + Send,
{
    let (over, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    // Dropped with this future, it ends the readers.
    let mut readers = JoinSet::new();
    for _ in 0..3 {
        let (backend, at) = (store.shared(), at.to_owned());
        let (over, reads) = (Arc::clone(&over), Arc::clone(&reads));
        readers.spawn(async move {
            let mut seen = Vec::new();
            while !over.load(Ordering::Acquire) {
                match read(&*backend, &at, &ReadOptions::default()).await {
                    Ok(object) => seen.push(object),
                    // A store may notice that the object changed under a transfer.
                    Err(error) => assert_eq!(error.kind(), ErrorKind::PreconditionFailed),
                }
                reads.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
            seen
        });
    }
    for round in 0.. {
        change(round).await;
        tokio::task::yield_now().await;
        if round >= 60 && reads.load(Ordering::Relaxed) >= 500 {
            break;
        }
        // A reader that has ended already has failed.
        if let Some(failed) = readers.try_join_next() {
            failed.unwrap();
        }
    }
    over.store(true, Ordering::Release);
    readers.join_all().await.concat()
}

/// [`Subject::put`], for a task.
pub(super) async fn put(backend: &dyn Backend, at: &str, content: impl Into<Bytes>) -> Metadata {
    let written = backend.write(&path(at), content.into(), &WriteOptions::default()).await;
    written.unwrap_or_else(|error| panic!("{error:?}"))
}

/// [`Subject::read`], for a task.
pub(super) async fn read(
    backend: &dyn Backend,
    at: &str,
    options: &ReadOptions,
) -> Result<(Metadata, Bytes)> {
    let object = backend.read(&path(at), options).await?;
    Ok((object.metadata, object.body.bytes(LIMIT).await?))
}

/// The value of a result that must be one.
#[track_caller]
pub(super) fn done<T>(result: Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("failed with {error:?}"))
}

/// A refusal of this kind that names one of `paths`, in the mount's own words, and no other verb.
#[track_caller]
pub(super) fn refused<T>(
    result: Result<T>,
    kind: ErrorKind,
    operation: Operation,
    paths: &[&str],
) -> Error {
    let Err(error) = result else { panic!("succeeded, but {kind:?} was due") };
    assert_eq!(error.kind(), kind, "of {error:?}");
    assert!(error.path().is_some_and(|path| paths.contains(&path)), "{:?}", error.path());
    assert!(error.mount().is_none(), "a backend does not know where it is mounted");
    if let Some(named) = error.operation() {
        let upload = operation == Operation::Upload && named == Operation::Write;
        assert!(named == operation || upload, "{named:?} of a {operation:?}");
    }
    error
}

/// Two answers about one state: what both of them tell is the same.
#[track_caller]
pub(super) fn agree(one: &Metadata, other: &Metadata) {
    fn same<T: PartialEq + std::fmt::Debug>(what: &str, one: &Option<T>, other: &Option<T>) {
        if one.is_some() && other.is_some() {
            assert_eq!(one, other, "{what}");
        }
    }
    assert_eq!(one.kind, other.kind);
    same("size", &one.size, &other.size);
    same("modified", &one.modified, &other.modified);
    same("etag", &one.etag, &other.etag);
    same("version", &one.version, &other.version);
    same("digest", &one.digest, &other.digest);
    same("content type", &one.content_type, &other.content_type);
}
