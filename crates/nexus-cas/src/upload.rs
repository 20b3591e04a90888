//! Content that comes in pieces: kept in memory while it is small, then a blob without a name, until
//! all of it has come.

use std::sync::Arc;

use nexus_core::{
    Bytes, Error, ErrorKind, Metadata, Result, Upload, VfsPath, WriteOptions, async_trait,
};

use crate::backend::{INLINE, Shared, new_file, unexpected};
use crate::blobs::{BlobUpload, Blobs};
use crate::refs::{Change, Outcome, Pin, Refs};

/// How much is collected before it is hashed and written, in bytes.
const BATCH: usize = 1 << 20;

pub(crate) struct CasUpload {
    shared: Arc<Shared>,
    path: VfsPath,
    options: WriteOptions,
    waiting: Vec<Bytes>,
    length: usize,
    blob: Option<BlobUpload>,
    failed: bool,
}

impl CasUpload {
    pub(crate) fn new(shared: Arc<Shared>, path: VfsPath, options: WriteOptions) -> Self {
        let (waiting, length, blob) = (Vec::new(), 0, None);
        Self { shared, path, options, waiting, length, blob, failed: false }
    }

    fn take_waiting(&mut self) -> Bytes {
        self.length = 0;
        match std::mem::take(&mut self.waiting) {
            one if one.len() == 1 => one.into_iter().next().unwrap_or_default(),
            many => many.concat().into(),
        }
    }

    /// Sends what waits on its way.
    async fn flush(&mut self) -> Result<()> {
        let piece = self.take_waiting();
        let mut blob = match self.blob.take() {
            Some(blob) => blob,
            None => self.shared.made().await?.blobs.upload().await?,
        };
        blob.write(piece).await?;
        self.blob = Some(blob);
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

/// A pin that is released unless the path was given its content.
struct Pinned {
    refs: Arc<dyn Refs>,
    pin: Option<Pin>,
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if let Some(pin) = self.pin.take() {
            self.refs.release(pin);
        }
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
        if self.length >= BATCH {
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
        if self.blob.is_none() && self.length <= INLINE {
            let content = self.take_waiting();
            return self.shared.put(&self.path, content, &self.options).await;
        }
        if self.length > 0 {
            self.flush().await?;
        }
        let Self { shared, path, options, blob, .. } = *self;
        let blob = blob.ok_or_else(|| Error::new(ErrorKind::Closed, "the upload failed before"))?;
        shared.check_target(&path, &options.mode).await?;
        let store = shared.made().await?;
        let sealed = blob.seal().await?;
        let (digest, size) = (sealed.digest, sealed.size);
        // Before the content has its name: from then on a collector may see it.
        let pin = match store.refs.apply(Change::Pin(digest)).await? {
            Outcome::Pinned(pin) => pin,
            other => return Err(unexpected(&other)),
        };
        let mut pinned = Pinned { refs: Arc::clone(&store.refs), pin: Some(pin) };
        let new = sealed.publish(&*store.refs).await?;
        let mut file = new_file(digest, size, &options);
        file.stored = Blobs::stored_size(size);
        file.pin = Some(pin);
        let change =
            Change::Put { path: path.clone(), file: Box::new(file), mode: options.mode.clone() };
        match store.refs.apply(change).await? {
            Outcome::Stored(record) => {
                pinned.pin = None;
                store.traffic.add(new, size);
                Ok(record.metadata())
            }
            Outcome::Missing => Err(Error::new(
                ErrorKind::Unavailable,
                "the content was removed while it was stored",
            )
            .with_path(path.as_str())
            .with_hint("something else deletes files below `.nexus/blobs`")),
            other => Err(unexpected(&other)),
        }
    }

    async fn abort(mut self: Box<Self>) -> Result<()> {
        match self.blob.take() {
            Some(blob) => blob.abort().await,
            None => Ok(()),
        }
    }
}
