//! Copy and rename: by the store where it can, else composed, and the caller is told which.

use std::sync::Arc;

use super::Kernel;
use super::guard::Visit;
use super::relation::Relation;
use super::verbs::{Place, is_a_directory, is_a_mount_point};
use crate::{
    BackendExt, CopyMethod, DeleteTarget, Error, ErrorKind, IntoPath, Metadata, Object, Operation,
    ReadOptions, Result, Version, VfsPath, WriteMode, WriteOptions,
};

/// Options of a copy or a rename.
#[derive(Clone, Default)]
pub struct CopyOptions {
    /// What may be replaced at the target; of a tree, at each file of it.
    pub mode: WriteMode,
    /// Pass over files whose content is at the target already. Where a digest is not known, and the sizes
    /// are the same, the content is read. Of a tree or a single file; a plain copy always copies.
    pub only_differing: bool,
    /// Copy nothing, and report what would be. Of trees, as above.
    pub dry_run: bool,
    /// Who is told how it goes.
    pub progress: Option<Arc<dyn Progress>>,
}

impl From<WriteMode> for CopyOptions {
    fn from(mode: WriteMode) -> Self {
        Self { mode, ..Self::default() }
    }
}

impl std::fmt::Debug for CopyOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CopyOptions")
            .field("mode", &self.mode)
            .field("only_differing", &self.only_differing)
            .field("dry_run", &self.dry_run)
            .finish_non_exhaustive()
    }
}

/// Is told how copies go. Called between pieces, from any thread: answer quickly.
pub trait Progress: Send + Sync {
    /// A file is begun; its size in bytes where known.
    fn begin(&self, path: &VfsPath, size: Option<u64>) {
        let _ = (path, size);
    }

    /// So many bytes more were moved. Not called for copies that move none through this program.
    fn advance(&self, bytes: u64) {
        let _ = bytes;
    }

    /// A file is done.
    fn finish(&self, path: &VfsPath, how: CopyMethod) {
        let _ = (path, how);
    }

    /// A part of a tree failed; the rest goes on.
    fn fail(&self, error: &Error) {
        let _ = error;
    }
}

/// How a rename was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RenameMethod {
    /// Source and target are the same place: nothing was done.
    Unchanged,
    /// By the store, atomically.
    Atomic,
    /// By copying, then deleting: between the two, both names were there.
    Copied,
}

impl RenameMethod {
    /// The method in one lower-case word, as output has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Atomic => "atomic",
            Self::Copied => "copied",
        }
    }
}

/// A file that was copied.
pub(super) struct Copied {
    pub(super) method: CopyMethod,
    pub(super) bytes: u64,
    /// The source as it was when its bytes were read; `None` where the store did the copy.
    source: Option<Metadata>,
}

impl Kernel {
    /// Copies one file: inside the store where it can, else by streaming in bounded memory, with
    /// content type and user metadata where the target stores them. A copy onto itself moves
    /// nothing.
    ///
    /// # Errors
    /// Those of [`Kernel::read`] for the source and of [`Kernel::write`] for the target, whose old
    /// state stands then.
    pub async fn copy(
        &self,
        from: impl IntoPath,
        to: impl IntoPath,
        options: &CopyOptions,
    ) -> Result<CopyMethod> {
        let (from, to) = (from.into_path()?, to.into_path()?);
        self.copy_file(&from, &to, options).await.map(|copied| copied.method)
    }

    pub(super) async fn copy_file(
        &self,
        from: &VfsPath,
        to: &VfsPath,
        options: &CopyOptions,
    ) -> Result<Copied> {
        let source = match self.place(from, Operation::Copy)? {
            Place::Mounted(visit) => visit,
            Place::Virtual(_) => {
                return Err(is_a_directory()
                    .with_operation(Operation::Copy)
                    .with_path(from.as_str()));
            }
        };
        let target = self.place_to_change(to, Operation::Copy, is_a_directory)?;
        if Relation::of(&source, &target) == Relation::Same {
            return copy_onto_itself(&source, &options.mode).await;
        }
        let inside = source.ticket.is_same_store(&target.ticket)
            && target.ticket.backend().info().capabilities.copy;
        let copied = if inside {
            match copy_inside(&source, &target, options).await {
                Err(error) if error.kind() == ErrorKind::Unsupported => None,
                done => Some(done?),
            }
        } else {
            None
        };
        let copied = match copied {
            Some(copied) => copied,
            None => stream_copy(&source, &target, to, options).await?,
        };
        if let Some(progress) = &options.progress {
            progress.finish(to, copied.method);
        }
        Ok(copied)
    }

    /// Renames a file or a directory, inside one mount or between two.
    ///
    /// Inside a store that can, it is atomic. Otherwise each file is copied, then deleted in the
    /// version that was copied; when it fails in the middle every file is whole at one of the two
    /// places, and the error says so. Onto itself: no change.
    ///
    /// # Errors
    /// `NotFound`; `AlreadyExists` for a directory when anything is at the target; `IsADirectory`
    /// for a file when a directory is; `InvalidPath` for a directory into itself; `MountConflict`
    /// for a mount point; `Unsupported` for a directory with symbolic links in it that goes to
    /// another mount; and those of the backends.
    pub async fn rename(
        &self,
        from: impl IntoPath,
        to: impl IntoPath,
        options: &CopyOptions,
    ) -> Result<RenameMethod> {
        let (from, to) = (from.into_path()?, to.into_path()?);
        let source = self.place_to_change(&from, Operation::Rename, is_a_mount_point)?;
        let target = self.place_to_change(&to, Operation::Rename, is_a_mount_point)?;
        match Relation::of(&source, &target) {
            Relation::Apart => {}
            Relation::Same => {
                source.ticket.backend().stat(&source.inner).await.map_err(|e| source.error(e))?;
                return Ok(RenameMethod::Unchanged);
            }
            relation => return Err(into_itself(&source, &target, relation, &from, &to).await),
        }
        let capabilities = &target.ticket.backend().info().capabilities;
        if source.ticket.is_same_store(&target.ticket) && capabilities.rename {
            let renamed =
                target.ticket.backend().rename(&source.inner, &target.inner, &options.mode).await;
            match renamed {
                Err(error) if error.kind() == ErrorKind::Unsupported => {}
                done => {
                    return done.map(|()| RenameMethod::Atomic).map_err(|e| source.error(e));
                }
            }
        }
        let metadata =
            source.ticket.backend().stat(&source.inner).await.map_err(|e| source.error(e))?;
        if metadata.is_dir() {
            self.move_tree(&from, &to, options).await?;
        } else {
            self.move_file(&from, &to, options).await?;
        }
        Ok(RenameMethod::Copied)
    }

    /// Copies a file, then deletes the version that was copied.
    pub(super) async fn move_file(
        &self,
        from: &VfsPath,
        to: &VfsPath,
        options: &CopyOptions,
    ) -> Result<Copied> {
        let copied = self.copy_file(from, to, options).await?;
        let source = self.place_to_change(from, Operation::Rename, is_a_mount_point)?;
        let conditional = source.ticket.backend().info().capabilities.delete_if_version;
        let version = copied.source.as_ref().and_then(|metadata| metadata.version.clone());
        let target = DeleteTarget {
            path: source.inner.clone(),
            if_version: version.clone().filter(|_| conditional),
        };
        let removed = match &version {
            // The store can not look by itself; only a change between these two calls is not seen.
            Some(version) if !conditional => check_version(&source, version).await,
            _ => Ok(()),
        };
        let removed = match removed {
            Ok(()) => source.ticket.backend().delete_one(target).await,
            Err(error) => Err(error),
        };
        removed.map_err(|error| {
            let error = source.error(error);
            let hint = match error.kind() {
                ErrorKind::PreconditionFailed => {
                    "it changed meanwhile, or both paths lead to one file: compare before removing"
                }
                _ => "both files are whole; remove one of them",
            };
            Error::new(
                error.kind(),
                format!("copied to {to}, but not removed here: {}", error.message()),
            )
            .with_operation(Operation::Rename)
            .with_path(from.as_str())
            .with_hint(hint)
            .with_source(error)
        })?;
        Ok(copied)
    }
}

async fn check_version(source: &Visit, version: &Version) -> Result<()> {
    let now = source.ticket.backend().stat(&source.inner).await?;
    ReadOptions { if_match: Some(version.clone()), ..ReadOptions::default() }
        .check(now.version.as_ref())
}

/// The refusal of a rename between a path and one above or below it.
async fn into_itself(
    source: &Visit,
    target: &Visit,
    relation: Relation,
    from: &VfsPath,
    to: &VfsPath,
) -> Error {
    let inside = relation == Relation::Inside;
    let error = match source.ticket.backend().stat(&source.inner).await {
        Err(error) => return source.error(error),
        Ok(metadata) if metadata.is_dir() && inside => Error::new(
            ErrorKind::InvalidPath,
            format!("a directory can not be moved into itself ({to})"),
        ),
        Ok(metadata) if metadata.is_dir() => {
            Error::new(ErrorKind::AlreadyExists, format!("{to} is there, and holds the source"))
        }
        Ok(_) if inside => {
            let error = Error::new(ErrorKind::NotADirectory, format!("{from} is not a directory"));
            return error
                .with_operation(Operation::Rename)
                .in_mount(target.ticket.at(), &target.inner);
        }
        Ok(_) => Error::new(ErrorKind::IsADirectory, format!("{to} is a directory")),
    };
    error.with_operation(Operation::Rename).with_path(from.as_str())
}

async fn copy_onto_itself(source: &Visit, mode: &WriteMode) -> Result<Copied> {
    let metadata = source.ticket.backend().stat(&source.inner).await;
    let metadata = metadata.map_err(|e| source.error(e))?;
    if metadata.is_dir() {
        return Err(source.error(is_a_directory()));
    }
    let unversioned = Version::new("");
    mode.check(Some(metadata.version.as_ref().unwrap_or(&unversioned)))
        .map_err(|e| source.error(e))?;
    Ok(Copied { method: CopyMethod::Metadata, bytes: 0, source: Some(metadata) })
}

async fn copy_inside(source: &Visit, target: &Visit, options: &CopyOptions) -> Result<Copied> {
    let backend = target.ticket.backend();
    let method = backend
        .copy(&source.inner, &target.inner, &options.mode)
        .await
        .map_err(|error| source.error(error))?;
    Ok(Copied { method, bytes: 0, source: None })
}

/// Reads the source and writes the target, piece by piece.
async fn stream_copy(
    source: &Visit,
    target: &Visit,
    to: &VfsPath,
    options: &CopyOptions,
) -> Result<Copied> {
    let read = source.ticket.backend().read(&source.inner, &ReadOptions::default()).await;
    let Object { metadata, mut body } = read.map_err(|e| source.error(e))?;
    let progress = options.progress.as_deref();
    if let Some(progress) = progress {
        progress.begin(to, metadata.size);
    }
    let backend = target.ticket.backend();
    let write = write_options(&metadata, &backend.info().capabilities, &options.mode);
    let whole_limit = backend.info().capabilities.limits.write_bytes.unwrap_or(u64::MAX);
    let bytes = match body.as_whole() {
        Some(content) if content.len() as u64 <= whole_limit => {
            let (content, bytes) = (content.clone(), content.len() as u64);
            check_length(&metadata, bytes).map_err(|e| source.error(e))?;
            backend.write(&target.inner, content, &write).await.map_err(|e| target.error(e))?;
            if let Some(progress) = progress {
                progress.advance(bytes);
            }
            bytes
        }
        _ => {
            let upload = backend.upload(&target.inner, &write).await;
            let mut upload = upload.map_err(|e| target.error(e))?;
            let mut bytes = 0;
            while let Some(piece) = body.next().await {
                // Leaving here drops the upload, which publishes nothing.
                let piece = piece.map_err(|e| source.error(e))?;
                source.ticket.check().map_err(|e| source.error(e))?;
                target.ticket.check().map_err(|e| target.error(e))?;
                let length = piece.len() as u64;
                upload.write(piece).await.map_err(|e| target.error(e))?;
                bytes += length;
                if let Some(progress) = progress {
                    progress.advance(length);
                }
            }
            check_length(&metadata, bytes).map_err(|e| source.error(e))?;
            upload.finish().await.map_err(|e| target.error(e))?;
            bytes
        }
    };
    Ok(Copied { method: CopyMethod::Streamed, bytes, source: Some(metadata) })
}

/// A source that ended early must not become a shorter target.
fn check_length(metadata: &Metadata, bytes: u64) -> Result<()> {
    match metadata.size {
        Some(size) if size != bytes => Err(Error::new(
            ErrorKind::Unavailable,
            format!("the source gave {bytes} of its {size} bytes"),
        )),
        _ => Ok(()),
    }
}

fn write_options(
    metadata: &Metadata,
    capabilities: &crate::Capabilities,
    mode: &WriteMode,
) -> WriteOptions {
    let content_type = metadata.content_type.as_deref().filter(|_| capabilities.content_type);
    WriteOptions {
        mode: mode.clone(),
        content_type: content_type.map(str::to_owned),
        user: if capabilities.user_metadata { metadata.user.clone() } else { Default::default() },
        ..WriteOptions::default()
    }
}
