//! Verified reads of a blob that has a tree: piece by piece, the next one verified while the last is used.

use std::sync::Arc;

use futures_util::stream;
use nexus_core::{
    Backend, Body, ByteRange, Bytes, Error, ErrorKind, ReadOptions, Result, VfsPath, async_trait,
};
use tokio::sync::mpsc;

use crate::blobs::{Blobs, mismatch, unreadable};
use crate::names;
use crate::tree::{GROUP, Nodes, Verifier};

/// What is verified and handed out at once, of large reads, in bytes. Up to three are in memory: the one
/// that is used, one that waits, and one that is verified. All lie in two that the store below gave.
const PIECE: usize = 512 << 10;

/// The outboard tree of a blob, as a verifier reads it.
struct TreeNodes {
    inner: Arc<dyn Backend>,
    path: VfsPath,
}

#[async_trait]
impl Nodes for TreeNodes {
    async fn read(&mut self, offset: u64, length: usize) -> Result<Bytes> {
        let range = ByteRange::new(offset, Some(offset + length as u64))?;
        let object = self.inner.read(&self.path, &ReadOptions::range(range)).await?;
        object.body.bytes(length).await
    }
}

/// A verified read on its way.
pub(crate) struct Pieces {
    blobs: Blobs,
    verifier: Verifier,
    nodes: TreeNodes,
    body: Body,
    /// What the body gave and no piece took yet.
    ahead: Bytes,
    /// Where the next piece begins, and where the last one ends; both at groups.
    at: u64,
    last: u64,
    wanted: (u64, u64),
}

impl Pieces {
    /// Of the content that `verifier` knows; `start..end` is not empty.
    pub(crate) async fn new(
        blobs: &Blobs,
        verifier: Verifier,
        (start, end): (u64, u64),
    ) -> Result<Self> {
        let first = start - start % GROUP;
        let last = end.next_multiple_of(GROUP).min(verifier.size());
        let digest = verifier.digest();
        Ok(Self {
            blobs: blobs.clone(),
            nodes: TreeNodes { inner: Arc::clone(&blobs.inner), path: names::tree(&digest)? },
            body: blobs.piece(&digest, first, last).await?,
            verifier,
            ahead: Bytes::new(),
            at: first,
            last,
            wanted: (start, end),
        })
    }

    /// What is wanted.
    pub(crate) async fn read(mut self) -> Result<Body> {
        if self.last - self.at <= PIECE as u64 {
            return self.next().await.map(Body::whole);
        }
        Ok(Body::stream(stream::unfold(Stage::Idle(Box::new(self)), Stage::next)))
    }

    /// Begins to verify pieces on another thread; answers where they come, and how many bytes will.
    fn verify_ahead(mut self) -> (mpsc::Receiver<Result<Bytes>>, u64) {
        let missing = self.wanted.1 - self.wanted.0;
        let (done, verified) = mpsc::channel(1);
        let runtime = self.blobs.runtime.clone();
        runtime.spawn(async move {
            while self.at < self.last {
                let piece = self.next().await;
                let failed = piece.is_err();
                if done.send(piece).await.is_err() || failed {
                    break;
                }
            }
        });
        (verified, missing)
    }

    async fn next(&mut self) -> Result<Bytes> {
        let length = (self.last - self.at).min(PIECE as u64) as usize;
        let whole = self.collect(length).await?;
        self.verify(&whole).await?;
        let from = self.wanted.0.saturating_sub(self.at).min(length as u64) as usize;
        let to = (self.wanted.1 - self.at).min(length as u64) as usize;
        self.at += length as u64;
        Ok(whole.slice(from..to))
    }

    /// Exactly `length` bytes of the body.
    async fn collect(&mut self, length: usize) -> Result<Bytes> {
        let digest = self.verifier.digest();
        let mut parts: Vec<Bytes> = Vec::new();
        let mut missing = length;
        while missing > 0 {
            if self.ahead.is_empty() {
                let piece = self.body.next().await.transpose();
                let piece = piece.map_err(|error| unreadable(error, &digest))?;
                self.ahead = piece.ok_or_else(|| mismatch(&digest))?;
            }
            let part = self.ahead.split_to(self.ahead.len().min(missing));
            missing -= part.len();
            parts.push(part);
        }
        match <[Bytes; 1]>::try_from(parts) {
            Ok([whole]) => Ok(whole),
            Err(parts) => Ok(parts.concat().into()),
        }
    }

    async fn verify(&mut self, piece: &[u8]) -> Result<()> {
        let verified = self.verifier.verify(&mut self.nodes, self.at, piece).await;
        let Err(error) = verified else { return Ok(()) };
        if !matches!(
            error.kind(),
            ErrorKind::IntegrityMismatch | ErrorKind::NotFound | ErrorKind::RangeNotSatisfiable
        ) {
            return Err(error);
        }
        // The content, or its tree? The content alone decides.
        let (digest, size) = (self.verifier.digest(), self.verifier.size());
        self.blobs.rebuild_tree(&digest, size).await?;
        tracing::warn!(%digest, "the tree of a content was damaged, and made again");
        let verified = self.verifier.verify(&mut self.nodes, self.at, piece).await;
        verified.map_err(|_| mismatch(&digest))
    }
}

/// How far a stream of pieces is.
enum Stage {
    /// Nobody asked for a piece yet.
    Idle(Box<Pieces>),
    /// Pieces come from another thread, as long as somebody waits for them: so many bytes are missing.
    Verifying(mpsc::Receiver<Result<Bytes>>, u64),
}

impl Stage {
    async fn next(self) -> Option<(Result<Bytes>, Self)> {
        let (mut verified, missing) = match self {
            Self::Idle(pieces) => pieces.verify_ahead(),
            Self::Verifying(_, 0) => return None,
            Self::Verifying(verified, missing) => (verified, missing),
        };
        let piece = verified.recv().await.unwrap_or_else(|| Err(stopped()));
        // Nothing comes after a piece that can not be had.
        let missing = piece.as_ref().map_or(0, |piece| missing - piece.len() as u64);
        Some((piece, Self::Verifying(verified, missing)))
    }
}

fn stopped() -> Error {
    Error::new(ErrorKind::Closed, "the runtime is shutting down")
}
