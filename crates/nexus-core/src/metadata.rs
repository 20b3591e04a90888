//! What is known of an object without reading it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use crate::{Digest, VfsPath};

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EntryKind {
    /// An object with content.
    File,
    /// A directory, real or implied by the keys below it.
    Directory,
    /// A link in a listing. `stat` and `read` follow it when it stays inside the mount; a walk
    /// never descends through it.
    Symlink,
    /// Something without content that can be read here: a socket, a device, a pipe.
    Other,
}

impl EntryKind {
    /// The kind in one lower-case word, as JSON output has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Symlink => "symlink",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for EntryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a precondition compares: one state of one object, in the store's own words (etag,
/// generation, revision, inode and times). Opaque; equal exactly when the state is the same.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Version(Box<str>);

impl Version {
    /// A version, as the store names it.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The store's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version({})", self.0)
    }
}

/// What is known of an object. A field is `None` where the store does not say; nothing is guessed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metadata {
    /// What it is.
    pub kind: EntryKind,
    /// Length of the content in bytes. `None` for directories, and for what is rendered on demand.
    pub size: Option<u64>,
    /// When the content last changed, by the store's clock.
    pub modified: Option<SystemTime>,
    /// The entity tag, exactly as the store sent it.
    pub etag: Option<Box<str>>,
    /// The state that a precondition compares.
    pub version: Option<Version>,
    /// BLAKE3 of the content, where it was recorded for this very state.
    pub digest: Option<Digest>,
    /// Media type, where one was stored.
    pub content_type: Option<Box<str>>,
    /// The user's own keys and values.
    pub user: BTreeMap<String, String>,
}

impl Metadata {
    /// Metadata of a `kind`, with nothing else known.
    #[must_use]
    pub fn new(kind: EntryKind) -> Self {
        Self {
            kind,
            size: None,
            modified: None,
            etag: None,
            version: None,
            digest: None,
            content_type: None,
            user: BTreeMap::new(),
        }
    }

    /// Metadata of a file of `size` bytes.
    #[must_use]
    pub fn file(size: u64) -> Self {
        Self { size: Some(size), ..Self::new(EntryKind::File) }
    }

    /// Metadata of a directory.
    #[must_use]
    pub fn directory() -> Self {
        Self::new(EntryKind::Directory)
    }

    /// Whether this is a file.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.kind == EntryKind::File
    }

    /// Whether this is a directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.kind == EntryKind::Directory
    }
}

/// One item of a listing: a path and what the store told about it for free.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it is: in the mount for a backend, in the namespace for the kernel.
    pub path: VfsPath,
    /// What the listing told; `stat` may know more.
    pub metadata: Metadata,
}

impl Entry {
    /// An entry.
    #[must_use]
    pub fn new(path: VfsPath, metadata: Metadata) -> Self {
        Self { path, metadata }
    }
}
