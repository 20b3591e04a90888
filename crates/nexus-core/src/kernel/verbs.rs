//! The operations of one path: routed to the backend that holds it, or answered by the kernel where
//! no backend does.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures_util::StreamExt;

use super::guard::Visit;
use super::walk::WalkOptions;
use super::{Kernel, sys};
use crate::{
    DeleteTarget, Deleted, Entry, Error, ErrorKind, IntoPath, ListOptions, Listing, Metadata,
    Object, Operation, ReadOptions, Result, Upload, VfsPath, WriteOptions,
};

/// Where a path leads.
pub(super) enum Place {
    /// Into a mount.
    Mounted(Visit),
    /// To a directory above mount points, which only the kernel knows.
    Virtual(BTreeSet<String>),
}

impl Kernel {
    /// Resolves `path` on the table of this moment.
    pub(super) fn place(&self, path: &VfsPath, operation: Operation) -> Result<Place> {
        let about = |error: Error| error.with_operation(operation).with_path(path.as_str());
        self.shared.check_open().map_err(about)?;
        let table = self.shared.table.load();
        if let Some(mount) = table.find(path) {
            let ticket = mount.enter().map_err(about)?;
            let inner = path.strip_prefix(mount.at()).unwrap_or_else(VfsPath::root);
            return Ok(Place::Mounted(Visit { ticket, inner, operation }));
        }
        if let Some(children) = table.children(path) {
            return Ok(Place::Virtual(children));
        }
        let error = Error::new(ErrorKind::NotFound, "nothing is mounted here");
        let mounts: Vec<_> = self.mounts().iter().map(|mount| mount.at.to_string()).collect();
        Err(about(error.with_hint(match mounts.as_slice() {
            [] => "nothing is mounted yet".to_owned(),
            mounts => format!("mounted: {}", mounts.join(", ")),
        })))
    }

    /// Resolves a path whose object is to be changed: never a mount point or a directory above
    /// one (`at_mount_point` says why), never the kernel's own tree.
    pub(super) fn place_to_change(
        &self,
        path: &VfsPath,
        operation: Operation,
        at_mount_point: fn() -> Error,
    ) -> Result<Visit> {
        let error = match self.place(path, operation)? {
            Place::Mounted(visit) if visit.ticket.at().as_str() == sys::AT => {
                Error::new(ErrorKind::PermissionDenied, "/__sys__ is read-only")
            }
            Place::Mounted(visit) if !visit.inner.is_root() => return Ok(visit),
            Place::Mounted(_) | Place::Virtual(_) => at_mount_point(),
        };
        Err(error.with_operation(operation).with_path(path.as_str()))
    }

    /// Metadata of what is at `path`.
    ///
    /// # Errors
    /// `NotFound`, and those of the backend.
    pub async fn stat(&self, path: impl IntoPath) -> Result<Metadata> {
        let path = path.into_path()?;
        match self.place(&path, Operation::Stat)? {
            Place::Virtual(_) => Ok(Metadata::directory()),
            Place::Mounted(visit) => {
                visit.ticket.backend().stat(&visit.inner).await.map_err(|e| visit.error(e))
            }
        }
    }

    /// The content at `path`, whole or a range of it.
    ///
    /// # Errors
    /// `NotFound`, `IsADirectory`, `RangeNotSatisfiable`, `PreconditionFailed`, `NotModified`,
    /// `IntegrityMismatch`, and those of the backend; a body may fail later, too.
    pub async fn read(&self, path: impl IntoPath, options: &ReadOptions) -> Result<Object> {
        let path = path.into_path()?;
        match self.place(&path, Operation::Read)? {
            Place::Virtual(_) => {
                Err(is_a_directory().with_operation(Operation::Read).with_path(path.as_str()))
            }
            Place::Mounted(visit) => {
                let read = visit.ticket.backend().read(&visit.inner, options).await;
                let Object { metadata, body } = read.map_err(|e| visit.error(e))?;
                Ok(Object { metadata, body: visit.body(body) })
            }
        }
    }

    /// Stores `content` as the whole object at `path`, atomically.
    ///
    /// # Errors
    /// `AlreadyExists`, `PreconditionFailed` and `NotFound` by the mode; `IsADirectory`,
    /// `NotADirectory`, `PermissionDenied`, `StorageFull`, and those of the backend. The old state
    /// stands then.
    pub async fn write(
        &self,
        path: impl IntoPath,
        content: impl Into<Bytes> + Send,
        options: &WriteOptions,
    ) -> Result<Metadata> {
        let (path, content) = (path.into_path()?, content.into());
        let visit = self.place_to_change(&path, Operation::Write, is_a_directory)?;
        let written = visit.ticket.backend().write(&visit.inner, content, options).await;
        written.map_err(|e| visit.error(e))
    }

    /// Begins an object whose content comes in pieces. Nothing is visible before `finish`.
    ///
    /// # Errors
    /// As [`Kernel::write`], from here or from `finish`.
    pub async fn upload(
        &self,
        path: impl IntoPath,
        options: &WriteOptions,
    ) -> Result<Box<dyn Upload>> {
        let path = path.into_path()?;
        let visit = self.place_to_change(&path, Operation::Upload, is_a_directory)?;
        let upload = visit.ticket.backend().upload(&visit.inner, options).await;
        let upload = upload.map_err(|e| visit.error(e))?;
        Ok(visit.upload(upload))
    }

    /// The entries below the directory `path`, as a stream in constant memory. A recursive listing
    /// of a mount that can not do it by itself is composed, directory by directory.
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory`, `Unsupported` for `start_after` where the store lists in no
    /// order, and those of the backend; the stream may fail later, too.
    pub async fn list(&self, path: impl IntoPath, options: &ListOptions) -> Result<Listing> {
        let path = path.into_path()?;
        if !options.recursive || self.lists_trees(&path)? {
            return self.list_by_backend(&path, options).await;
        }
        if options.start_after.is_some() {
            return Err(Error::unsupported(Operation::List)
                .with_path(path.as_str())
                .with_hint("a recursive listing can start after a path only where the store can"));
        }
        let walk = WalkOptions { max_depth: None, names_only: options.names_only };
        let entries = self.walk(&path, &walk).await?;
        Ok(entries.take(options.limit.unwrap_or(usize::MAX)).boxed())
    }

    /// Whether one backend holds `path` and lists whole trees by itself.
    pub(super) fn lists_trees(&self, path: &VfsPath) -> Result<bool> {
        Ok(match self.place(path, Operation::List)? {
            Place::Mounted(visit) => visit.ticket.backend().info().capabilities.list_recursive,
            Place::Virtual(_) => false,
        })
    }

    /// A listing as one backend gives it, or of a directory above mount points.
    pub(super) async fn list_by_backend(
        &self,
        path: &VfsPath,
        options: &ListOptions,
    ) -> Result<Listing> {
        match self.place(path, Operation::List)? {
            Place::Virtual(names) => virtual_listing(path, names, options),
            Place::Mounted(visit) => {
                let options = options_inside(&visit, path, options)?;
                let entries = visit.ticket.backend().list(&visit.inner, &options).await;
                let entries = entries.map_err(|e| visit.error(e))?;
                Ok(visit.listing(entries))
            }
        }
    }

    /// Deletes the file, or the symbolic link, at `path`.
    ///
    /// # Errors
    /// `NotFound` when the store knows that nothing was there, `IsADirectory`, `MountConflict` for
    /// a mount point, and those of the backend.
    pub async fn delete(&self, path: impl IntoPath) -> Result<()> {
        let path = path.into_path()?;
        match self.delete_many(vec![path.clone().into()]).await.pop() {
            Some(Ok(Deleted::Absent)) => {
                Err(Error::not_found(&path).with_operation(Operation::Delete))
            }
            Some(result) => result.map(drop),
            None => Err(Error::new(ErrorKind::Internal, "the backend answered no result")
                .with_operation(Operation::Delete)
                .with_path(path.as_str())),
        }
    }

    /// Deletes many files, in as few requests as the stores allow. One result a target, in the
    /// order given; one that fails does not stop the others, and an absent one is no failure.
    pub async fn delete_many(&self, targets: Vec<DeleteTarget>) -> Vec<Result<Deleted>> {
        let mut results: Vec<Option<Result<Deleted>>> = Vec::new();
        results.resize_with(targets.len(), || None);
        let mut groups: BTreeMap<VfsPath, Vec<(usize, Visit, DeleteTarget)>> = BTreeMap::new();
        for (index, target) in targets.into_iter().enumerate() {
            match self.place_to_change(&target.path, Operation::Delete, is_a_mount_point) {
                Ok(visit) => {
                    let inner = DeleteTarget { path: visit.inner.clone(), ..target };
                    let group = groups.entry(visit.ticket.at().clone()).or_default();
                    group.push((index, visit, inner));
                }
                Err(error) => results[index] = Some(Err(error)),
            }
        }
        for (_, group) in groups {
            let limits = group[0].1.ticket.backend().info().capabilities.limits;
            for batch in group.chunks(limits.delete_batch.unwrap_or(1000).max(1)) {
                let inner: Vec<_> = batch.iter().map(|(_, _, target)| target.clone()).collect();
                let deleted = batch[0].1.ticket.backend().delete(&inner).await;
                for ((index, visit, _), result) in batch.iter().zip(deleted) {
                    results[*index] = Some(result.map_err(|e| visit.error(e)));
                }
            }
        }
        let missing = || Err(Error::new(ErrorKind::Internal, "the backend answered no result"));
        results.into_iter().map(|result| result.unwrap_or_else(missing)).collect()
    }

    /// Makes a directory, and those above it. Success when it is there already.
    ///
    /// # Errors
    /// `AlreadyExists` when a file is there, `NotADirectory` when one is above, `Unsupported` where
    /// directories are only implied by keys, and those of the backend.
    pub async fn create_dir(&self, path: impl IntoPath) -> Result<()> {
        let path = path.into_path()?;
        let visit = match self.place(&path, Operation::CreateDir)? {
            Place::Virtual(_) => return Ok(()),
            Place::Mounted(visit) if visit.inner.is_root() => return Ok(()),
            Place::Mounted(_) => {
                self.place_to_change(&path, Operation::CreateDir, is_a_mount_point)?
            }
        };
        let made = visit.ticket.backend().create_dir(&visit.inner).await;
        made.map_err(|e| visit.error(e))
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory`, `DirectoryNotEmpty`, `MountConflict` for a mount point, and
    /// those of the backend.
    pub async fn remove_dir(&self, path: impl IntoPath) -> Result<()> {
        let path = path.into_path()?;
        let visit = self.place_to_change(&path, Operation::RemoveDir, is_a_mount_point)?;
        let removed = visit.ticket.backend().remove_dir(&visit.inner).await;
        removed.map_err(|e| visit.error(e))
    }
}

/// The listing of a directory above mount points.
fn virtual_listing(
    path: &VfsPath,
    names: BTreeSet<String>,
    options: &ListOptions,
) -> Result<Listing> {
    let paths: Vec<_> = names.iter().map(|name| path.join(name)).collect::<Result<_>>()?;
    let after = options.start_after.clone();
    let entries = paths
        .into_iter()
        .filter(move |path| after.as_ref().is_none_or(|after| path > after))
        .take(options.limit.unwrap_or(usize::MAX))
        .map(|path| Ok(Entry::new(path, Metadata::directory())));
    Ok(futures_util::stream::iter(entries.collect::<Vec<_>>()).boxed())
}

/// The options of a listing with `start_after` as the mount's own path.
fn options_inside(visit: &Visit, path: &VfsPath, options: &ListOptions) -> Result<ListOptions> {
    let start_after = match &options.start_after {
        None => None,
        Some(after) if after.starts_with(path) => after.strip_prefix(visit.ticket.at()),
        Some(_) => {
            return Err(Error::new(
                ErrorKind::InvalidOption,
                "`start_after` is not below the directory that is listed",
            )
            .with_operation(Operation::List)
            .with_path(path.as_str()));
        }
    };
    Ok(ListOptions { start_after, ..options.clone() })
}

pub(super) fn is_a_directory() -> Error {
    Error::new(ErrorKind::IsADirectory, "is a directory")
}

pub(super) fn is_a_mount_point() -> Error {
    Error::new(ErrorKind::MountConflict, "is a mount point, or holds one")
        .with_hint("unmount it instead (`nexus-fs unmount`)")
}
