//! Content out: small bodies at once on the caller's thread, larger ones piece by piece with the
//! next piece read ahead, and all of it checked against the recorded digest where there is one.

use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use nexus_core::{
    Body, Digest, EntryKind, Error, ErrorKind, Hasher, MemoryBudget, Metadata, Object, ReadOptions,
    Reservation, Result, VfsPath,
};
use rustix::buffer::spare_capacity;
use rustix::fs::fstat;
use rustix::io::Errno;
use tokio::task::JoinHandle;

use crate::attributes::{Attributes, DigestCache};
use crate::beneath::Root;
use crate::blocking;
use crate::publish::{is_a_directory, not_a_file};

/// Bodies up to this size are tried on the caller's thread, in bytes.
const AT_ONCE: u64 = 64 << 10;

/// A piece of a stream, and the largest body that comes in one piece, in bytes.
const PIECE: usize = 1 << 20;

/// An open file, and what is to be served of it.
struct Opened {
    file: OwnedFd,
    path: VfsPath,
    attributes: Attributes,
    metadata: Metadata,
    range: Range<u64>,
    /// What the bytes must amount to, when all of them are served.
    expected: Option<Digest>,
}

impl Opened {
    fn new(
        file: OwnedFd,
        path: &VfsPath,
        options: &ReadOptions,
        digests: &DigestCache,
    ) -> Result<Self> {
        let about = |error: Error| error.with_path(path.as_str());
        let stat = fstat(&file).map_err(|error| about(crate::error::from_io(error)))?;
        let attributes = Attributes::from(stat);
        match attributes.kind {
            EntryKind::File => {}
            EntryKind::Directory => return Err(is_a_directory(path)),
            _ => return Err(not_a_file(path)),
        }
        let metadata = attributes.metadata(digests.digest(&file, &attributes));
        options.check(metadata.version.as_ref()).map_err(about)?;
        let size = attributes.size;
        let range = match options.range {
            None => 0..size,
            Some(range) => range.resolve(size).map_err(about)?,
        };
        let expected = metadata.digest.filter(|_| range == (0..size));
        Ok(Self { file, path: path.clone(), attributes, metadata, range, expected })
    }

    fn length(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// All bytes, if they are in memory already; else `None`.
    #[cfg(target_os = "linux")]
    fn read_at_once(&self) -> Option<Bytes> {
        use rustix::io::{ReadWriteFlags, preadv2};
        let length = self.length() as usize;
        let mut buffer = vec![0; length];
        if length > 0 {
            let mut into = [std::io::IoSliceMut::new(&mut buffer)];
            match preadv2(&self.file, &mut into, self.range.start, ReadWriteFlags::NOWAIT) {
                Ok(read) if read == length => {}
                // Short, not in memory, or a file system that does not know: the long way.
                _ => return None,
            }
        }
        // Changed meanwhile, or damaged: the long way tells.
        let mismatch = self.expected.is_some_and(|expected| expected != Digest::of(&buffer));
        if mismatch || self.check_unchanged().is_err() {
            return None;
        }
        Some(buffer.into())
    }

    #[cfg(not(target_os = "linux"))]
    fn read_at_once(&self) -> Option<Bytes> {
        None
    }

    /// The next piece of the range, from `at`; may wait for the disk.
    fn read_piece(&self, at: u64) -> Result<Bytes> {
        let length = (self.range.end - at).min(PIECE as u64) as usize;
        let mut buffer = Vec::with_capacity(length);
        while buffer.len() < length {
            let offset = at + buffer.len() as u64;
            match rustix::io::pread(&self.file, spare_capacity(&mut buffer), offset) {
                Ok(0) => return Err(changed(&self.path)),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => {
                    return Err(crate::error::from_io(error).with_path(self.path.as_str()));
                }
            }
        }
        buffer.truncate(length);
        Ok(buffer.into())
    }

    /// Fails when somebody wrote into the file while it was read.
    fn check_unchanged(&self) -> Result<()> {
        let now = fstat(&self.file).map(Attributes::from);
        // Permissions and links may change; a new time of last change alone is no new content.
        let same = now.is_ok_and(|now| now.same_content(&self.attributes));
        if same { Ok(()) } else { Err(changed(&self.path)) }
    }

    fn object(self, body: Body) -> Object {
        Object { metadata: self.metadata, body }
    }
}

fn mismatch(path: &VfsPath) -> Error {
    Error::new(
        ErrorKind::IntegrityMismatch,
        "the content does not match the digest recorded for it",
    )
    .with_path(path.as_str())
    .with_hint(
        "the file was damaged, or changed with its times put back; restore it, or write it again",
    )
}

fn changed(path: &VfsPath) -> Error {
    Error::new(ErrorKind::Unavailable, "the file was changed while it was read")
        .with_path(path.as_str())
        .with_hint("read it again")
}

/// Reads a file of the mount.
pub(crate) async fn read(
    root: &Arc<Root>,
    digests: &Arc<DigestCache>,
    budget: &MemoryBudget,
    path: &VfsPath,
    options: &ReadOptions,
) -> Result<Object> {
    let opened = match root.file_at_once(path) {
        Some(file) => Some(Opened::new(file?, path, options, digests)?),
        None => None,
    };
    if let Some(opened) = &opened
        && opened.length() <= AT_ONCE
        && let Some(content) = opened.read_at_once()
    {
        let metadata = opened.metadata.clone();
        return Ok(Object { metadata, body: Body::whole(content) });
    }
    let (root, digests) = (Arc::clone(root), Arc::clone(digests));
    let (path, options) = (path.clone(), options.clone());
    let (opened, whole) = blocking::run(move || {
        let opened = match opened {
            Some(opened) => opened,
            None => Opened::new(root.file(&path)?, &path, &options, &digests)?,
        };
        if opened.length() > PIECE as u64 {
            return Ok((opened, None));
        }
        let content = opened.read_piece(opened.range.start)?;
        if opened.expected.is_some_and(|expected| expected != Digest::of(&content)) {
            opened.check_unchanged()?;
            return Err(mismatch(&opened.path));
        }
        opened.check_unchanged()?;
        Ok((opened, Some(content)))
    })
    .await?;
    match whole {
        Some(content) => Ok(opened.object(Body::whole(content))),
        None => {
            let metadata = opened.metadata.clone();
            let pieces = Pieces::new(opened, budget.clone());
            Ok(Object { metadata, body: Body::stream(stream::unfold(pieces, Pieces::next)) })
        }
    }
}

/// A stream of pieces. Up to two are in memory: the one that is served, and, where the budget has
/// room, the next. Hashing runs beside reading, and the last piece waits for its verdict.
struct Pieces {
    opened: Arc<Opened>,
    budget: MemoryBudget,
    /// Where the piece after `ahead` begins.
    at: u64,
    ahead: Option<(JoinHandle<Result<Bytes>>, Option<Reservation>)>,
    hasher: Option<Hasher>,
    hashing: Option<JoinHandle<Hasher>>,
    failed: bool,
}

impl Pieces {
    fn new(opened: Opened, budget: MemoryBudget) -> Self {
        let (at, hasher) = (opened.range.start, opened.expected.map(|_| Hasher::new()));
        let opened = Arc::new(opened);
        Self { opened, budget, at, ahead: None, hasher, hashing: None, failed: false }
    }

    fn start(&mut self, reservation: Option<Reservation>) {
        let (opened, at) = (Arc::clone(&self.opened), self.at);
        self.at = (at + PIECE as u64).min(opened.range.end);
        let reading = tokio::task::spawn_blocking(move || opened.read_piece(at));
        self.ahead = Some((reading, reservation));
    }

    async fn next(mut self) -> Option<(Result<Bytes>, Self)> {
        if self.failed || (self.ahead.is_none() && self.at == self.opened.range.end) {
            return None;
        }
        let piece = self.piece().await;
        self.failed = piece.is_err();
        Some((piece, self))
    }

    async fn piece(&mut self) -> Result<Bytes> {
        if self.ahead.is_none() {
            self.start(None);
        }
        let Some((reading, _)) = self.ahead.take() else { return Err(changed(&self.opened.path)) };
        let piece = reading.await.map_err(shut_down)??;
        let last = self.at == self.opened.range.end;
        if !last && let Some(reservation) = self.budget.try_reserve(PIECE) {
            self.start(Some(reservation));
        }
        self.hash(piece.clone()).await?;
        if last {
            self.verify().await?;
        }
        Ok(piece)
    }

    async fn hash(&mut self, piece: Bytes) -> Result<()> {
        if let Some(hashing) = self.hashing.take() {
            self.hasher = Some(hashing.await.map_err(shut_down)?);
        }
        if let Some(mut hasher) = self.hasher.take() {
            self.hashing = Some(tokio::task::spawn_blocking(move || {
                hasher.update(&piece);
                hasher
            }));
        }
        Ok(())
    }

    async fn verify(&mut self) -> Result<()> {
        self.opened.check_unchanged()?;
        let Some(hashing) = self.hashing.take() else { return Ok(()) };
        let digest = hashing.await.map_err(shut_down)?.finish();
        if Some(digest) == self.opened.expected { Ok(()) } else { Err(mismatch(&self.opened.path)) }
    }
}

fn shut_down(error: tokio::task::JoinError) -> Error {
    Error::new(ErrorKind::Closed, "the runtime is shutting down").with_source(error)
}
