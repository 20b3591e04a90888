//! From file attributes to metadata, versions and recorded digests.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use cap_std::fs::MetadataExt;
use nexus_core::{Digest, EntryKind, Metadata, Version};
use rustix::fs::{FileType, Stat, Timespec, Timestamps};
use rustix::io::Errno;

/// The attributes that matter here, as the system told them at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) kind: EntryKind,
    pub(crate) size: u64,
    /// Permission bits.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    dev: u64,
    ino: u64,
    /// Nanoseconds since 1970; the year 2262 is the last.
    modified: i64,
    changed: i64,
}

const NANOS: i64 = 1_000_000_000;

fn nanos(seconds: i64, nanoseconds: i64) -> i64 {
    seconds.saturating_mul(NANOS).saturating_add(nanoseconds)
}

fn kind_of(file_type: FileType) -> EntryKind {
    match file_type {
        FileType::RegularFile => EntryKind::File,
        FileType::Directory => EntryKind::Directory,
        FileType::Symlink => EntryKind::Symlink,
        _ => EntryKind::Other,
    }
}

impl From<Stat> for Attributes {
    #[allow(clippy::unnecessary_cast, reason = "the types differ from system to system")]
    fn from(stat: Stat) -> Self {
        Self {
            kind: kind_of(FileType::from_raw_mode(stat.st_mode)),
            size: stat.st_size as u64,
            mode: stat.st_mode as u32 & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            dev: stat.st_dev as u64,
            ino: stat.st_ino as u64,
            modified: nanos(stat.st_mtime, stat.st_mtime_nsec as i64),
            changed: nanos(stat.st_ctime, stat.st_ctime_nsec as i64),
        }
    }
}

impl From<&cap_std::fs::Metadata> for Attributes {
    #[allow(clippy::unnecessary_cast, reason = "the types differ from system to system")]
    fn from(metadata: &cap_std::fs::Metadata) -> Self {
        Self {
            kind: kind_of(FileType::from_raw_mode(metadata.mode() as rustix::fs::RawMode)),
            size: metadata.size(),
            mode: metadata.mode() & 0o7777,
            uid: metadata.uid(),
            gid: metadata.gid(),
            dev: metadata.dev(),
            ino: metadata.ino(),
            modified: nanos(metadata.mtime(), metadata.mtime_nsec()),
            changed: nanos(metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl Attributes {
    /// The version: inode number, size, and both times to the nanosecond.
    ///
    /// An inode number may be used again at once, and the clock of a file system ticks in
    /// milliseconds; two files in turn under one name could look the same. So nexus-fs sets the
    /// modification time of each file that it writes from the nanosecond clock (see [`stamp`]).
    pub(crate) fn version(&self) -> Version {
        let Self { ino, size, modified, changed, .. } = self;
        Version::new(format!("{ino:x}-{size:x}-{modified:x}-{changed:x}"))
    }

    /// The metadata; `digest` is the one recorded for this very state.
    pub(crate) fn metadata(&self, digest: Option<Digest>) -> Metadata {
        let mut metadata = Metadata::new(self.kind);
        let nanos = Duration::from_nanos(self.modified.unsigned_abs());
        metadata.modified = if self.modified >= 0 {
            SystemTime::UNIX_EPOCH.checked_add(nanos)
        } else {
            SystemTime::UNIX_EPOCH.checked_sub(nanos)
        };
        if self.kind == EntryKind::File {
            metadata.size = Some(self.size);
            metadata.version = Some(self.version());
            metadata.digest = digest;
        }
        metadata
    }

    /// Whether the content can only be the same: a time of last change alone may differ, as
    /// permissions and names do not change content.
    pub(crate) fn same_content(&self, other: &Self) -> bool {
        (self.ino, self.size, self.modified) == (other.ino, other.size, other.modified)
    }

    /// Whether both are of one file, in whatever state.
    pub(crate) fn same_file(&self, other: &Self) -> bool {
        (self.dev, self.ino) == (other.dev, other.ino)
    }

    /// Metadata for a listing that needs the kind only.
    pub(crate) fn kind_only(file_type: FileType) -> Metadata {
        Metadata::new(kind_of(file_type))
    }
}

/// The extended attribute that keeps the digest.
#[cfg(any(target_os = "linux", target_vendor = "apple"))]
mod xattr {
    use std::os::fd::AsFd;

    use rustix::fs::{XattrFlags, fgetxattr, fsetxattr};
    use rustix::io::Result;

    const NAME: &str = "user.nexus-fs.digest";

    pub(super) fn get(file: impl AsFd, value: &mut [u8]) -> Result<usize> {
        fgetxattr(file, NAME, value)
    }

    pub(super) fn set(file: impl AsFd, value: &[u8]) -> Result<()> {
        fsetxattr(file, NAME, value, XattrFlags::empty())
    }
}

/// A system without extended attributes is like a file system without them.
#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
mod xattr {
    use std::os::fd::AsFd;

    use rustix::io::{Errno, Result};

    pub(super) fn get(_: impl AsFd, _: &mut [u8]) -> Result<usize> {
        Err(Errno::OPNOTSUPP)
    }

    pub(super) fn set(_: impl AsFd, _: &[u8]) -> Result<()> {
        Err(Errno::OPNOTSUPP)
    }
}

/// Its value: a format number, the digest, and the size and modification time that it holds for,
/// little-endian. The time of last change is not part of it: setting the attribute changes that.
const FORMAT: u8 = 1;
const LENGTH: usize = 1 + 32 + 8 + 8;

/// Whether the file system keeps extended attributes.
pub(crate) fn keeps_digests(dir: &OwnedFd) -> bool {
    let mut value = [0; LENGTH];
    !matches!(
        xattr::get(dir, &mut value),
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM | Errno::ACCESS)
    )
}

/// Gives a file that was just written a modification time of its own and, where the file system
/// keeps it, its digest. Answers whether the digest was kept.
pub(crate) fn stamp(file: &OwnedFd, size: u64, digest: Option<Digest>) -> rustix::io::Result<bool> {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let keep = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT as _ };
    rustix::fs::futimens(file, &Timestamps { last_access: keep, last_modification: now })?;
    let Some(digest) = digest else { return Ok(false) };
    let value = encode(&digest, size, nanos(now.tv_sec, now.tv_nsec as i64));
    // A digest that can not be kept costs the check, not the file.
    Ok(xattr::set(file, &value).is_ok())
}

/// The digest that was recorded for a file in the state `attributes`.
fn recorded(file: impl AsFd, attributes: &Attributes) -> Option<Digest> {
    let mut value = [0; LENGTH];
    let length = xattr::get(file, &mut value).ok()?;
    (length == LENGTH).then(|| decode(&value, attributes)).flatten()
}

fn encode(digest: &Digest, size: u64, modified: i64) -> [u8; LENGTH] {
    let mut value = [0; LENGTH];
    value[0] = FORMAT;
    value[1..33].copy_from_slice(digest.as_bytes());
    value[33..41].copy_from_slice(&size.to_le_bytes());
    value[41..].copy_from_slice(&modified.to_le_bytes());
    value
}

fn decode(value: &[u8; LENGTH], attributes: &Attributes) -> Option<Digest> {
    let digest: [u8; 32] = value[1..33].try_into().ok()?;
    let digest = Digest::from_bytes(digest);
    (*value == encode(&digest, attributes.size, attributes.modified)).then_some(digest)
}

/// Digests that were read lately, so that a hot file costs no look at its extended attribute. Any
/// change of the attribute changes the time of last change, which is part of the key.
pub(crate) struct DigestCache {
    slots: Box<[Slot]>,
}

/// A file's state, and the digest that is recorded for it.
type Slot = Mutex<Option<(Attributes, Option<Digest>)>>;

const SLOTS: usize = 2048;

impl DigestCache {
    pub(crate) fn new() -> Self {
        Self { slots: (0..SLOTS).map(|_| Mutex::default()).collect() }
    }

    /// The digest recorded for `attributes`, if it was asked for lately; the inner `None` says that
    /// there is none.
    pub(crate) fn get(&self, attributes: &Attributes) -> Option<Option<Digest>> {
        match &*self.slot(attributes).lock().unwrap_or_else(PoisonError::into_inner) {
            Some((known, digest)) if known == attributes => Some(*digest),
            _ => None,
        }
    }

    /// The digest recorded for the open `file`, whose attributes these are.
    pub(crate) fn digest(&self, file: impl AsFd, attributes: &Attributes) -> Option<Digest> {
        if attributes.kind != EntryKind::File {
            return None;
        }
        if let Some(known) = self.get(attributes) {
            return known;
        }
        let digest = recorded(file, attributes);
        let mut slot = self.slot(attributes).lock().unwrap_or_else(PoisonError::into_inner);
        *slot = Some((*attributes, digest));
        digest
    }

    fn slot(&self, attributes: &Attributes) -> &Slot {
        // Inode numbers of one directory follow each other: their low bits spread best.
        &self.slots[attributes.ino as usize % SLOTS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: Attributes = Attributes {
        kind: EntryKind::File,
        size: 3,
        mode: 0o644,
        uid: 1,
        gid: 1,
        dev: 1,
        ino: 7,
        modified: -5,
        changed: 9,
    };

    #[test]
    fn a_recorded_digest_holds_for_one_state_only() {
        let digest = Digest::of(b"abc");
        let value = encode(&digest, STATE.size, STATE.modified);
        assert_eq!(decode(&value, &STATE), Some(digest));
        assert_eq!(decode(&value, &Attributes { size: 4, ..STATE }), None);
        assert_eq!(decode(&value, &Attributes { modified: 0, ..STATE }), None);
        let mut other = value;
        other[0] = FORMAT + 1;
        assert_eq!(decode(&other, &STATE), None);
    }

    #[test]
    fn every_part_of_a_version_counts() {
        let versions = [
            STATE,
            Attributes { ino: 8, ..STATE },
            Attributes { size: 4, ..STATE },
            Attributes { modified: 1, ..STATE },
            Attributes { changed: 1, ..STATE },
        ]
        .map(|state| state.version());
        for (index, version) in versions.iter().enumerate() {
            assert!(!versions[..index].contains(version), "{version}");
        }
    }

    #[test]
    fn times_before_1970_are_times() {
        let modified = STATE.metadata(None).modified.unwrap();
        assert_eq!(SystemTime::UNIX_EPOCH.duration_since(modified).unwrap().as_nanos(), 5);
    }
}
