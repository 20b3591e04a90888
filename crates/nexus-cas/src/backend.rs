//! The verbs: what each asks of refs and blobs, and nothing more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{StreamExt, stream};
use nexus_core::{
    Backend, Body, Bytes, Capabilities, Care, CopyMethod, DeleteTarget, Deleted, Digest, Digests,
    Directories, Entry, Error, ErrorKind, Info, Layout, ListOptions, ListOrder, Listing, Metadata,
    Object, ReadOptions, Result, Upload, VfsPath, WriteMode, WriteOptions, async_trait,
};
use tokio::sync::OnceCell;

use crate::blobs::hashed;
use crate::chunker::ChunkSizes;
use crate::names;
use crate::record::Record;
use crate::refs::{Change, NewContent, NewFile, Outcome};
use crate::store::{self, OpenRefs, Store};
use crate::upload::CasUpload;

/// Content up to this size is kept beside the refs, in bytes.
pub(crate) const INLINE: usize = 16 << 10;

/// How many entries of a listing are fetched at once.
const PAGE: usize = 512;

/// How often content that a collector takes between two steps is put again.
const PUTS: usize = 16;

/// How a store is mounted.
pub struct Options {
    /// Whether acknowledged writes survive a power cut.
    pub durable: bool,
    /// Opens the refs.
    pub refs: OpenRefs,
    /// What the store calls itself; the same for every mount of it.
    pub store_id: Option<Box<str>>,
    /// Cuts content above [`ChunkSizes::most`] into chunks; without it every content is kept whole.
    pub chunking: Option<ChunkSizes>,
    /// Why this layout was chosen, in one sentence.
    pub reason: String,
}

/// A content-addressed store in another store.
pub struct CasBackend {
    shared: Arc<Shared>,
}

/// What the verbs, uploads and listings of one mount share.
pub(crate) struct Shared {
    info: Info,
    inner: Arc<dyn Backend>,
    durable: bool,
    pub(crate) chunking: Option<ChunkSizes>,
    open_refs: OpenRefs,
    store: OnceCell<Store>,
    closed: AtomicBool,
}

impl CasBackend {
    /// Over `inner`, whose root holds a store, or nothing yet: the store is made by the first write.
    /// Must be called inside a runtime, which has to outlive the backend.
    ///
    /// # Errors
    /// `Unsupported` for a store of a newer format or an `inner` that can not hold one,
    /// `IntegrityMismatch` for a damaged one, and those of `inner`.
    pub async fn open(inner: Arc<dyn Backend>, options: Options) -> Result<Self> {
        let below = &inner.info().capabilities;
        if !below.write || !below.create || !below.upload_named_last {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "this store can not hold content by digest: it has no exact create",
            )
            .with_hint("mount it with `layout=plain`"));
        }
        let mut capabilities = capabilities(options.store_id);
        capabilities.own_files =
            below.local_root.as_ref().map(|root| root.join(&names::STORE[1..]));
        let info = Info {
            scheme: inner.info().scheme,
            uri: inner.info().uri.clone(),
            layout_reason: options.reason,
            credentials: inner.info().credentials.clone(),
            capabilities,
        };
        let shared = Shared {
            info,
            inner,
            durable: options.durable,
            chunking: options.chunking,
            open_refs: options.refs,
            store: OnceCell::new(),
            closed: AtomicBool::new(false),
        };
        shared.existing().await?;
        Ok(Self { shared: Arc::new(shared) })
    }
}

fn capabilities(store_id: Option<Box<str>>) -> Capabilities {
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
    capabilities.store_id = store_id;
    capabilities
}

impl Shared {
    fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::new(ErrorKind::Closed, "the mount was closed"));
        }
        Ok(())
    }

    /// The store, if this mount has opened it.
    pub(crate) fn opened(&self) -> Option<&Store> {
        self.store.get()
    }

    /// The store, if one was made.
    pub(crate) async fn existing(&self) -> Result<Option<&Store>> {
        self.check_open()?;
        if let Some(store) = self.store.get() {
            return Ok(Some(store));
        }
        if !store::is_there(&*self.inner).await? {
            store::check_unfinished(&self.inner, &self.open_refs).await?;
            return Ok(None);
        }
        let open = || store::open(&self.inner, self.durable, &self.open_refs);
        self.store.get_or_try_init(open).await.map(Some)
    }

    /// The store, made now if need be.
    pub(crate) async fn made(&self) -> Result<&Store> {
        if let Some(store) = self.existing().await? {
            return Ok(store);
        }
        if !store::is_vacant(&*self.inner).await? {
            return Err(Error::new(
                ErrorKind::MountConflict,
                "the directory was empty when it was mounted, and other files are in it now",
            )
            .with_hint("mount it again: it is plain then; or move the files away"));
        }
        let make = || store::make(&self.inner, self.durable, &self.open_refs);
        self.store.get_or_try_init(make).await
    }

    async fn get(&self, path: &VfsPath) -> Result<Option<Record>> {
        match self.existing().await? {
            Some(_) if path.is_root() => Ok(Some(Record::Directory)),
            Some(store) => store.refs.get(path).await,
            None if path.is_root() => Ok(Some(Record::Directory)),
            None => Ok(None),
        }
    }

    /// Refuses early what the refs will refuse in the end.
    pub(crate) async fn check_target(&self, path: &VfsPath, mode: &WriteMode) -> Result<()> {
        let version = match self.get(path).await? {
            Some(Record::Directory) => return Err(is_a_directory(path)),
            Some(Record::File(file)) => Some(file.neutral_version()),
            None => {
                self.check_parents(path).await?;
                None
            }
        };
        mode.check(version.as_ref()).map_err(|error| error.with_path(path.as_str()))
    }

    /// Whether everything above `path` is a directory, or nothing.
    async fn check_parents(&self, path: &VfsPath) -> Result<()> {
        for parent in std::iter::successors(path.parent(), VfsPath::parent) {
            match self.get(&parent).await? {
                Some(Record::Directory) => return Ok(()),
                Some(Record::File(_)) => {
                    let message = format!("{parent} is a file, not a directory");
                    let error = Error::new(ErrorKind::NotADirectory, message);
                    return Err(error.with_path(path.as_str()));
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Gives a path content that is here whole.
    pub(crate) async fn put(
        &self,
        path: &VfsPath,
        content: Bytes,
        options: &WriteOptions,
    ) -> Result<Metadata> {
        let small = content.len() <= INLINE;
        // Small content costs no more than a look, and the refs look anyway.
        if !small || self.opened().is_none() {
            self.check_target(path, &options.mode).await?;
        }
        let store = self.made().await?;
        let hashed = hashed(&content).await?;
        let size = content.len() as u64;
        let place = match small {
            true => NewContent::Inline(content.clone()),
            false if store.is_chunked(&hashed.digest, size).await? => NewContent::Known,
            false => NewContent::Blob,
        };
        let mut file = new_file(hashed.digest, size, place, options);
        let mut new = false;
        for _ in 0..PUTS {
            if matches!(file.content, NewContent::Blob) {
                new = store.blobs.put(&hashed, content.clone(), &*store.refs).await?;
            }
            let change = Change::Put {
                path: path.clone(),
                file: Box::new(file.clone()),
                mode: options.mode.clone(),
            };
            match store.refs.apply(change).await? {
                Outcome::Put { record, known } => {
                    store.traffic.add(if small { !known } else { new }, size);
                    return Ok(record.metadata());
                }
                _ => file.content = NewContent::Blob,
            }
        }
        Err(Error::new(ErrorKind::Unavailable, "the content was removed each time it was put")
            .with_path(path.as_str())
            .with_hint("something else deletes files below `.nexus/blobs`"))
    }
}

pub(crate) fn new_file(
    digest: Digest,
    size: u64,
    content: NewContent,
    options: &WriteOptions,
) -> NewFile {
    NewFile {
        digest,
        size,
        content,
        content_type: options.content_type.as_deref().map(Into::into),
        user: options.user.clone(),
        pins: Vec::new(),
    }
}

#[async_trait]
impl Backend for CasBackend {
    fn info(&self) -> &Info {
        &self.shared.info
    }

    async fn stat(&self, path: &VfsPath) -> Result<Metadata> {
        match self.shared.get(path).await? {
            Some(record) => Ok(record.metadata()),
            None => Err(Error::not_found(path)),
        }
    }

    async fn read(&self, path: &VfsPath, options: &ReadOptions) -> Result<Object> {
        let about = |error: Error| error.with_path(path.as_str());
        if path.is_root() {
            self.shared.check_open()?;
            return Err(is_a_directory(path));
        }
        let Some(store) = self.shared.existing().await? else {
            return Err(Error::not_found(path));
        };
        let (file, kept) = match store.refs.open(path).await.map_err(about)? {
            Some((Record::File(file), kept)) => (file, kept),
            Some((Record::Directory, _)) => return Err(is_a_directory(path)),
            None => return Err(Error::not_found(path)),
        };
        let metadata = file.metadata();
        options.check(metadata.version.as_ref()).map_err(about)?;
        let range = match options.range {
            None => 0..file.size,
            Some(range) => range.resolve(file.size).map_err(about)?,
        };
        let body = store.read(&file.digest, file.size, kept, (range.start, range.end)).await;
        let body = body.map_err(about)?;
        Ok(Object { metadata, body: named(body, path) })
    }

    async fn write(
        &self,
        path: &VfsPath,
        content: Bytes,
        options: &WriteOptions,
    ) -> Result<Metadata> {
        if self.shared.chunking.is_some_and(|sizes| content.len() > sizes.most) {
            let mut upload = self.upload(path, options).await?;
            upload.write(content).await?;
            return upload.finish().await;
        }
        self.shared.put(path, content, options).await
    }

    async fn upload(&self, path: &VfsPath, options: &WriteOptions) -> Result<Box<dyn Upload>> {
        self.shared.check_target(path, &options.mode).await?;
        let upload = CasUpload::new(Arc::clone(&self.shared), path.clone(), options.clone());
        Ok(Box::new(upload))
    }

    async fn list(&self, path: &VfsPath, options: &ListOptions) -> Result<Listing> {
        match self.shared.get(path).await? {
            Some(Record::Directory) => {}
            Some(Record::File(_)) => {
                let error = Error::new(ErrorKind::NotADirectory, "is not a directory");
                return Err(error.with_path(path.as_str()));
            }
            None => {
                self.shared.check_parents(path).await?;
                return Err(Error::not_found(path));
            }
        }
        let (shared, dir, recursive) = (Arc::clone(&self.shared), path.clone(), options.recursive);
        let after = options.start_after.as_ref().map(|after| after.as_str().to_owned());
        let pages = stream::unfold(Some(after), move |after| {
            let (shared, dir) = (Arc::clone(&shared), dir.clone());
            async move {
                let after = after?;
                let page = match shared.existing().await {
                    Ok(Some(store)) => store.refs.page(&dir, recursive, after, PAGE).await,
                    Ok(None) => Ok(Vec::new()),
                    Err(error) => Err(error),
                };
                let page = match page {
                    Ok(page) => page,
                    Err(error) => return Some((vec![Err(error)], None)),
                };
                let last = page.last().filter(|_| page.len() == PAGE);
                let after = last.map(|(path, _)| Some(path.as_str().to_owned()));
                let entry =
                    |(path, record): (VfsPath, Record)| Ok(Entry::new(path, record.metadata()));
                Some((page.into_iter().map(entry).collect(), after))
            }
        });
        let entries = pages.flat_map(stream::iter);
        Ok(entries.take(options.limit.unwrap_or(usize::MAX)).boxed())
    }

    async fn delete(&self, targets: &[DeleteTarget]) -> Vec<Result<Deleted>> {
        let deletes: Vec<_> =
            targets.iter().map(|target| delete(Arc::clone(&self.shared), target.clone())).collect();
        stream::iter(deletes).buffered(PAGE).collect().await
    }

    async fn copy(&self, from: &VfsPath, to: &VfsPath, mode: &WriteMode) -> Result<CopyMethod> {
        let Some(store) = self.existing_for(from).await? else {
            return Err(Error::not_found(from));
        };
        let (from, to, mode) = (from.clone(), to.clone(), mode.clone());
        store.refs.apply(Change::Copy { from, to, mode }).await?;
        Ok(CopyMethod::Metadata)
    }

    async fn rename(&self, from: &VfsPath, to: &VfsPath, mode: &WriteMode) -> Result<()> {
        let Some(store) = self.existing_for(from).await? else {
            return Err(Error::not_found(from));
        };
        let (from, to, mode) = (from.clone(), to.clone(), mode.clone());
        store.refs.apply(Change::Rename { from, to, mode }).await.map(drop)
    }

    async fn create_dir(&self, path: &VfsPath) -> Result<()> {
        if path.is_root() {
            return self.shared.check_open();
        }
        let store = self.shared.made().await?;
        store.refs.apply(Change::CreateDir(path.clone())).await.map(drop)
    }

    async fn remove_dir(&self, path: &VfsPath) -> Result<()> {
        let Some(store) = self.existing_for(path).await? else {
            return Err(Error::not_found(path));
        };
        store.refs.apply(Change::RemoveDir(path.clone())).await.map(drop)
    }

    async fn sync(&self, path: &VfsPath) -> Result<()> {
        // What was acknowledged is as durable as it will ever be.
        self.shared.get(path).await.map(drop)
    }

    fn care(&self) -> Option<&dyn Care> {
        Some(&*self.shared)
    }

    async fn close(&self) -> Result<()> {
        self.shared.closed.store(true, Ordering::Release);
        if let Some(store) = self.shared.store.get() {
            store.refs.close().await?;
        }
        self.shared.inner.close().await
    }
}

impl CasBackend {
    /// The store; without one the root alone can be meant, and stays.
    async fn existing_for(&self, path: &VfsPath) -> Result<Option<&Store>> {
        let store = self.shared.existing().await?;
        if store.is_none() && path.is_root() {
            return Err(Error::new(ErrorKind::Unsupported, "the root of a store stays")
                .with_path(path.as_str()));
        }
        Ok(store)
    }
}

async fn delete(shared: Arc<Shared>, target: DeleteTarget) -> Result<Deleted> {
    if target.path.is_root() {
        shared.check_open()?;
        return Err(is_a_directory(&target.path));
    }
    let Some(store) = shared.existing().await? else { return Ok(Deleted::Absent) };
    match store.refs.apply(Change::Delete(target)).await? {
        Outcome::Deleted(deleted) => Ok(deleted),
        other => Err(unexpected(&other)),
    }
}

/// A body whose errors name the path that was read.
fn named(body: Body, path: &VfsPath) -> Body {
    if body.as_whole().is_some() {
        return body;
    }
    let path = path.clone();
    let pieces = body.into_stream();
    Body::stream(pieces.map(move |piece| piece.map_err(|error| error.with_path(path.as_str()))))
}

pub(crate) fn unexpected(outcome: &Outcome) -> Error {
    Error::new(ErrorKind::Internal, format!("the refs answered {outcome:?}"))
}

fn is_a_directory(path: &VfsPath) -> Error {
    Error::new(ErrorKind::IsADirectory, "is a directory").with_path(path.as_str())
}
