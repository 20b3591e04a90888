//! What a store that keeps content by digest can do for itself: say what it holds, read everything
//! back, mend it, and collect what nobody refers to. The kernel adds what needs other mounts.

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use serde::Serialize;

use crate::{Body, ByteRange, Digest, Result, VfsPath};

/// What a content-addressed store holds, in files and in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Files, as paths count them.
    pub files: u64,
    /// Their sizes together: what they would take without sharing, in bytes.
    pub logical_bytes: u64,
    /// Different contents.
    pub contents: u64,
    /// The bytes of the contents that are kept, trees and manifests included.
    pub stored_bytes: u64,
}

/// What was written through one mount since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// Contents that were new to the store.
    pub new_contents: u64,
    /// Their bytes.
    pub new_bytes: u64,
    /// Contents that the store held already.
    pub known_contents: u64,
    /// Their bytes, none of which was stored again.
    pub known_bytes: u64,
}

/// What reading one content back found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Every byte is as it was written.
    Good,
    /// It is damaged, or missing. What was left of it is in quarantine.
    Bad {
        /// Every path that needs it.
        harmed: Vec<VfsPath>,
        /// A larger content of which this is a part, and where it begins in it, in bytes: what other
        /// stores have may be that.
        part_of: Option<(Digest, u64)>,
        /// What is wrong, as a clause.
        reason: String,
    },
}

/// One content that was read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Which.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// How many bytes were read of it. Of a content in chunks it is what lists them, as each of them is a
    /// content that is read for itself.
    pub read: u64,
    /// What was found.
    pub verdict: Verdict,
}

/// How a store is verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerifyOptions {
    /// Only contents that were not read back since this time, in milliseconds since 1970; all by
    /// default. A run that was interrupted goes on where it stopped when it is given the same again: see
    /// [`Kernel::unfinished_verification`](crate::Kernel::unfinished_verification).
    pub before: Option<i64>,
}

/// How garbage is collected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CollectOptions {
    /// Delete. Without it the collector only says what it would delete.
    pub delete: bool,
    /// Delete even more than [`CollectOptions::LIMIT_PERCENT`] of the stored bytes.
    pub force: bool,
}

impl CollectOptions {
    /// A collection of more than this share of the stored bytes has to be forced.
    pub const LIMIT_PERCENT: u64 = 10;
}

/// What a collection found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Collected {
    /// Stored contents that were looked at.
    pub scanned: u64,
    /// Contents that nothing refers to.
    pub garbage: u64,
    /// Their bytes.
    pub garbage_bytes: u64,
    /// How many of them were deleted.
    pub deleted: u64,
}

/// Contents that are read back, oldest check first.
pub type Checking = BoxStream<'static, Result<Checked>>;

/// The optional group of verbs of stores that keep content by digest.
#[async_trait]
pub trait Care: Send + Sync {
    /// What the store holds.
    async fn usage(&self) -> Result<Usage>;

    /// What was written through this mount since it was opened.
    fn traffic(&self) -> Traffic;

    /// Reads contents back, oldest check first, and records each check as it is done. Bad content
    /// goes to quarantine. The stream goes on after bad content, and ends with an error only when
    /// it can not go on.
    async fn verify(&self, options: &VerifyOptions) -> Result<Checking>;

    /// The `before` of a verification that began and did not come to its end, in milliseconds since 1970:
    /// one with the same goes on where it stopped.
    async fn unfinished(&self) -> Result<Option<i64>>;

    /// Finds what nothing refers to, and deletes it when told to. Any error while looking deletes
    /// nothing. More than [`CollectOptions::LIMIT_PERCENT`] percent is `PreconditionFailed` unless
    /// forced, and deletes nothing.
    async fn collect(&self, options: &CollectOptions) -> Result<Collected>;

    /// The content of a digest, or a range of it, verified as it is read; `NotFound` when the store does
    /// not have it.
    async fn content(&self, digest: &Digest, range: Option<ByteRange>) -> Result<Body>;

    /// Puts content that is missing back. `IntegrityMismatch`, and no change, when `body` is not
    /// that content.
    async fn mend(&self, digest: &Digest, body: Body) -> Result<()>;
}
