//! What a mounted backend can really do. Asked once at mount; behaviour that differs from what is
//! declared here is a defect, and the conformance suite looks for it.

use std::path::PathBuf;

use serde::Serialize;

use crate::Report;

/// How a store keeps directories.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Directories {
    /// A directory is a thing of its own: it can be empty.
    Real,
    /// A directory is there while a key below it is.
    #[default]
    Virtual,
}

/// The order in which a listing comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ListOrder {
    /// None that could be relied on.
    #[default]
    Unordered,
    /// By the bytes of the path.
    Bytewise,
}

/// What becomes of digests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Digests {
    /// Content has no recorded digest.
    #[default]
    None,
    /// Recorded when nexus-fs writes, verified on whole reads while the object is unchanged.
    Recorded,
    /// Every object has one, and every byte that is read is verified.
    Verified,
}

/// Where the bytes of a storage mount lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// An object at its own key, a file at its own path, as every other tool sees it.
    #[default]
    Plain,
    /// Content named by its digest and stored once.
    Cas,
}

impl Layout {
    /// The layout in one lower-case word, as the mount option has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Cas => "cas",
        }
    }
}

/// The largest values that a store takes, in bytes unless said otherwise; `None` where it has no
/// limit of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// A whole path inside the mount.
    pub path_bytes: Option<usize>,
    /// One segment.
    pub segment_bytes: Option<usize>,
    /// Content given to `write` in one call.
    pub write_bytes: Option<u64>,
    /// Targets of one `delete` call that the store takes in one request.
    pub delete_batch: Option<usize>,
}

/// What works here. A verb or option whose capability is absent answers `Unsupported`, before any
/// side effect. Reading, `stat` and listing always work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Capabilities {
    /// `write`, `upload` and `delete`.
    pub write: bool,
    /// `WriteMode::Create`, exact under concurrent writers.
    pub create: bool,
    /// `WriteMode::Replace`, exact under concurrent writers that use nexus-fs.
    pub replace: bool,
    /// `DeleteTarget::if_version`.
    pub delete_if_version: bool,
    /// `if_match` and `if_none_match` on reads; every file has a version.
    pub versions: bool,
    /// A version may come back with the same content: it is made from the content alone, as the
    /// entity tags of some stores are. Otherwise no version is given out twice.
    pub versions_repeat: bool,
    /// `copy` inside the store.
    pub copy: bool,
    /// `copy` takes `WriteMode::Overwrite` only; any other mode is refused.
    pub copy_overwrites_only: bool,
    /// `rename` of files, atomic.
    pub rename: bool,
    /// `rename` of directories, atomic.
    pub rename_dir: bool,
    /// `create_dir` and `remove_dir`, and what directories are.
    pub directories: Directories,
    /// `ListOptions::recursive` without asking directory by directory.
    pub list_recursive: bool,
    /// `ListOptions::start_after`.
    pub list_start_after: bool,
    /// Order of listings.
    pub list_order: ListOrder,
    /// `WriteOptions::content_type` is stored.
    pub content_type: bool,
    /// `WriteOptions::user` is stored.
    pub user_metadata: bool,
    /// `Upload::publish_at`.
    pub upload_named_last: bool,
    /// What becomes of digests.
    pub digests: Digests,
    /// Where bytes lie.
    pub layout: Layout,
    /// Limits of the store.
    pub limits: Limits,
    /// A directory of this machine that holds all the data, where there is one: its real path, links
    /// followed, so that two mounts of one directory can be told.
    pub local_root: Option<PathBuf>,
    /// A directory of this machine in which the store keeps files of its own, which are no paths of the
    /// mount. Its real path, links followed.
    pub own_files: Option<PathBuf>,
    /// What the store calls itself, where it has a name of its own: mounts with the same one show
    /// the same paths, whichever process or machine made them.
    pub store_id: Option<Box<str>>,
}

/// What a backend is, asked once when it is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Info {
    /// Its scheme.
    pub scheme: &'static str,
    /// Its URI as it may be shown and saved: absolute, and without secrets.
    pub uri: String,
    /// Why this layout was chosen, in one sentence; empty where there is no choice.
    pub layout_reason: String,
    /// Which credentials are used and where they were found; `None` where none are needed.
    pub credentials: Option<Report>,
    /// What works here.
    pub capabilities: Capabilities,
}
