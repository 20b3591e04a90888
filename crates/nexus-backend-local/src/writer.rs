//! Content in: whole in one hop, or in pieces that are written and hashed side by side.

use std::io::IoSlice;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use nexus_core::{
    Digest, Error, ErrorKind, Hasher, MemoryBudget, Metadata, Reservation, Result, Upload, VfsPath,
    WriteMode, async_trait,
};
use rustix::io::Errno;
use tokio::task::JoinHandle;

use crate::beneath::Root;
use crate::blocking::{self, Gate};
use crate::publish::{Publishing, Temp};

/// How many bytes are collected before they are written.
const BATCH: usize = 1 << 20;

/// Pieces below this size are copied together, in bytes.
const SMALL: usize = 64 << 10;

/// The system takes no more slices in one call.
const SLICES: usize = 1024;

/// What all writes of one mount share.
#[derive(Clone)]
pub(crate) struct Destination {
    pub(crate) root: Arc<Root>,
    pub(crate) full: bool,
    /// Whether contents are hashed, and their digests recorded.
    pub(crate) hashes: bool,
}

impl Destination {
    pub(crate) fn publishing<'a>(&'a self, mode: &'a WriteMode, gate: &'a Gate) -> Publishing<'a> {
        Publishing { root: &self.root, mode, gate, full: self.full }
    }
}

/// Stores `content` whole.
pub(crate) async fn write(
    destination: Destination,
    path: VfsPath,
    content: Bytes,
    mode: WriteMode,
) -> Result<Metadata> {
    blocking::change(move |gate| {
        let publishing = destination.publishing(&mode, gate);
        publishing.persist(|| {
            let spot = publishing.find(&path)?;
            let mut temp = publishing.temp(&spot, spot.current.is_some(), None)?;
            let written = match destination.hashes {
                true => write_and_hash(&temp, &content).map(Some),
                false => write_at(&temp, &content, 0).map(|()| None),
            };
            let digest = written.map_err(|error| destination.root.error(error, &spot.path))?;
            publishing.publish(spot, &mut temp, content.len() as u64, digest)
        })
    })
    .await
}

/// Writes the whole content; a large one is hashed meanwhile.
fn write_and_hash(temp: &Temp, content: &[u8]) -> rustix::io::Result<Digest> {
    if content.len() < BATCH {
        write_at(temp, content, 0)?;
        return Ok(Digest::of(content));
    }
    std::thread::scope(|scope| {
        let hashing = std::thread::Builder::new().spawn_scoped(scope, || Digest::of(content));
        write_at(temp, content, 0)?;
        // Without another thread, after it.
        Ok(hashing
            .ok()
            .and_then(|hashing| hashing.join().ok())
            .unwrap_or_else(|| Digest::of(content)))
    })
}

/// Writes all of `pieces` at `offset`.
fn write_all(temp: &Temp, pieces: &[Bytes], mut offset: u64) -> rustix::io::Result<()> {
    for group in pieces.chunks(SLICES) {
        let mut slices: Vec<_> = group.iter().map(|piece| IoSlice::new(piece)).collect();
        offset = write_slices(temp, &mut slices, offset)?;
    }
    Ok(())
}

/// Writes all of `slices` at `offset`; answers where they end.
fn write_slices(
    temp: &Temp,
    mut slices: &mut [IoSlice<'_>],
    mut offset: u64,
) -> rustix::io::Result<u64> {
    // Passes over empty slices, which would look like a disk that takes nothing.
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match rustix::io::pwritev(temp.file(), slices, offset) {
            Ok(0) => return Err(Errno::IO),
            Ok(written) => {
                offset += written as u64;
                IoSlice::advance_slices(&mut slices, written);
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(offset)
}

/// Writes all of `bytes` at `offset`.
pub(crate) fn write_at(temp: &Temp, bytes: &[u8], offset: u64) -> rustix::io::Result<()> {
    write_slices(temp, &mut [IoSlice::new(bytes)], offset).map(drop)
}

/// A file that is being written in pieces.
pub(crate) struct LocalUpload {
    destination: Destination,
    budget: MemoryBudget,
    path: VfsPath,
    mode: WriteMode,
    temp: Arc<Temp>,
    /// Complete pieces that wait, and small ones that are being put together.
    pending: Vec<Bytes>,
    small: BytesMut,
    waiting: usize,
    /// How much was given to the disk.
    size: u64,
    writing: Option<(JoinHandle<Result<()>>, Option<Reservation>)>,
    hashing: Option<JoinHandle<Hasher>>,
    failed: bool,
}

/// Begins a file that is written in pieces.
pub(crate) async fn upload(
    destination: Destination,
    budget: MemoryBudget,
    path: VfsPath,
    mode: WriteMode,
) -> Result<LocalUpload> {
    blocking::change(move |gate| {
        let publishing = destination.publishing(&mode, gate);
        // Long uploads outlive what was looked up: `finish` looks again. A file without a name
        // leaves nothing behind, whatever happens.
        let temp = publishing.persist(|| publishing.temp(&publishing.find(&path)?, false, None))?;
        Ok(LocalUpload {
            destination,
            budget,
            path,
            mode,
            temp: Arc::new(temp),
            pending: Vec::new(),
            small: BytesMut::new(),
            waiting: 0,
            size: 0,
            writing: None,
            hashing: None,
            failed: false,
        })
    })
    .await
}

impl LocalUpload {
    fn collect(&mut self, piece: Bytes) {
        self.waiting += piece.len();
        if piece.len() < SMALL {
            self.small.extend_from_slice(&piece);
        } else {
            self.close_small();
            self.pending.push(piece);
        }
    }

    fn close_small(&mut self) {
        if !self.small.is_empty() {
            self.pending.push(self.small.split().freeze());
        }
    }

    /// Sends what is collected on its way, after what was sent before.
    async fn flush(&mut self) -> Result<()> {
        self.written().await?;
        self.close_small();
        let pieces: Arc<[Bytes]> = std::mem::take(&mut self.pending).into();
        let (offset, length) = (self.size, std::mem::take(&mut self.waiting));
        self.size += length as u64;
        if self.destination.hashes {
            let hasher = match self.hashing.take() {
                Some(hashing) => hashing.await.map_err(shut_down)?,
                None => Hasher::new(),
            };
            let to_hash = Arc::clone(&pieces);
            self.hashing = Some(tokio::task::spawn_blocking(move || {
                let mut hasher = hasher;
                to_hash.iter().for_each(|piece| hasher.update(piece));
                hasher
            }));
        }
        let (temp, root, path) =
            (Arc::clone(&self.temp), Arc::clone(&self.destination.root), self.path.clone());
        let writing = tokio::task::spawn_blocking(move || {
            write_all(&temp, &pieces, offset).map_err(|error| root.error(error, &path))
        });
        self.writing = Some((writing, self.budget.try_reserve(length)));
        // Without room for a batch that waits beside the one on its way, wait for that one.
        if let Some((_, None)) = &self.writing {
            self.written().await?;
        }
        Ok(())
    }

    /// Waits for the batch on its way.
    async fn written(&mut self) -> Result<()> {
        match self.writing.take() {
            Some((writing, _)) => writing.await.map_err(shut_down)?,
            None => Ok(()),
        }
    }

    async fn take(&mut self, piece: Bytes) -> Result<()> {
        self.collect(piece);
        if self.waiting >= BATCH { self.flush().await } else { Ok(()) }
    }

    fn check(&self) -> Result<()> {
        self.destination.root.check_open().map_err(|error| error.with_path(self.path.as_str()))?;
        if self.failed {
            let error = Error::new(ErrorKind::Closed, "the upload failed before");
            return Err(error.with_path(self.path.as_str()));
        }
        Ok(())
    }
}

#[async_trait]
impl Upload for LocalUpload {
    async fn write(&mut self, piece: Bytes) -> Result<()> {
        self.check()?;
        // A future that is dropped in the middle leaves the upload failed: a piece may be lost.
        self.failed = true;
        self.take(piece).await?;
        self.failed = false;
        Ok(())
    }

    fn publish_at(&mut self, path: VfsPath) -> Result<()> {
        self.path = path;
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<Metadata> {
        self.check()?;
        self.flush().await?;
        self.written().await?;
        let digest = match self.hashing.take() {
            Some(hashing) => Some(hashing.await.map_err(shut_down)?.finish()),
            None => None,
        };
        let Self { destination, path, mode, temp, size, .. } = *self;
        let mut temp = Arc::into_inner(temp).ok_or_else(|| {
            Error::new(ErrorKind::Internal, "a write of the upload is still under way")
        })?;
        blocking::change(move |gate| {
            let publishing = destination.publishing(&mode, gate);
            publishing
                .persist(|| publishing.publish(publishing.find(&path)?, &mut temp, size, digest))
        })
        .await
    }

    async fn abort(mut self: Box<Self>) -> Result<()> {
        // What is on its way goes to a file that nobody will see.
        let _ = self.written().await;
        Ok(())
    }
}

fn shut_down(error: tokio::task::JoinError) -> Error {
    Error::new(ErrorKind::Closed, "the runtime is shutting down").with_source(error)
}
