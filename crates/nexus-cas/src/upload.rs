//! Content that comes in pieces: kept in memory while it is small, then a blob without a name, or chunks,
//! until all of it has come.

use std::sync::Arc;

use nexus_core::{
    Bytes, Error, ErrorKind, Metadata, Result, Upload, VfsPath, WriteOptions, async_trait,
};

use crate::backend::{INLINE, Shared, new_file, unexpected};
use crate::blobs::{BlobUpload, SealedBlob};
use crate::chunks::{ChunkUpload, SealedChunks};
use crate::pins::Pins;
use crate::refs::{Change, NewContent, NewFile, Outcome};
use crate::store::Store;

/// How much is collected before it is hashed and written, in bytes.
const BATCH: usize = 1 << 20;

pub(crate) struct CasUpload {
    shared: Arc<Shared>,
    path: VfsPath,
    options: WriteOptions,
    waiting: Vec<Bytes>,
    length: usize,
    sink: Option<Sink>,
    failed: bool,
}

/// Where content goes that is too large for memory.
enum Sink {
    Blob(BlobUpload),
    Chunks(Box<ChunkUpload>),
}

impl CasUpload {
    pub(crate) fn new(shared: Arc<Shared>, path: VfsPath, options: WriteOptions) -> Self {
        let (waiting, length, sink) = (Vec::new(), 0, None);
        Self { shared, path, options, waiting, length, sink, failed: false }
    }

    fn take_waiting(&mut self) -> Bytes {
        self.length = 0;
        match std::mem::take(&mut self.waiting) {
            one if one.len() == 1 => one.into_iter().next().unwrap_or_default(),
            many => many.concat().into(),
        }
    }

    /// Up to this length, in bytes, all that has come stays in memory.
    fn in_memory(&self) -> usize {
        self.shared.chunking.map_or(INLINE, |sizes| sizes.most)
    }

    /// Whether enough waits to be sent on its way.
    fn is_full(&self) -> bool {
        self.length >= BATCH && (self.sink.is_some() || self.length > self.in_memory())
    }

    /// Sends what waits on its way.
    async fn flush(&mut self) -> Result<()> {
        let piece = self.take_waiting();
        let mut sink = match self.sink.take() {
            Some(sink) => sink,
            None => {
                let store = self.shared.made().await?;
                match self.shared.chunking {
                    Some(sizes) => Sink::Chunks(Box::new(ChunkUpload::new(store, sizes))),
                    None => Sink::Blob(store.blobs.upload().await?),
                }
            }
        };
        match &mut sink {
            Sink::Blob(blob) => blob.write(piece).await?,
            Sink::Chunks(chunks) => chunks.write(piece).await?,
        }
        self.sink = Some(sink);
        Ok(())
    }

    fn check(&self) -> Result<()> {
        if self.failed {
            let error = Error::new(ErrorKind::Closed, "the upload failed before");
            return Err(error.with_path(self.path.as_str()));
        }
        Ok(())
    }
}

#[async_trait]
impl Upload for CasUpload {
    async fn write(&mut self, piece: Bytes) -> Result<()> {
        self.check()?;
        // A future that is dropped in the middle leaves the upload failed: a piece may be lost.
        self.failed = true;
        self.shared.existing().await?;
        self.length += piece.len();
        self.waiting.push(piece);
        if self.is_full() {
            let flushed = self.flush().await;
            flushed.map_err(|error| error.with_path(self.path.as_str()))?;
        }
        self.failed = false;
        Ok(())
    }

    fn publish_at(&mut self, path: VfsPath) -> Result<()> {
        self.path = path;
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<Metadata> {
        self.check()?;
        if self.sink.is_none() && self.length <= self.in_memory() {
            let content = self.take_waiting();
            return self.shared.put(&self.path, content, &self.options).await;
        }
        if self.length > 0 {
            self.flush().await?;
        }
        let Self { shared, path, options, sink, .. } = *self;
        shared.check_target(&path, &options.mode).await?;
        let store = shared.made().await?;
        let finishing = Finishing { store, path, options };
        match sink {
            Some(Sink::Blob(blob)) => finishing.blob(blob.seal().await?).await,
            Some(Sink::Chunks(chunks)) => finishing.chunks(chunks.seal().await?).await,
            None => Err(Error::new(ErrorKind::Closed, "the upload failed before")),
        }
    }

    async fn abort(mut self: Box<Self>) -> Result<()> {
        match self.sink.take() {
            Some(Sink::Blob(blob)) => blob.abort().await,
            Some(Sink::Chunks(chunks)) => {
                chunks.abort().await;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

/// The end of an upload: all has come, and the path is to have it.
struct Finishing<'a> {
    store: &'a Store,
    path: VfsPath,
    options: WriteOptions,
}

impl Finishing<'_> {
    async fn blob(self, sealed: SealedBlob) -> Result<Metadata> {
        let (digest, size) = (sealed.digest, sealed.size);
        let mut file = new_file(digest, size, NewContent::Known, &self.options);
        if self.store.is_chunked(&digest, size).await?
            && let Some(metadata) = self.put(file.clone()).await?
        {
            sealed.abort().await?;
            self.store.traffic.add(false, size);
            return Ok(metadata);
        }
        let mut pins = Pins::new(Arc::clone(&self.store.refs));
        pins.add(digest).await?;
        let new = sealed.publish(&*self.store.refs).await?;
        (file.content, file.pins) = (NewContent::Blob, pins.all());
        let metadata = self.put(file).await?.ok_or_else(|| self.removed())?;
        pins.released();
        self.store.traffic.add(new, size);
        Ok(metadata)
    }

    async fn chunks(self, sealed: SealedChunks) -> Result<Metadata> {
        let SealedChunks { manifest, pins, traffic } = sealed;
        let (digest, size) = (manifest.digest(), manifest.size());
        let mut file = new_file(digest, size, NewContent::in_chunks(manifest), &self.options);
        file.pins = pins.all();
        let metadata = self.put(file).await?.ok_or_else(|| self.removed())?;
        pins.released();
        self.store.traffic.merge(&traffic);
        Ok(metadata)
    }

    /// Gives the path the content; `None` when that is not there.
    async fn put(&self, file: NewFile) -> Result<Option<Metadata>> {
        let (path, mode) = (self.path.clone(), self.options.mode.clone());
        match self.store.refs.apply(Change::Put { path, file: Box::new(file), mode }).await? {
            Outcome::Put { record, .. } => Ok(Some(record.metadata())),
            Outcome::Missing => Ok(None),
            other => Err(unexpected(&other)),
        }
    }

    fn removed(&self) -> Error {
        Error::new(ErrorKind::Unavailable, "the content was removed while it was stored")
            .with_path(self.path.as_str())
            .with_hint("something else deletes files below `.nexus/blobs`")
    }
}
