//! Content in chunks: stored while it comes, and read as if it were in one piece.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, FuturesOrdered};
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use nexus_core::{Body, Bytes, Error, ErrorKind, Hasher, Result};

use crate::blobs::{Blobs, hashed};
use crate::chunker::{ChunkSizes, Chunker};
use crate::manifest::{Chunk, Manifest};
use crate::pins::Pins;
use crate::refs::Refs;
use crate::store::{Counters, Store};

/// How many chunks are stored at once, and how many bytes they may have together, as long as there are
/// several.
const AT_ONCE: usize = 4;
const BYTES_AT_ONCE: usize = 8 << 20;

/// How much is cut before the chunks are stored, in bytes.
const CUT_AT_ONCE: usize = 1 << 20;

/// How many chunks of a read are opened at once.
const AHEAD: usize = 2;

/// Content on its way, cut and stored as it comes.
pub(crate) struct ChunkUpload {
    refs: Arc<dyn Refs>,
    blobs: Blobs,
    /// `None` after a failure.
    state: Option<(Hasher, Chunker)>,
    under_way: FuturesOrdered<BoxFuture<'static, Result<Stored>>>,
    /// Their bytes.
    length: usize,
    chunks: Vec<Chunk>,
    pins: Pins,
    traffic: Counters,
}

/// A chunk that is there.
struct Stored {
    chunk: Chunk,
    pins: Pins,
    new: bool,
}

impl ChunkUpload {
    pub(crate) fn new(store: &Store, sizes: ChunkSizes) -> Self {
        Self {
            refs: Arc::clone(&store.refs),
            blobs: store.blobs.clone(),
            state: Some((Hasher::new(), Chunker::new(sizes))),
            under_way: FuturesOrdered::new(),
            length: 0,
            chunks: Vec::new(),
            pins: Pins::new(Arc::clone(&store.refs)),
            traffic: Counters::default(),
        }
    }

    pub(crate) async fn write(&mut self, mut piece: Bytes) -> Result<()> {
        while !piece.is_empty() {
            let part = piece.split_to(piece.len().min(CUT_AT_ONCE));
            self.cut(part).await?;
        }
        Ok(())
    }

    async fn cut(&mut self, piece: Bytes) -> Result<()> {
        let (mut hasher, mut chunker) = self.state.take().ok_or_else(failed)?;
        let cutting = tokio::task::spawn_blocking(move || {
            hasher.update(&piece);
            chunker.push(&piece);
            let chunks: Vec<_> = std::iter::from_fn(|| chunker.next()).collect();
            (hasher, chunker, chunks)
        });
        let (hasher, chunker, chunks) = cutting.await.map_err(|_| failed())?;
        for chunk in chunks {
            self.store(chunk).await?;
        }
        self.state = Some((hasher, chunker));
        Ok(())
    }

    async fn store(&mut self, content: Bytes) -> Result<()> {
        while self.under_way.len() >= AT_ONCE || self.length + content.len() > BYTES_AT_ONCE {
            if !self.settle_one().await? {
                break;
            }
        }
        self.length += content.len();
        let put = put(Arc::clone(&self.refs), self.blobs.clone(), content);
        self.under_way.push_back(put.boxed());
        Ok(())
    }

    /// Waits for the oldest chunk under way; answers whether there was one.
    async fn settle_one(&mut self) -> Result<bool> {
        let Some(stored) = self.under_way.next().await.transpose()? else { return Ok(false) };
        self.length -= stored.chunk.length as usize;
        self.traffic.add(stored.new, u64::from(stored.chunk.length));
        self.chunks.push(stored.chunk);
        self.pins.append(stored.pins);
        Ok(true)
    }

    /// Waits until nothing is under way. Chunks that no content needs are garbage.
    pub(crate) async fn abort(mut self) {
        while self.under_way.next().await.is_some() {}
    }

    /// All chunks are there; nothing can be written any more.
    pub(crate) async fn seal(mut self) -> Result<SealedChunks> {
        let (hasher, chunker) = self.state.take().ok_or_else(failed)?;
        for chunk in chunker.finish() {
            self.store(chunk).await?;
        }
        while self.settle_one().await? {}
        let manifest = Manifest::new(hasher.finish(), self.chunks)?;
        Ok(SealedChunks { manifest, pins: self.pins, traffic: self.traffic })
    }
}

/// Content whose chunks are there, and pinned.
pub(crate) struct SealedChunks {
    pub(crate) manifest: Manifest,
    pub(crate) pins: Pins,
    pub(crate) traffic: Counters,
}

async fn put(refs: Arc<dyn Refs>, blobs: Blobs, content: Bytes) -> Result<Stored> {
    let hashed = hashed(&content).await?;
    let length = u32::try_from(content.len()).map_err(|_| failed())?;
    let chunk = Chunk { digest: hashed.digest, length };
    let mut pins = Pins::new(Arc::clone(&refs));
    pins.add(hashed.digest).await?;
    let new = blobs.put(&hashed, content, &*refs).await?;
    Ok(Stored { chunk, pins, new })
}

/// Reads `start..end` of a content, chunk by chunk, each verified.
pub(crate) async fn read(blobs: &Blobs, manifest: &Manifest, range: (u64, u64)) -> Result<Body> {
    let mut parts = parts(manifest, range);
    match parts.len() {
        0 => Ok(Body::whole(Bytes::new())),
        1 => parts.remove(0).read(blobs).await,
        _ => {
            let blobs = blobs.clone();
            let bodies = stream::iter(parts).map(move |part| {
                let blobs = blobs.clone();
                async move { part.read(&blobs).await.map(Body::into_stream) }
            });
            Ok(Body::stream(bodies.buffered(AHEAD).try_flatten()))
        }
    }
}

/// A range of one chunk.
struct Part {
    chunk: Chunk,
    range: (u64, u64),
}

impl Part {
    async fn read(&self, blobs: &Blobs) -> Result<Body> {
        let Part { chunk, range } = self;
        blobs.read(&chunk.digest, u64::from(chunk.length), *range).await
    }
}

/// The parts of `start..end`, none of them empty.
fn parts(manifest: &Manifest, (start, end): (u64, u64)) -> Vec<Part> {
    let mut at = 0;
    let mut parts = Vec::new();
    for chunk in manifest.chunks() {
        let (first, last) = (at, at + u64::from(chunk.length));
        at = last;
        let range = (start.max(first), end.min(last));
        if range.0 < range.1 {
            parts.push(Part { chunk: *chunk, range: (range.0 - first, range.1 - first) });
        }
    }
    parts
}

fn failed() -> Error {
    Error::new(ErrorKind::Closed, "the upload failed before")
}

#[cfg(test)]
mod tests {
    use nexus_core::Digest;

    use super::*;

    #[test]
    fn parts_are_what_was_asked_for() {
        let chunk = |n: u8| Chunk { digest: Digest::of(&[n]), length: 10 };
        let manifest = Manifest::new(Digest::of(b"all"), (0..3).map(chunk).collect()).unwrap();
        for (range, expected) in [
            ((0, 30), vec![(0, 0, 10), (1, 0, 10), (2, 0, 10)]),
            ((5, 6), vec![(0, 5, 6)]),
            ((9, 11), vec![(0, 9, 10), (1, 0, 1)]),
            ((10, 20), vec![(1, 0, 10)]),
            ((20, 20), vec![]),
            ((30, 30), vec![]),
        ] {
            let found = parts(&manifest, range).into_iter().map(|Part { chunk, range }| {
                let index = (0..3).find(|n| Digest::of(&[*n]) == chunk.digest).unwrap();
                (index, range.0, range.1)
            });
            assert_eq!(found.collect::<Vec<_>>(), expected, "{range:?}");
        }
    }
}
