//! Cuts content into chunks where the content itself says so, so that an insertion changes the chunks
//! around it and no others.

use std::sync::{Arc, Mutex, PoisonError};

use fastcdc::v2020::FastCDC;
use nexus_core::Bytes;

use crate::backend::INLINE;

/// How large chunks become, in bytes. The last one of a content may be smaller than the least, and a
/// little larger than the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkSizes {
    /// The least; even, and more than what is kept beside refs.
    pub least: usize,
    /// What they are on average; even.
    pub average: usize,
    /// The most; even. Content up to this size is not cut.
    pub most: usize,
}

impl ChunkSizes {
    /// For stores on this computer: 256 KiB, 1 MiB, 4 MiB.
    pub const LOCAL: Self = Self { least: 256 << 10, average: 1 << 20, most: 4 << 20 };
}

/// Content that comes in pieces and goes in chunks.
pub(crate) struct Chunker {
    sizes: ChunkSizes,
    /// What was not cut yet, from `at` on. Chunks are copied out of it: one that shared its memory would
    /// keep all of it.
    buffer: Vec<u8>,
    at: usize,
    memory: Memory,
    /// The last chunk that was cut: it takes in what follows, if that is too little for a chunk.
    held: Option<Bytes>,
}

impl Chunker {
    pub(crate) fn new(sizes: ChunkSizes) -> Self {
        Self { sizes, buffer: Vec::new(), at: 0, memory: Memory::default(), held: None }
    }

    /// Takes the next piece, of any size.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        // Moves what waits to the front when there is as much in front of it.
        if self.at >= self.sizes.most {
            self.buffer.drain(..std::mem::take(&mut self.at));
        }
        self.buffer.extend_from_slice(piece);
    }

    fn waiting(&self) -> &[u8] {
        &self.buffer[self.at..]
    }

    /// The next chunk, once nothing that may still come can change it.
    pub(crate) fn next(&mut self) -> Option<Bytes> {
        while self.waiting().len() >= self.sizes.most {
            let chunk = self.cut();
            if let Some(before) = self.held.replace(chunk) {
                return Some(before);
            }
        }
        None
    }

    fn cut(&mut self) -> Bytes {
        let ChunkSizes { least, average, most } = self.sizes;
        let waiting = self.waiting();
        let (_, end) = FastCDC::new(waiting, least, average, most).cut(0, waiting.len());
        let chunk = self.memory.copy(&waiting[..end], most);
        self.at += end;
        chunk
    }

    /// The chunks that are left: nothing comes any more.
    pub(crate) fn finish(mut self) -> Vec<Bytes> {
        let mut chunks: Vec<_> = std::iter::from_fn(|| self.next()).collect();
        chunks.extend(self.held.take());
        while !self.waiting().is_empty() {
            let chunk = self.cut();
            match chunks.last_mut() {
                // Content this small is kept beside the refs, where a chunk is not looked for.
                Some(last) if chunk.len() <= INLINE => {
                    *last = [&last[..], &chunk[..]].concat().into();
                }
                _ => chunks.push(chunk),
            }
        }
        chunks
    }
}

/// The memory of chunks that are gone, for those to come. Chunks are large and go on other threads than
/// they came on, where allocators keep what is freed.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<Vec<u8>>>>);

/// The memory of a chunk in use.
struct Lent {
    bytes: Vec<u8>,
    memory: Memory,
}

impl Memory {
    fn free(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The content of a chunk, which is not longer than `most`.
    fn copy(&self, content: &[u8], most: usize) -> Bytes {
        let free = self.free().pop();
        let mut bytes = free.unwrap_or_else(|| Vec::with_capacity(most));
        bytes.extend_from_slice(content);
        Bytes::from_owner(Lent { bytes, memory: self.clone() })
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        self.memory.free().push(bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const SIZES: ChunkSizes = ChunkSizes { least: 32 << 10, average: 64 << 10, most: 128 << 10 };

    fn content(size: usize) -> Vec<u8> {
        let mut bytes = vec![0; size];
        blake3::Hasher::new().update(b"chunks").finalize_xof().fill(&mut bytes);
        bytes
    }

    fn chunks(content: &[u8], piece: usize) -> Vec<Bytes> {
        let mut chunker = Chunker::new(SIZES);
        let mut chunks = Vec::new();
        for piece in content.chunks(piece) {
            chunker.push(piece);
            chunks.extend(std::iter::from_fn(|| chunker.next()));
        }
        chunks.extend(chunker.finish());
        chunks
    }

    #[test]
    fn chunks_are_the_content_however_it_comes() {
        for size in [1, 40_000, 128 << 10, 1_000_001, 3 << 20] {
            let whole = content(size);
            let expected = chunks(&whole, whole.len());
            assert!(expected.concat() == whole);
            for piece in [7_777, 100_000, 1 << 20] {
                assert!(chunks(&whole, piece) == expected, "{size} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn no_chunk_is_small_enough_to_be_kept_elsewhere() {
        // Somewhere among these a little is left over.
        for size in (1_000_000..1_200_000).step_by(3_001) {
            let chunks = chunks(&content(size), size);
            assert!(chunks.iter().all(|chunk| chunk.len() > INLINE), "{size}");
            assert!(chunks.iter().all(|chunk| chunk.len() <= SIZES.most + INLINE), "{size}");
        }
    }

    #[test]
    fn one_byte_in_front_changes_two_chunks_at_most() {
        let whole = content(8 << 20);
        let known: BTreeSet<_> = chunks(&whole, whole.len()).into_iter().collect();
        let changed = chunks(&[&[7], &whole[..]].concat(), whole.len());
        assert!(changed.iter().filter(|chunk| !known.contains(*chunk)).count() <= 2);
    }

    #[test]
    fn the_memory_of_chunks_that_are_gone_is_used_again() {
        let mut chunker = Chunker::new(SIZES);
        let (mut seen, mut cut) = (BTreeSet::new(), 0);
        for piece in content(4 << 20).chunks(64 << 10) {
            chunker.push(piece);
            while let Some(chunk) = chunker.next() {
                seen.insert(chunk.as_ptr());
                cut += 1;
            }
        }
        assert!(cut > 20, "{cut} chunks");
        // The one that is held, the one that is used, and the one that is cut.
        assert!(seen.len() <= 3, "{} places for {cut} chunks", seen.len());
    }

    #[test]
    fn content_without_landmarks_is_cut_at_the_most() {
        let chunks = chunks(&vec![0; 1 << 20], 50_000);
        assert!(chunks.iter().all(|chunk| chunk.len() == SIZES.most));
    }
}
