//! What may be asked of a verb beyond its path.

use std::collections::BTreeMap;
use std::ops::{Range, RangeFrom};

use crate::{Error, ErrorKind, Result, Version, VfsPath};

/// A half-open range of bytes, `start..end` or `start..`.
///
/// A range that begins past the end of the object is `RangeNotSatisfiable`; one that begins at the
/// end is empty; one that ends past it is cut there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    start: u64,
    end: Option<u64>,
}

impl ByteRange {
    /// `start..end`, or `start..` without an end.
    ///
    /// # Errors
    /// `RangeNotSatisfiable` when `end` is before `start`.
    pub fn new(start: u64, end: Option<u64>) -> Result<Self> {
        if end.is_some_and(|end| end < start) {
            return Err(Error::new(
                ErrorKind::RangeNotSatisfiable,
                "the range ends before it begins",
            ));
        }
        Ok(Self { start, end })
    }

    /// First byte.
    #[must_use]
    pub fn start(self) -> u64 {
        self.start
    }

    /// One past the last byte asked for; `None` for all that follows.
    #[must_use]
    pub fn end(self) -> Option<u64> {
        self.end
    }

    /// The bytes to serve from an object of `size` bytes.
    ///
    /// # Errors
    /// `RangeNotSatisfiable` when the range begins past the end.
    pub fn resolve(self, size: u64) -> Result<Range<u64>> {
        if self.start > size {
            return Err(Error::new(
                ErrorKind::RangeNotSatisfiable,
                format!("the range begins at {}, the object has {size} bytes", self.start),
            ));
        }
        Ok(self.start..self.end.unwrap_or(size).min(size))
    }
}

impl From<RangeFrom<u64>> for ByteRange {
    fn from(range: RangeFrom<u64>) -> Self {
        Self { start: range.start, end: None }
    }
}

impl TryFrom<Range<u64>> for ByteRange {
    type Error = Error;

    fn try_from(range: Range<u64>) -> Result<Self> {
        Self::new(range.start, Some(range.end))
    }
}

/// Options of a read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// The bytes to read; all of them by default.
    pub range: Option<ByteRange>,
    /// Serve this version only, else `PreconditionFailed`.
    pub if_match: Option<Version>,
    /// Serve any version but this one, else `NotModified`.
    pub if_none_match: Option<Version>,
}

impl ReadOptions {
    /// Options that ask for `range` only.
    pub fn range(range: impl Into<ByteRange>) -> Self {
        Self { range: Some(range.into()), ..Self::default() }
    }

    /// Checks the two preconditions against the `current` version; the same for every backend that
    /// has versions at hand before it serves bytes.
    ///
    /// # Errors
    /// `PreconditionFailed` or `NotModified`.
    pub fn check(&self, current: Option<&Version>) -> Result<()> {
        if self.if_match.is_some() && self.if_match.as_ref() != current {
            return Err(version_changed());
        }
        if self.if_none_match.is_some() && self.if_none_match.as_ref() == current {
            return Err(Error::new(ErrorKind::NotModified, "the version is still the same"));
        }
        Ok(())
    }
}

/// What a write may replace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum WriteMode {
    /// Whatever is there, or nothing.
    #[default]
    Overwrite,
    /// Nothing: `AlreadyExists` when there is something.
    Create,
    /// Exactly this version: `PreconditionFailed` when there is another, `NotFound` when there is
    /// none.
    Replace(Version),
}

impl WriteMode {
    /// Checks the mode against the `current` version at the target (`None`: nothing is there).
    ///
    /// # Errors
    /// `AlreadyExists`, `PreconditionFailed` or `NotFound`.
    pub fn check(&self, current: Option<&Version>) -> Result<()> {
        match (self, current) {
            (Self::Create, Some(_)) => {
                Err(Error::new(ErrorKind::AlreadyExists, "something is there already"))
            }
            (Self::Replace(_), None) => {
                Err(Error::new(ErrorKind::NotFound, "there is nothing to replace"))
            }
            (Self::Replace(wanted), Some(current)) if wanted != current => Err(version_changed()),
            _ => Ok(()),
        }
    }
}

fn version_changed() -> Error {
    Error::new(ErrorKind::PreconditionFailed, "the version has changed")
}

/// Options of a write, whole or streaming.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// What may be replaced.
    pub mode: WriteMode,
    /// Media type to store. A backend that can not store one refuses it.
    pub content_type: Option<String>,
    /// The user's own keys and values. A backend that can not store them refuses them.
    pub user: BTreeMap<String, String>,
    /// Answer only when the object survives a power cut, whatever the mount's own setting is.
    pub durable: bool,
    /// Record no digest: the caller keeps one itself. Saves hashing the content twice.
    pub skip_digest: bool,
}

impl From<WriteMode> for WriteOptions {
    fn from(mode: WriteMode) -> Self {
        Self { mode, ..Self::default() }
    }
}

/// Options of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListOptions {
    /// Everything below the path instead of its direct children; a directory comes before what is
    /// in it. Symbolic links are listed, never followed. A directory below that can not be listed
    /// is one error in the stream, which goes on beside it.
    pub recursive: bool,
    /// Only entries whose path sorts after this one, bytewise. Needs a backend that lists in order.
    pub start_after: Option<VfsPath>,
    /// At most this many entries.
    pub limit: Option<usize>,
    /// Paths and kinds are enough: the store may leave out all other metadata where it costs
    /// extra.
    pub names_only: bool,
}

/// One thing to delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteTarget {
    /// The file, or the symbolic link itself.
    pub path: VfsPath,
    /// Delete only while `stat` answers this version (for a link, that of what it leads to), else
    /// `PreconditionFailed`.
    pub if_version: Option<Version>,
}

impl From<VfsPath> for DeleteTarget {
    fn from(path: VfsPath) -> Self {
        Self { path, if_version: None }
    }
}

/// What a delete that did not fail found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// It was there, and is gone.
    Removed,
    /// Nothing was there.
    Absent,
    /// It is gone; the store does not tell whether it was there.
    Gone,
}

/// How a copy was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CopyMethod {
    /// Only metadata was written; no byte of content moved.
    Metadata,
    /// The store shares the content until one side changes (reflink).
    Reflink,
    /// The store moved the bytes by itself.
    ServerSide,
    /// The bytes went through this program.
    Streamed,
}

impl CopyMethod {
    /// The method in one lower-case word, as output has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Metadata => "metadata",
            Self::Reflink => "reflink",
            Self::ServerSide => "server-side",
            Self::Streamed => "streamed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_resolve_against_the_size() {
        let range = |start, end| ByteRange::new(start, end).unwrap().resolve(10);
        assert_eq!(range(0, None).unwrap(), 0..10);
        assert_eq!(range(2, Some(5)).unwrap(), 2..5);
        assert_eq!(range(8, Some(99)).unwrap(), 8..10);
        assert_eq!(range(10, None).unwrap(), 10..10);
        assert_eq!(range(11, None).unwrap_err().kind(), ErrorKind::RangeNotSatisfiable);
        assert_eq!(range(u64::MAX, None).unwrap_err().kind(), ErrorKind::RangeNotSatisfiable);
        assert!(ByteRange::new(5, Some(4)).is_err());
        assert_eq!(ByteRange::from(0..).resolve(0).unwrap(), 0..0);
    }

    #[test]
    fn write_modes_tell_their_three_refusals_apart() {
        let (one, two) = (Version::new("1"), Version::new("2"));
        let kind = |mode: WriteMode, current| mode.check(current).map_err(|e| e.kind());
        assert_eq!(kind(WriteMode::Overwrite, Some(&one)), Ok(()));
        assert_eq!(kind(WriteMode::Create, None), Ok(()));
        assert_eq!(kind(WriteMode::Create, Some(&one)), Err(ErrorKind::AlreadyExists));
        assert_eq!(kind(WriteMode::Replace(one.clone()), Some(&one)), Ok(()));
        assert_eq!(kind(WriteMode::Replace(one.clone()), None), Err(ErrorKind::NotFound));
        assert_eq!(kind(WriteMode::Replace(two), Some(&one)), Err(ErrorKind::PreconditionFailed));
    }

    #[test]
    fn read_preconditions() {
        let (one, two) = (Version::new("1"), Version::new("2"));
        let matching =
            |v: &Version| ReadOptions { if_match: Some(v.clone()), ..Default::default() };
        let unless =
            |v: &Version| ReadOptions { if_none_match: Some(v.clone()), ..Default::default() };
        assert!(matching(&one).check(Some(&one)).is_ok());
        assert_eq!(
            matching(&two).check(Some(&one)).unwrap_err().kind(),
            ErrorKind::PreconditionFailed
        );
        assert_eq!(matching(&two).check(None).unwrap_err().kind(), ErrorKind::PreconditionFailed);
        assert_eq!(unless(&one).check(Some(&one)).unwrap_err().kind(), ErrorKind::NotModified);
        assert!(unless(&two).check(Some(&one)).is_ok());
    }
}
