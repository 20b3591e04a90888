//! The contract between the kernel and a store.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;

use crate::{
    Care, CopyMethod, DeleteTarget, Deleted, Entry, Error, ErrorKind, Info, ListOptions, Metadata,
    Object, Operation, ReadOptions, Result, VfsPath, WriteMode, WriteOptions,
};

/// Entries as the store gives them. Memory does not grow with their number. A listing that can not
/// go on ends with an error, never early in silence.
pub type Listing = BoxStream<'static, Result<Entry>>;

/// A store, mounted. Paths are relative to the mount: `/` is its root.
///
/// Implementors must:
/// - answer with the kinds of [`ErrorKind`] that each method names, and with the error's path set
///   to the mount's own path (the kernel translates it);
/// - refuse what [`Info::capabilities`] does not declare with `Unsupported`, before any side effect;
/// - leave either the old state or the new one when a future is dropped at any `await`;
/// - never follow anything out of the root.
///
/// A path that has a file where a directory is needed is `NotADirectory`, whatever the verb, except
/// that [`Backend::stat`], [`Backend::read`] and [`Backend::delete`] may say that nothing is there.
///
/// Wrappers forward every method, the ones with bodies too: put
/// `#[deny(clippy::missing_trait_methods)]` on their `impl`.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// What this is and what works here. Constant for the life of the mount, and free to call.
    fn info(&self) -> &Info;

    /// Metadata of what is at `path`: `NotFound`, never a guess. Follows a symbolic link that stays
    /// inside the root.
    async fn stat(&self, path: &VfsPath) -> Result<Metadata>;

    /// The content at `path`, and the metadata *of the bytes served*. Small bodies come in one
    /// piece, large ones as a stream with read-ahead. `IsADirectory` for a directory,
    /// `PreconditionFailed`, `NotModified` and `RangeNotSatisfiable` by the options.
    async fn read(&self, path: &VfsPath, options: &ReadOptions) -> Result<Object>;

    /// Stores `content` as the whole object at `path`, and answers the metadata of what was stored.
    /// A reader sees the old object or the new one, nothing else. Directories above are made where
    /// the store has them. `IsADirectory` when a directory is there, `NotADirectory` when a file is
    /// above.
    async fn write(
        &self,
        path: &VfsPath,
        content: Bytes,
        options: &WriteOptions,
    ) -> Result<Metadata>;

    /// Begins an object whose content comes in pieces. Nothing is visible before
    /// [`Upload::finish`]. The mode is checked when it finishes, and may be checked now as well.
    async fn upload(&self, path: &VfsPath, options: &WriteOptions) -> Result<Box<dyn Upload>>;

    /// The entries below `path`, without `path` itself. `NotFound` when nothing is there (the root
    /// always is), `NotADirectory` for a file. Errors that are known at once come from the call,
    /// later ones from the stream.
    async fn list(&self, path: &VfsPath, options: &ListOptions) -> Result<Listing>;

    /// Deletes files, and symbolic links themselves. One result a target, in the order given; one
    /// that fails does not stop the others. `IsADirectory` for a directory.
    async fn delete(&self, targets: &[DeleteTarget]) -> Vec<Result<Deleted>>;

    /// Copies a file inside the store, without its bytes passing through this program. The target
    /// is published as by [`Backend::write`].
    async fn copy(&self, from: &VfsPath, to: &VfsPath, mode: &WriteMode) -> Result<CopyMethod> {
        let _ = (to, mode);
        Err(Error::unsupported(Operation::Copy).with_path(from.as_str()))
    }

    /// Renames a file or a directory, atomically: at no time are both names there, or none. A
    /// directory goes only where nothing is (`AlreadyExists`); a file never replaces a directory
    /// (`IsADirectory`). The kernel never asks to move something onto or into itself.
    async fn rename(&self, from: &VfsPath, to: &VfsPath, mode: &WriteMode) -> Result<()> {
        let _ = (to, mode);
        Err(Error::unsupported(Operation::Rename).with_path(from.as_str()))
    }

    /// Makes a directory, and those above it. Success when it is there already, `AlreadyExists`
    /// when a file is, `NotADirectory` when a file is above.
    async fn create_dir(&self, path: &VfsPath) -> Result<()> {
        Err(Error::unsupported(Operation::CreateDir).with_path(path.as_str()))
    }

    /// Removes an empty directory: `DirectoryNotEmpty` when it is not, `NotFound` when nothing is
    /// there, `NotADirectory` for a file. The root can not be removed (`Unsupported`).
    async fn remove_dir(&self, path: &VfsPath) -> Result<()> {
        Err(Error::unsupported(Operation::RemoveDir).with_path(path.as_str()))
    }

    /// Waits until what is at `path` survives a power cut, whoever wrote it: the content of a file, or the
    /// entries of a directory, and the names that lead there. Success, without doing anything, where
    /// whatever was acknowledged does. `NotFound` or success where nothing is.
    async fn sync(&self, path: &VfsPath) -> Result<()> {
        Err(Error::unsupported(Operation::Write).with_path(path.as_str()))
    }

    /// Care of a store that keeps content by digest; `None` for any other.
    fn care(&self) -> Option<&dyn Care> {
        None
    }

    /// Releases connections and handles. Idempotent. Every later call answers `Closed`. Dropping the
    /// backend releases them too, without waiting.
    async fn close(&self) -> Result<()>;
}

/// An object that is being written in pieces.
///
/// Dropping it, like [`Upload::abort`], publishes nothing and leaves nothing behind.
#[async_trait]
pub trait Upload: Send {
    /// Takes the next piece. It may wait until earlier pieces are on their way, so that memory stays
    /// bounded. After an error only `abort` and drop make sense.
    async fn write(&mut self, piece: Bytes) -> Result<()>;

    /// Changes the path at which [`Upload::finish`] will publish, for content whose name follows
    /// from its bytes. Needs the capability `upload_named_last`.
    fn publish_at(&mut self, path: VfsPath) -> Result<()> {
        Err(Error::unsupported(Operation::Upload).with_path(path.as_str()))
    }

    /// Publishes the object, atomically, and answers the metadata of what was stored. When it fails
    /// the old state stands.
    async fn finish(self: Box<Self>) -> Result<Metadata>;

    /// Gives up, and waits until what was sent is gone.
    async fn abort(self: Box<Self>) -> Result<()>;
}

mod sealed {
    pub trait Sealed {}
    impl<B: super::Backend + ?Sized> Sealed for B {}
}

/// Conveniences over any [`Backend`]; sealed, so that wrappers never have to forward them.
#[async_trait]
pub trait BackendExt: Backend + sealed::Sealed {
    /// Deletes one target.
    ///
    /// # Errors
    /// Those of [`Backend::delete`].
    async fn delete_one(&self, target: DeleteTarget) -> Result<Deleted> {
        let path = target.path.clone();
        match self.delete(&[target]).await.pop() {
            Some(result) => result,
            None => Err(Error::new(ErrorKind::Internal, "the backend answered no result")
                .with_operation(Operation::Delete)
                .with_path(path.as_str())),
        }
    }

    /// The metadata of `path`, or `None` when nothing is there.
    ///
    /// # Errors
    /// Those of [`Backend::stat`] other than `NotFound`. A file in the place of a directory above
    /// means that nothing is there.
    async fn try_stat(&self, path: &VfsPath) -> Result<Option<Metadata>> {
        match self.stat(path).await {
            Ok(metadata) => Ok(Some(metadata)),
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

impl<B: Backend + ?Sized> BackendExt for B {}
