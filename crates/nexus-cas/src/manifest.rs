//! Manifests: the chunks that make a content, in their order.
//!
//! ```text
//! version u8 | digest 32 | size u64 | count u32 | (chunk digest 32, length u32) count times | id 32
//! ```
//!
//! Numbers are little-endian. `digest` and `size` are those of the whole content. `id` is a BLAKE3 hash of
//! everything before, in a derive-key context of its own, so that no content has it as its digest. A
//! manifest is one because a ref leads to it, never because of what its bytes look like.

use nexus_core::{Bytes, Digest, Error, ErrorKind, Result};

const VERSION: u8 = 1;
const CONTEXT: &str = "nexus-fs 2026 manifest v1";
const HEAD: usize = 1 + 32 + 8 + 4;
const ENTRY: usize = 32 + 4;
const ID: usize = 32;

/// The most chunks of one content.
pub const MOST_CHUNKS: usize = 1 << 20;

/// One chunk of a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes; never 0.
    pub length: u32,
}

/// The chunks of one content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    digest: Digest,
    size: u64,
    chunks: Vec<Chunk>,
}

impl Manifest {
    /// Of the content with this digest.
    ///
    /// # Errors
    /// `TooLarge` for more than [`MOST_CHUNKS`], `Internal` for a chunk without bytes.
    pub fn new(digest: Digest, chunks: Vec<Chunk>) -> Result<Self> {
        if chunks.len() > MOST_CHUNKS {
            let message = format!("the content has more than {MOST_CHUNKS} chunks");
            return Err(Error::new(ErrorKind::TooLarge, message)
                .with_hint("mount the store without `chunking=cdc` to write this file"));
        }
        if chunks.iter().any(|chunk| chunk.length == 0) {
            return Err(Error::new(ErrorKind::Internal, "a chunk has no bytes"));
        }
        let size = chunks.iter().map(|chunk| u64::from(chunk.length)).sum();
        Ok(Self { digest, size, chunks })
    }

    /// The digest of the whole content.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The length of the whole content, in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The chunks, in their order.
    #[must_use]
    pub fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// Where the first chunk with this digest begins in the content.
    #[must_use]
    pub fn offset_of(&self, digest: &Digest) -> Option<u64> {
        let before = self.chunks.iter().position(|chunk| chunk.digest == *digest)?;
        Some(self.chunks[..before].iter().map(|chunk| u64::from(chunk.length)).sum())
    }

    /// The manifest as bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(HEAD + self.chunks.len() * ENTRY + ID);
        bytes.push(VERSION);
        bytes.extend_from_slice(self.digest.as_bytes());
        bytes.extend_from_slice(&self.size.to_le_bytes());
        bytes.extend_from_slice(&(self.chunks.len() as u32).to_le_bytes());
        for chunk in &self.chunks {
            bytes.extend_from_slice(chunk.digest.as_bytes());
            bytes.extend_from_slice(&chunk.length.to_le_bytes());
        }
        let id = id(&bytes);
        bytes.extend_from_slice(&id);
        bytes.into()
    }

    /// The manifest of the content `digest` in `bytes`.
    ///
    /// # Errors
    /// `IntegrityMismatch` when they are damaged, or the manifest of another content; `Unsupported`
    /// when a newer program wrote them.
    pub fn decode(digest: &Digest, bytes: &[u8]) -> Result<Self> {
        let damaged = || {
            let message = format!("the manifest of the content {digest} is damaged");
            Error::new(ErrorKind::IntegrityMismatch, message)
                .with_hint("`nexus-fs verify` finds all damage, and mends it from other mounts")
        };
        let (body, found) = bytes.split_last_chunk::<ID>().ok_or_else(damaged)?;
        if id(body) != *found {
            return Err(damaged());
        }
        if body.first() != Some(&VERSION) {
            return Err(Error::new(ErrorKind::Unsupported, "a newer nexus-fs wrote this content")
                .with_hint("open the store with that version"));
        }
        parse(body).filter(|manifest| manifest.digest == *digest).ok_or_else(damaged)
    }
}

/// Everything but the id; `None` for what no manifest says.
fn parse(body: &[u8]) -> Option<Manifest> {
    let (head, entries) = body.split_at_checked(HEAD)?;
    let digest = Digest::from_bytes(*head.get(1..)?.first_chunk()?);
    let size = u64::from_le_bytes(*head.get(33..)?.first_chunk()?);
    let count = u32::from_le_bytes(*head.get(41..)?.first_chunk()?) as usize;
    let (entries, rest) = entries.as_chunks::<ENTRY>();
    if entries.len() != count || !rest.is_empty() || count > MOST_CHUNKS {
        return None;
    }
    let chunk = |entry: &[u8; ENTRY]| {
        let (digest, length) = entry.split_first_chunk::<32>()?;
        let length = u32::from_le_bytes(length.try_into().ok()?);
        (length > 0).then_some(Chunk { digest: Digest::from_bytes(*digest), length })
    };
    let chunks = entries.iter().map(chunk).collect::<Option<Vec<_>>>()?;
    let sum: u64 = chunks.iter().map(|chunk| u64::from(chunk.length)).sum();
    (sum == size).then_some(Manifest { digest, size, chunks })
}

fn id(body: &[u8]) -> [u8; ID] {
    let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
    *hasher.update(body).finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn manifest() -> Manifest {
        let chunk = |n: u8| Chunk { digest: Digest::of(&[n]), length: 1000 + u32::from(n) };
        Manifest::new(Digest::of(b"whole"), (0..5).map(chunk).collect()).unwrap()
    }

    #[test]
    fn comes_back_as_it_was_and_only_for_its_content() {
        let manifest = manifest();
        let bytes = manifest.encode();
        assert_eq!(Manifest::decode(&manifest.digest(), &bytes).unwrap(), manifest);
        assert_eq!(manifest.size(), 5010);
        assert_eq!(manifest.offset_of(&Digest::of(&[2])), Some(2001));
        assert_eq!(manifest.offset_of(&Digest::of(&[9])), None);
        let error = Manifest::decode(&Digest::of(b"other"), &bytes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IntegrityMismatch);
    }

    #[test]
    fn any_flipped_bit_is_damage() {
        let bytes = manifest().encode();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Manifest::decode(&manifest().digest(), &damaged).is_err(), "bit {bit}");
        }
        assert!(Manifest::decode(&manifest().digest(), &bytes[1..]).is_err());
    }

    fn sealed(body: &[u8]) -> Vec<u8> {
        [body, &id(body)].concat()
    }

    #[test]
    fn what_makes_no_sense_is_damage_even_with_a_right_id() {
        let digest = manifest().digest();
        let whole = manifest().encode();
        let body = &whole[..whole.len() - ID];
        let changes: [(usize, &[u8]); 4] =
            [(33, &[0; 8]), (41, &[9, 0, 0, 0]), (41, &[0xff; 4]), (HEAD + 32, &[0; 4])];
        for (at, with) in changes {
            let mut changed = body.to_vec();
            changed[at..at + with.len()].copy_from_slice(with);
            let error = Manifest::decode(&digest, &sealed(&changed)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::IntegrityMismatch, "at {at}");
        }
        let mut newer = body.to_vec();
        newer[0] = VERSION + 1;
        let error = Manifest::decode(&digest, &sealed(&newer)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn there_is_a_limit() {
        let chunk = Chunk { digest: Digest::of(b"x"), length: 1 };
        let many = vec![chunk; MOST_CHUNKS + 1];
        let error = Manifest::new(Digest::of(b"y"), many).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let digest = bytes.get(1..33).and_then(|bytes| bytes.try_into().ok());
            let digest = Digest::from_bytes(digest.unwrap_or_default());
            // With an id that fits, so that the parser behind it is reached.
            let whole = sealed(&bytes);
            if let Ok(manifest) = Manifest::decode(&digest, &whole) {
                prop_assert_eq!(&manifest.encode()[..], &whole[..]);
            }
        }
    }
}
