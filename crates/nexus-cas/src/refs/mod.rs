//! Refs: which path has which content. What keeps them is behind a trait, so that a store on this
//! computer, one in a bucket and one in a database server can share everything else.

pub mod sqlite;

use std::collections::BTreeMap;

use nexus_core::{
    Bytes, DeleteTarget, Deleted, Digest, Result, Usage, Version, VfsPath, WriteMode, async_trait,
};

use crate::manifest::Manifest;
use crate::record::{FileRecord, Record};

/// Where content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Beside the refs.
    Inline,
    /// A blob of its own.
    Blob,
    /// In chunks, each a blob; the manifest is beside the refs.
    Chunked,
}

/// What must be there when refs are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The refs of a store that was made: without them it is damaged.
    Refs,
    /// Perhaps nothing yet: they are made then.
    Anything,
}

/// Content that is where it will stay, before a path has it.
#[derive(Clone, Debug)]
pub enum NewContent {
    /// The bytes themselves, to be kept beside the refs.
    Inline(Bytes),
    /// A blob, which is there.
    Blob,
    /// Chunks, which are there, and whose pins hold until the change is made.
    Chunked(Manifest),
    /// In chunks already; `Missing` when it no longer is.
    Known,
}

impl NewContent {
    /// Content whose chunks are there. One chunk is the content itself.
    pub(crate) fn in_chunks(manifest: Manifest) -> Self {
        match manifest.chunks() {
            [_] => Self::Blob,
            _ => Self::Chunked(manifest),
        }
    }
}

/// Content that a path is to have.
#[derive(Clone, Debug)]
pub struct NewFile {
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Where it is.
    pub content: NewContent,
    /// Media type, where one was given.
    pub content_type: Option<Box<str>>,
    /// The user's own keys and values.
    pub user: BTreeMap<String, String>,
    /// Pins that are no longer needed once the path has the content.
    pub pins: Vec<Pin>,
}

/// What is kept beside the refs of a content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Where the content is.
    pub place: Place,
    /// The content itself, or its manifest; `None` for a blob.
    pub bytes: Option<Bytes>,
}

/// A promise that the collector keeps away from a digest, until it is released or the process that
/// made it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin(pub(crate) i64);

/// One change of refs; atomic.
#[derive(Clone, Debug)]
pub enum Change {
    /// Gives a path content. `Missing` when the content is no longer there.
    Put {
        /// Where.
        path: VfsPath,
        /// What.
        file: Box<NewFile>,
        /// What may be replaced.
        mode: WriteMode,
    },
    /// Gives a path the content of another.
    Copy {
        /// The other.
        from: VfsPath,
        /// The path.
        to: VfsPath,
        /// What may be replaced.
        mode: WriteMode,
    },
    /// Moves a file, or a directory with everything below it.
    Rename {
        /// From where.
        from: VfsPath,
        /// To where.
        to: VfsPath,
        /// What may be replaced.
        mode: WriteMode,
    },
    /// Takes a path's content away.
    Delete(DeleteTarget),
    /// Makes a directory, and those above it.
    CreateDir(VfsPath),
    /// Removes an empty directory.
    RemoveDir(VfsPath),
    /// Keeps the collector away from a digest.
    Pin(Digest),
    /// Lets it come again.
    Unpin(Pin),
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The path has the content, and this record.
    Put {
        /// The record.
        record: FileRecord,
        /// Whether the refs knew the content before.
        known: bool,
    },
    /// The content is not there: put it again, then the ref.
    Missing,
    /// What the delete found.
    Deleted(Deleted),
    /// The pin.
    Pinned(Pin),
    /// Done, and there is nothing to tell.
    Done,
}

/// A content that some path needs, or needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// The bytes that it takes.
    pub stored: u64,
    /// Where it is; `None` when what is recorded of it is damaged.
    pub place: Option<Place>,
    /// Whether it was ever given to a second path. What is beside the refs then waits for the collector,
    /// which looks twice, instead of going with the last path.
    pub shared: bool,
    /// When it was last read back, in nanoseconds since 1970; 0 for never.
    pub checked: i64,
}

/// What the refs ask of whatever keeps the blobs. Called from the thread that holds the write lock:
/// must not wait for refs.
pub trait Probe: Send + Sync {
    /// Whether the blob is there, with this size.
    fn is_there(&self, digest: &Digest, size: u64) -> Result<bool>;

    /// Takes a blob that was found damaged, or absent, in this version out of the way. False, and no
    /// change, when it has another one now.
    fn set_aside(&self, digest: &Digest, version: Option<&Version>) -> Result<bool>;

    /// Removes blobs. One that is absent is success.
    fn remove(&self, digests: &[Digest]) -> Result<()>;
}

/// The refs of one store. Every method is exact under concurrent use by several processes.
///
/// A future that is dropped changes nothing any more.
#[async_trait]
pub trait Refs: Send + Sync + 'static {
    /// The record of a path. The root has none.
    async fn get(&self, path: &VfsPath) -> Result<Option<Record>>;

    /// The record of a path, and what is kept beside the refs of its content; both of one moment.
    async fn open(&self, path: &VfsPath) -> Result<Option<(Record, Option<Kept>)>>;

    /// Up to `count` entries below `dir` that sort after `after`, by the bytes of their paths.
    async fn page(
        &self,
        dir: &VfsPath,
        recursive: bool,
        after: Option<String>,
        count: usize,
    ) -> Result<Vec<(VfsPath, Record)>>;

    /// Makes a change, and answers when it is as durable as the store promises.
    async fn apply(&self, change: Change) -> Result<Outcome>;

    /// Releases a pin, without waiting: for content that no path was given after all.
    fn release(&self, pin: Pin);

    /// From when on, in nanoseconds since 1970, the system was not restarted. Blobs that were neither
    /// written nor read back since then may have lost their content in a power cut.
    fn trusted_since(&self) -> i64;

    /// What the store holds.
    async fn usage(&self) -> Result<Usage>;

    /// A content that this is a chunk of, if there is one.
    async fn whole_of(&self, chunk: &Digest) -> Result<Option<Manifest>>;

    /// A content, if the refs know of it, and what is kept beside them. `IntegrityMismatch` when what
    /// is recorded of it is damaged.
    async fn content(&self, digest: &Digest) -> Result<Option<(Content, Option<Bytes>)>>;

    /// Up to `count` contents that some path needs and that were not read back since `before`, in
    /// nanoseconds since 1970, the one checked longest ago first, after the place (time, digest) of the
    /// last one given.
    async fn due(
        &self,
        before: i64,
        after: Option<(i64, Digest)>,
        count: usize,
    ) -> Result<Vec<Content>>;

    /// Records that a content was read back now.
    async fn checked(&self, digest: &Digest, at: i64) -> Result<()>;

    /// What is recorded of a content, and which paths need it, at one moment.
    async fn needed(&self, digest: &Digest) -> Result<(Option<Kept>, Vec<VfsPath>)>;

    /// Takes a blob that was found damaged, or absent, in this version out of the way, while nobody can
    /// give it a path; answers which paths have it. `None`, and no change, when it has another version
    /// now: it was put again, or collected.
    async fn set_aside(
        &self,
        digest: &Digest,
        version: Option<Version>,
    ) -> Result<Option<Vec<VfsPath>>>;

    /// Since when contents are read back in a run that did not come to its end, in nanoseconds since 1970.
    async fn run(&self) -> Result<Option<i64>>;

    /// Records that such a run began, or that it came to its end.
    async fn set_run(&self, before: Option<i64>) -> Result<()>;

    /// Which of these nothing refers to, and no live pin keeps.
    async fn unneeded(&self, digests: Vec<Digest>) -> Result<Vec<Digest>>;

    /// Up to `count` contents, by digest and after `after`, that paths have and nothing is recorded of.
    async fn unknown(&self, after: Option<Digest>, count: usize) -> Result<Vec<Content>>;

    /// Up to `count` contents, by digest and after `after`, that the refs know of and no path has.
    async fn unreferenced(&self, after: Option<Digest>, count: usize) -> Result<Vec<Content>>;

    /// Removes those of `digests` that nothing refers to, blobs included, exactly; answers how many.
    async fn collect(&self, digests: Vec<Digest>) -> Result<u64>;

    /// Records anew where a content is that was damaged, and releases the pins. The caller has checked
    /// the content, and put it there.
    async fn mend(&self, file: NewFile) -> Result<()>;

    /// Looks at everything that the refs recorded, and fails when a part of it is damaged or gone.
    async fn audit(&self) -> Result<()>;

    /// Waits for changes under way and releases everything. Later calls answer `Closed`.
    async fn close(&self) -> Result<()>;
}
