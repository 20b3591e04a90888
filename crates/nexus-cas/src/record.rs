//! Records: what a store knows of one path, as bytes that tell when they were damaged or moved.
//!
//! ```text
//! format u8 | kind u8 | version u64 | size u64 | modified i64 | digest 32
//! | content type: u32 length or u32::MAX, bytes | user: u32 count, (u32 length, bytes) twice each
//! | check 16
//! ```
//!
//! Numbers are little-endian. `check` is the beginning of a BLAKE3 hash, in a derive-key context of
//! its own, of the path's length, the path, and everything before. A record under another path, or
//! with any byte changed, does not decode.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use nexus_core::{Digest, EntryKind, Error, ErrorKind, Metadata, Result, Version};

const FORMAT: u8 = 1;
const CONTEXT: &str = "nexus-fs 2026 ref record v1";
const CHECK: usize = 16;
const NO_TEXT: u32 = u32::MAX;

/// What a store knows of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRecord {
    /// Digest of the content.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// When it was written, in nanoseconds since 1970.
    pub modified: i64,
    /// Which state of which path this is: never the same number twice in one store.
    pub version: u64,
    /// Media type, where one was given.
    pub content_type: Option<Box<str>>,
    /// The user's own keys and values.
    pub user: BTreeMap<String, String>,
}

/// What a store knows of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A directory.
    Directory,
    /// A file.
    File(FileRecord),
}

impl Record {
    /// The record as bytes that belong to `path`.
    #[must_use]
    pub fn encode(&self, path: &str) -> Vec<u8> {
        let mut bytes = vec![FORMAT];
        match self {
            Self::Directory => bytes.push(0),
            Self::File(file) => file.encode(&mut bytes),
        }
        let check = check(path, &bytes);
        bytes.extend_from_slice(&check);
        bytes
    }

    /// The record of `path` in `bytes`.
    ///
    /// # Errors
    /// `IntegrityMismatch` when they are damaged or belong to another path, `Unsupported` when a
    /// newer program wrote them.
    pub fn decode(path: &str, bytes: &[u8]) -> Result<Self> {
        let damaged = || damaged(path);
        let (body, found) = bytes.split_last_chunk::<CHECK>().ok_or_else(damaged)?;
        if check(path, body) != *found {
            return Err(damaged());
        }
        let mut rest = Reader(body);
        if rest.byte() != Some(FORMAT) {
            return Err(Error::new(ErrorKind::Unsupported, "a newer nexus-fs wrote this")
                .with_path(path)
                .with_hint("open the store with that version"));
        }
        let record = match rest.byte() {
            Some(0) => Some(Self::Directory),
            Some(1) => FileRecord::decode(&mut rest).map(Self::File),
            _ => None,
        };
        record.filter(|_| rest.0.is_empty()).ok_or_else(damaged)
    }

    /// A number that stands for the record and its path in the sum over a whole store.
    #[must_use]
    pub fn weight(encoded: &[u8]) -> u128 {
        encoded.last_chunk::<CHECK>().map_or(0, |check| u128::from_le_bytes(*check))
    }

    /// The file that this is of, if it is of one.
    #[must_use]
    pub fn file(&self) -> Option<&FileRecord> {
        match self {
            Self::File(file) => Some(file),
            Self::Directory => None,
        }
    }

    /// As callers of the backend see it.
    #[must_use]
    pub fn metadata(&self) -> Metadata {
        self.file().map_or_else(Metadata::directory, FileRecord::metadata)
    }
}

impl FileRecord {
    /// The version as callers see it.
    #[must_use]
    pub fn neutral_version(&self) -> Version {
        Version::new(format!("{:x}", self.version))
    }

    /// As callers of the backend see it.
    #[must_use]
    pub fn metadata(&self) -> Metadata {
        let mut metadata = Metadata::new(EntryKind::File);
        metadata.size = Some(self.size);
        metadata.modified = time(self.modified);
        metadata.version = Some(self.neutral_version());
        metadata.digest = Some(self.digest);
        metadata.content_type.clone_from(&self.content_type);
        metadata.user.clone_from(&self.user);
        metadata
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.push(1);
        bytes.extend_from_slice(&self.version.to_le_bytes());
        bytes.extend_from_slice(&self.size.to_le_bytes());
        bytes.extend_from_slice(&self.modified.to_le_bytes());
        bytes.extend_from_slice(self.digest.as_bytes());
        match &self.content_type {
            Some(text) => put_text(bytes, text),
            None => bytes.extend_from_slice(&NO_TEXT.to_le_bytes()),
        }
        bytes.extend_from_slice(&(self.user.len() as u32).to_le_bytes());
        for (key, value) in &self.user {
            put_text(bytes, key);
            put_text(bytes, value);
        }
    }

    fn decode(rest: &mut Reader<'_>) -> Option<Self> {
        let version = u64::from_le_bytes(rest.array()?);
        let size = u64::from_le_bytes(rest.array()?);
        let modified = i64::from_le_bytes(rest.array()?);
        let digest = Digest::from_bytes(rest.array()?);
        let content_type = match u32::from_le_bytes(rest.array()?) {
            NO_TEXT => None,
            length => Some(rest.text(length)?.into()),
        };
        let mut user = BTreeMap::new();
        for _ in 0..u32::from_le_bytes(rest.array()?) {
            let (key, value) = (rest.prefixed()?, rest.prefixed()?);
            // Each key once, in order: a record has one form.
            if user.last_key_value().is_some_and(|(last, _): (&String, _)| last.as_str() >= key) {
                return None;
            }
            user.insert(key.to_owned(), value.to_owned());
        }
        Some(Self { digest, size, modified, version, content_type, user })
    }
}

/// Nanoseconds since 1970 at this moment.
pub(crate) fn now() -> i64 {
    nanos(SystemTime::now())
}

/// Nanoseconds since 1970 at a time; 0 for one before.
pub(crate) fn nanos(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

fn time(nanos: i64) -> Option<SystemTime> {
    let distance = Duration::from_nanos(nanos.unsigned_abs());
    match nanos {
        0.. => SystemTime::UNIX_EPOCH.checked_add(distance),
        _ => SystemTime::UNIX_EPOCH.checked_sub(distance),
    }
}

fn check(path: &str, body: &[u8]) -> [u8; CHECK] {
    let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
    hasher.update(&(path.len() as u64).to_le_bytes());
    hasher.update(path.as_bytes());
    hasher.update(body);
    let mut check = [0; CHECK];
    hasher.finalize_xof().fill(&mut check);
    check
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

/// Takes bytes from the front; `None` where there are too few.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    fn text(&mut self, length: u32) -> Option<&'a str> {
        let (first, rest) = self.0.split_at_checked(length as usize)?;
        self.0 = rest;
        std::str::from_utf8(first).ok()
    }

    fn prefixed(&mut self) -> Option<&'a str> {
        let length = u32::from_le_bytes(self.array()?);
        self.text(length)
    }
}

pub(crate) fn damaged(path: &str) -> Error {
    Error::new(ErrorKind::IntegrityMismatch, "what the store recorded of this path is damaged")
        .with_path(path)
        .with_hint("restore the store from a backup, or write the file again")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file() -> FileRecord {
        FileRecord {
            digest: Digest::of(b"content"),
            size: 7,
            modified: -5,
            version: 0x1f,
            content_type: Some("text/plain".into()),
            user: [("a".to_owned(), "ü".to_owned())].into(),
        }
    }

    #[test]
    fn comes_back_as_it_was() {
        let plain = FileRecord { content_type: None, user: BTreeMap::new(), ..file() };
        for record in [Record::Directory, Record::File(file()), Record::File(plain)] {
            assert_eq!(Record::decode("/a", &record.encode("/a")).unwrap(), record);
        }
    }

    #[test]
    fn any_flipped_bit_and_any_other_path_is_damage() {
        let bytes = Record::File(file()).encode("/a/b");
        for path in ["/a/c", "/a", "/a/b/"] {
            let error = Record::decode(path, &bytes).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::IntegrityMismatch);
        }
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Record::decode("/a/b", &damaged).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn keys_that_repeat_or_are_out_of_order_are_damage() {
        let user: BTreeMap<_, _> =
            ["a", "b"].map(|key| (key.to_owned(), key.to_owned())).into_iter().collect();
        let bytes = Record::File(FileRecord { user, ..file() }).encode("/a");
        let body = &bytes[..bytes.len() - CHECK];
        // The last four texts of one byte, each behind its length.
        let first_key = body.len() - 4 * 5 + 4;
        for key in [b'b', b'c'] {
            let mut changed = body.to_vec();
            changed[first_key] = key;
            let check = check("/a", &changed);
            changed.extend_from_slice(&check);
            let error = Record::decode("/a", &changed).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::IntegrityMismatch);
        }
    }

    #[test]
    fn a_newer_format_is_not_damage() {
        let mut bytes = vec![FORMAT + 1, 0];
        let check = check("/a", &bytes);
        bytes.extend_from_slice(&check);
        let error = Record::decode("/a", &bytes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn times_before_and_after_1970() {
        assert_eq!(time(1), Some(SystemTime::UNIX_EPOCH + Duration::from_nanos(1)));
        assert_eq!(time(-1), Some(SystemTime::UNIX_EPOCH - Duration::from_nanos(1)));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            // With a check that fits, so that the parser behind it is reached.
            let mut whole = bytes.clone();
            whole.extend_from_slice(&check("/x", &bytes));
            if let Ok(record) = Record::decode("/x", &whole) {
                prop_assert_eq!(record.encode("/x"), whole);
            }
        }
    }
}
