//! Blobs: immutable content under the name of its digest, in the store below. What is read of one
//! was checked against the digest before anybody sees it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use nexus_core::{
    Backend, BackendExt, Body, ByteRange, Bytes, Digest, Error, ErrorKind, Metadata, ReadOptions,
    Result, Upload, Version, WriteMode, WriteOptions,
};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::names;
use crate::pieces::Pieces;
use crate::record::{nanos, now};
use crate::refs::{Probe, Refs};
use crate::tree::{self, Builder, Remembered, Verifier};

/// Content above this size has an outboard tree, so that a part can be verified without the rest.
pub(crate) const TREE_ABOVE: u64 = 64 << 10;

/// Of how many contents the trees are remembered, at most.
const TREES: usize = 8;

/// How many nodes they have together, as long as there are several.
const NODES: usize = 2 * tree::REMEMBERED;

/// How often content is put when something comes in between.
const PUTS: usize = 16;

/// Content above this size is hashed off the caller's thread, in bytes.
const HASH_AT_ONCE: usize = 256 << 10;

/// What is to know of a content before it is put.
pub(crate) struct Hashed {
    pub(crate) digest: Digest,
    /// Its tree, if it has one.
    nodes: Option<Bytes>,
}

impl Hashed {
    fn of(content: &[u8]) -> Self {
        if content.len() as u64 <= TREE_ABOVE {
            return Self { digest: Digest::of(content), nodes: None };
        }
        let mut builder = Builder::new();
        builder.update(content);
        let mut nodes = builder.take_nodes();
        let (digest, _, rest) = builder.finish();
        nodes.extend(rest);
        Self { digest, nodes: Some(nodes.into()) }
    }
}

/// Hashes content that is here whole.
pub(crate) async fn hashed(content: &Bytes) -> Result<Hashed> {
    if content.len() <= HASH_AT_ONCE {
        return Ok(Hashed::of(content));
    }
    let content = content.clone();
    let hashing = tokio::task::spawn_blocking(move || Hashed::of(&content));
    hashing.await.map_err(|error| {
        Error::new(ErrorKind::Closed, "the runtime is shutting down").with_source(error)
    })
}

/// The blobs of one store.
#[derive(Clone)]
pub(crate) struct Blobs {
    pub(crate) inner: Arc<dyn Backend>,
    durable: bool,
    pub(crate) runtime: Handle,
    relied_on: Arc<ReliedOn>,
    /// What is known of the trees of the contents that were read last, the latest at the end.
    trees: Arc<Mutex<Vec<(Digest, Remembered)>>>,
}

/// Which blobs are known to be whole and as durable as is promised, and in which version: one that was
/// collected and put again by somebody else is another.
#[derive(Default)]
struct ReliedOn(Mutex<HashMap<Digest, Version>>);

/// How many blobs are remembered; then all are forgotten, which costs a look and a sync each.
const RELIED_ON: usize = 16 << 10;

impl ReliedOn {
    fn knows(&self, digest: &Digest, version: Option<&Version>) -> bool {
        let relied_on = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        version.is_some() && relied_on.get(digest) == version
    }

    fn remember(&self, digest: &Digest, version: Option<Version>) {
        let Some(version) = version else { return };
        let mut relied_on = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if relied_on.len() >= RELIED_ON {
            relied_on.clear();
        }
        relied_on.insert(*digest, version);
    }
}

impl Blobs {
    /// Must be called inside a runtime, which has to outlive the blobs.
    pub(crate) fn new(inner: Arc<dyn Backend>, durable: bool) -> Self {
        Self {
            inner,
            durable,
            runtime: Handle::current(),
            relied_on: Arc::default(),
            trees: Arc::default(),
        }
    }

    /// What is known of a tree, shared by all readers of that content. `made` is what whoever made the
    /// tree knows of it.
    fn remembered(&self, digest: &Digest, made: Remembered) -> Remembered {
        let mut trees = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = match trees.iter().position(|(known, _)| known == digest) {
            Some(at) => trees.remove(at),
            None => (*digest, made),
        };
        let remembered = entry.1.clone();
        trees.push(entry);
        let mut nodes: usize = trees.iter().map(|(_, tree)| tree.nodes()).sum();
        while trees.len() > TREES || (trees.len() > 1 && nodes > NODES) {
            nodes -= trees.remove(0).1.nodes().min(nodes);
        }
        remembered
    }

    fn options(&self, mode: WriteMode) -> WriteOptions {
        WriteOptions { mode, durable: self.durable, skip_digest: true, ..WriteOptions::default() }
    }

    /// The bytes that content of this size takes, with its tree.
    pub(crate) fn stored_size(size: u64) -> u64 {
        size + if size > TREE_ABOVE { tree::outboard_size(size) } else { 0 }
    }

    /// Puts content that is here whole; answers whether it was new.
    pub(crate) async fn put(
        &self,
        hashed: &Hashed,
        content: Bytes,
        refs: &dyn Refs,
    ) -> Result<bool> {
        let digest = &hashed.digest;
        let size = content.len() as u64;
        let path = names::blob(digest)?;
        // More than once where another writer or a collector comes in between.
        for _ in 0..PUTS {
            if self.found(digest, size, refs).await? {
                return Ok(false);
            }
            if let Some(nodes) = &hashed.nodes {
                self.put_tree(digest, nodes.clone()).await?;
            }
            match self.inner.write(&path, content.clone(), &self.options(WriteMode::Create)).await {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                written => return written.map(|_| true),
            }
        }
        Err(in_the_way(digest))
    }

    async fn put_tree(&self, digest: &Digest, nodes: Bytes) -> Result<()> {
        there(self.inner.write(&names::tree(digest)?, nodes, &tree_options()).await)
    }

    /// Whether a blob of this size is there.
    pub(crate) async fn holds(&self, digest: &Digest, size: u64) -> Result<bool> {
        let found = self.inner.try_stat(&names::blob(digest)?).await?;
        Ok(found.is_some_and(|metadata| metadata.size == Some(size)))
    }

    /// Whether the content is there, whole, and as durable as what this mount writes. Whoever put it may
    /// have been killed before it was, or may not promise as much, and a power cut may have taken what
    /// it put. What is damaged goes out of the way.
    pub(crate) async fn found(&self, digest: &Digest, size: u64, refs: &dyn Refs) -> Result<bool> {
        let path = names::blob(digest)?;
        let Some(metadata) = self.inner.try_stat(&path).await? else { return Ok(false) };
        if self.relied_on.knows(digest, metadata.version.as_ref()) {
            return Ok(true);
        }
        if metadata.size != Some(size) || !self.is_whole(digest, size, &metadata, refs).await? {
            tracing::warn!(%digest, "stored content was damaged, and is stored again");
            refs.set_aside(digest, metadata.version).await?;
            return Ok(false);
        }
        if self.durable {
            match self.inner.sync(&path).await {
                // A collector came in between.
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
                synced => synced?,
            }
        }
        self.relied_on.remember(digest, metadata.version);
        Ok(true)
    }

    /// Whether the content was written or read back since the system started, or is whole now.
    async fn is_whole(
        &self,
        digest: &Digest,
        size: u64,
        metadata: &Metadata,
        refs: &dyn Refs,
    ) -> Result<bool> {
        let since = refs.trusted_since();
        if metadata.modified.is_some_and(|modified| nanos(modified) >= since) {
            return Ok(true);
        }
        // What is damaged says nothing.
        let known = refs.content(digest).await.unwrap_or_default();
        if known.is_some_and(|(content, _)| content.checked >= since) {
            return Ok(true);
        }
        match self.check(digest, size).await {
            Err(error) if error.kind() == ErrorKind::IntegrityMismatch => Ok(false),
            checked => {
                checked?;
                refs.checked(digest, now()).await?;
                Ok(true)
            }
        }
    }

    /// Begins content whose name follows from bytes that are still to come.
    pub(crate) async fn upload(&self) -> Result<BlobUpload> {
        // Only the directory matters until it has its name.
        let path = names::blob(&Digest::from_bytes([0; 32]))?;
        let content = self.inner.upload(&path, &self.options(WriteMode::Create)).await?;
        let hashing = Some(Hashing::Idle(Builder::new()));
        Ok(BlobUpload { blobs: self.clone(), content, nodes: None, hashing })
    }

    /// Reads `start..end` of a blob of `size` bytes.
    pub(crate) async fn read(
        &self,
        digest: &Digest,
        size: u64,
        (start, end): (u64, u64),
    ) -> Result<Body> {
        if size <= TREE_ABOVE {
            let content = self.whole(digest, size).await?;
            return Ok(Body::whole(content.slice(start as usize..end as usize)));
        }
        if start == end {
            return Ok(Body::whole(Bytes::new()));
        }
        let verifier = Verifier::new(*digest, size, self.remembered(digest, Remembered::default()));
        Pieces::new(self, verifier, (start, end)).await?.read().await
    }

    async fn whole(&self, digest: &Digest, size: u64) -> Result<Bytes> {
        let read = self.inner.read(&names::blob(digest)?, &ReadOptions::default()).await;
        let content = match read {
            Ok(object) => object.body.bytes(TREE_ABOVE as usize).await,
            Err(error) => Err(error),
        };
        let content = content.map_err(|error| unreadable(error, digest))?;
        if content.len() as u64 != size || Digest::of(&content) != *digest {
            return Err(mismatch(digest));
        }
        Ok(content)
    }

    pub(crate) async fn piece(&self, digest: &Digest, start: u64, end: u64) -> Result<Body> {
        let options = ReadOptions::range(ByteRange::new(start, Some(end))?);
        let read = self.inner.read(&names::blob(digest)?, &options).await;
        read.map(|object| object.body).map_err(|error| unreadable(error, digest))
    }

    /// Reads everything back; on success a new tree is in the place of one that was lost.
    pub(crate) async fn check(&self, digest: &Digest, size: u64) -> Result<()> {
        if size <= TREE_ABOVE {
            return self.whole(digest, size).await.map(drop);
        }
        let mut body = self.read(digest, size, (0, size)).await?;
        while body.next().await.transpose()?.is_some() {}
        Ok(())
    }

    /// Makes the tree again from the content.
    pub(crate) async fn rebuild_tree(&self, digest: &Digest, size: u64) -> Result<()> {
        let mut body = self.piece(digest, 0, size).await?;
        let mut builder = Builder::new();
        let options = WriteOptions { skip_digest: true, ..WriteOptions::default() };
        let mut upload = self.inner.upload(&names::tree(digest)?, &options).await?;
        while let Some(piece) = body.next().await.transpose()? {
            builder.update(&piece);
            upload.write(builder.take_nodes().into()).await?;
        }
        let (found, length, rest) = builder.finish();
        if found != *digest || length != size {
            upload.abort().await?;
            return Err(mismatch(digest));
        }
        upload.write(rest.into()).await?;
        upload.finish().await.map(drop)
    }

    /// The size of the blob that is there, whatever it should be.
    pub(crate) async fn size(&self, digest: &Digest) -> Result<Option<u64>> {
        let found = self.inner.try_stat(&names::blob(digest)?).await?;
        Ok(found.and_then(|metadata| metadata.size))
    }

    /// Which version of a blob is there.
    pub(crate) async fn version(&self, digest: &Digest) -> Result<Option<Version>> {
        let found = self.inner.try_stat(&names::blob(digest)?).await?;
        Ok(found.and_then(|metadata| metadata.version))
    }

    async fn quarantine(&self, digest: &Digest) -> Result<()> {
        let (blob, aside) = (names::blob(digest)?, names::quarantined(digest)?);
        match self.inner.rename(&blob, &aside, &WriteMode::Overwrite).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            moved => moved?,
        }
        self.inner.delete_one(names::tree(digest)?.into()).await.map(drop)
    }

    /// Every file among the blobs that has the name of one.
    pub(crate) async fn list(&self, first: u8) -> Result<nexus_core::Listing> {
        self.inner.list(&names::blob_dir(first)?, &nexus_core::ListOptions::default()).await
    }
}

impl Probe for Blobs {
    fn is_there(&self, digest: &Digest, size: u64) -> Result<bool> {
        self.runtime.block_on(self.holds(digest, size))
    }

    fn set_aside(&self, digest: &Digest, version: Option<&Version>) -> Result<bool> {
        self.runtime.block_on(async {
            let same = self.version(digest).await?.as_ref() == version;
            if same {
                self.quarantine(digest).await?;
            }
            Ok(same)
        })
    }

    fn remove(&self, digests: &[Digest]) -> Result<()> {
        let mut targets = Vec::with_capacity(digests.len() * 2);
        for digest in digests {
            targets.push(names::blob(digest)?.into());
            targets.push(names::tree(digest)?.into());
        }
        let results = self.runtime.block_on(self.inner.delete(&targets));
        results.into_iter().try_for_each(|result| match result {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            result => result.map(drop),
        })
    }
}

/// Content on its way, hashed beside being written.
pub(crate) struct BlobUpload {
    blobs: Blobs,
    content: Box<dyn Upload>,
    nodes: Option<Box<dyn Upload>>,
    /// `None` after a failure.
    hashing: Option<Hashing>,
}

/// What becomes of the pieces of an upload beside being written.
enum Hashing {
    Idle(Builder),
    /// A piece is being hashed, while the caller makes the next one.
    UnderWay(JoinHandle<Builder>),
}

impl Hashing {
    async fn settled(self) -> Result<Builder> {
        match self {
            Self::Idle(builder) => Ok(builder),
            Self::UnderWay(hashing) => hashing.await.map_err(|_| failed()),
        }
    }
}

impl BlobUpload {
    pub(crate) async fn write(&mut self, piece: Bytes) -> Result<()> {
        let mut builder = self.settled().await?;
        let to_hash = piece.clone();
        let hashing = tokio::task::spawn_blocking(move || {
            builder.update(&to_hash);
            builder
        });
        self.content.write(piece).await?;
        self.hashing = Some(Hashing::UnderWay(hashing));
        Ok(())
    }

    /// Waits for the piece that is being hashed, and writes the nodes that it completed.
    async fn settled(&mut self) -> Result<Builder> {
        let mut builder = self.hashing.take().ok_or_else(failed)?.settled().await?;
        let nodes = builder.take_nodes();
        if !nodes.is_empty() {
            self.nodes().await?.write(nodes.into()).await?;
        }
        Ok(builder)
    }

    async fn nodes(&mut self) -> Result<&mut Box<dyn Upload>> {
        if self.nodes.is_none() {
            let path = names::blob(&Digest::from_bytes([0; 32]))?;
            self.nodes = Some(self.blobs.inner.upload(&path, &tree_options()).await?);
        }
        self.nodes.as_mut().ok_or_else(failed)
    }

    /// The digest and the size; nothing can be written any more.
    pub(crate) async fn seal(mut self) -> Result<SealedBlob> {
        let builder = self.settled().await?;
        let tree = builder.remembered();
        let (digest, size, rest) = builder.finish();
        if size > TREE_ABOVE {
            self.nodes().await?.write(rest.into()).await?;
            self.blobs.remembered(&digest, tree);
        }
        Ok(SealedBlob { upload: self, digest, size })
    }

    pub(crate) async fn abort(self) -> Result<()> {
        if let Some(nodes) = self.nodes {
            nodes.abort().await?;
        }
        self.content.abort().await
    }
}

/// Content that is complete and has no name yet.
pub(crate) struct SealedBlob {
    upload: BlobUpload,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

impl SealedBlob {
    pub(crate) async fn abort(self) -> Result<()> {
        self.upload.abort().await
    }

    /// Gives it its name; answers whether it was new. The caller has pinned the digest.
    pub(crate) async fn publish(self, refs: &dyn Refs) -> Result<bool> {
        let Self { upload, digest, size } = self;
        if upload.blobs.found(&digest, size, refs).await? {
            upload.abort().await?;
            return Ok(false);
        }
        if let Some(mut nodes) = upload.nodes.filter(|_| size > TREE_ABOVE) {
            nodes.publish_at(names::tree(&digest)?)?;
            there(nodes.finish().await)?;
        }
        let mut content = upload.content;
        content.publish_at(names::blob(&digest)?)?;
        match content.finish().await {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                match upload.blobs.found(&digest, size, refs).await? {
                    true => Ok(false),
                    false => Err(in_the_way(&digest)),
                }
            }
            finished => finished.map(|_| true),
        }
    }
}

/// A tree can be made again from the content, so it need not survive a power cut. One that is there
/// stays: if it is damaged, whoever reads makes it again.
fn tree_options() -> WriteOptions {
    WriteOptions { skip_digest: true, ..WriteOptions::from(WriteMode::Create) }
}

/// Success as well when it was there before.
fn there<T>(created: Result<T>) -> Result<()> {
    match created {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        created => created.map(drop),
    }
}

pub(crate) fn mismatch(digest: &Digest) -> Error {
    Error::new(
        ErrorKind::IntegrityMismatch,
        format!("the stored content does not match its digest {digest}"),
    )
    .with_hint("`nexus-fs verify` finds all damage, and mends it from other mounts")
}

pub(crate) fn unreadable(error: Error, digest: &Digest) -> Error {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::RangeNotSatisfiable | ErrorKind::TooLarge => {
            mismatch(digest).with_source(error)
        }
        _ => error,
    }
}

fn in_the_way(digest: &Digest) -> Error {
    let message = format!("something else changes the stored content {digest} all the time");
    Error::new(ErrorKind::Unavailable, message)
        .with_hint("only nexus-fs may change files below `.nexus`; write again")
}

fn failed() -> Error {
    Error::new(ErrorKind::Closed, "the upload failed before")
}
