//! The verbs: what each asks of the other modules, and nothing more.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use nexus_core::{
    Backend, Bytes, Capabilities, CopyMethod, DeleteTarget, Deleted, Digests, Directories,
    EntryKind, Error, ErrorKind, Info, Layout, Limits, ListOptions, ListOrder, Listing,
    MemoryBudget, Metadata, Object, Operation, ReadOptions, Result, Upload, VfsPath, WriteMode,
    WriteOptions, async_trait,
};
use rustix::fs::{AtFlags, fstat};
use rustix::io::Errno;

use crate::attributes::{Attributes, DigestCache, keeps_digests};
use crate::beneath::{Root, look_at};
use crate::config::Config;
use crate::lock::{self, Hold};
use crate::publish::{Publishing, Temp, is_a_directory, move_without_replacing, not_a_file};
use crate::writer::Destination;
use crate::{blocking, lister, reader, writer};

/// Files below one directory.
pub(crate) struct LocalBackend {
    info: Info,
    root: RwLock<Option<Arc<Root>>>,
    digests: Arc<DigestCache>,
    budget: MemoryBudget,
    full: bool,
}

/// What a file system of today takes, in bytes; others are known when they refuse.
const SEGMENT: usize = 255;
const PATH: usize = 4095;

impl LocalBackend {
    pub(crate) fn new(config: Config, root: Root, budget: MemoryBudget) -> Self {
        let locks = lock::works(root.dir());
        let mut capabilities = Capabilities::default();
        capabilities.write = true;
        capabilities.create = true;
        capabilities.replace = locks;
        capabilities.delete_if_version = locks;
        capabilities.versions = true;
        capabilities.copy = true;
        capabilities.rename = true;
        capabilities.rename_dir = true;
        capabilities.directories = Directories::Real;
        capabilities.list_recursive = true;
        capabilities.list_order = ListOrder::Unordered;
        capabilities.digests =
            if keeps_digests(root.dir()) { Digests::Recorded } else { Digests::None };
        capabilities.layout = Layout::Plain;
        capabilities.limits =
            Limits { path_bytes: Some(PATH), segment_bytes: Some(SEGMENT), ..Limits::default() };
        capabilities.local_root = Some(root.path().to_owned());
        // What a killed process left in the root goes now; elsewhere, when it is listed.
        if let Err(error) = lister::sweep(root.dir()) {
            tracing::debug!(%error, "the root was not swept");
        }
        let info = Info {
            scheme: "local",
            uri: config.uri,
            layout_reason: "every file is at its own path, as other programs see it".to_owned(),
            capabilities,
        };
        Self {
            info,
            root: RwLock::new(Some(Arc::new(root))),
            digests: Arc::new(DigestCache::new()),
            budget,
            full: config.full,
        }
    }

    fn root(&self) -> Result<Arc<Root>> {
        let root = self.root.read().unwrap_or_else(PoisonError::into_inner);
        root.clone().ok_or_else(|| Error::new(ErrorKind::Closed, "the mount was closed"))
    }

    fn destination(&self) -> Result<Destination> {
        Ok(Destination { root: self.root()?, full: self.full })
    }

    /// Refuses what this file system does not keep or can not compare.
    fn check_options(&self, path: &VfsPath, options: &WriteOptions) -> Result<()> {
        if options.content_type.is_some() || !options.user.is_empty() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "a local file keeps no content type and no user metadata",
            )
            .with_path(path.as_str()));
        }
        self.check_mode(path, &options.mode)
    }

    fn check_mode(&self, path: &VfsPath, mode: &WriteMode) -> Result<()> {
        if matches!(mode, WriteMode::Replace(_)) && !self.info.capabilities.replace {
            return Err(no_locks(path));
        }
        Ok(())
    }

    fn sync(&self) -> bool {
        self.full
    }
}

fn no_locks(path: &VfsPath) -> Error {
    Error::new(ErrorKind::Unsupported, "this file system has no locks for directories")
        .with_path(path.as_str())
}

#[async_trait]
impl Backend for LocalBackend {
    fn info(&self) -> &Info {
        &self.info
    }

    async fn stat(&self, path: &VfsPath) -> Result<Metadata> {
        let root = self.root()?;
        if let Some(attributes) = root.look_at_once(path) {
            let attributes = attributes?;
            let known = self.digests.get(&attributes);
            if attributes.kind != EntryKind::File || known.is_some() {
                check_root(&root, path)?;
                return Ok(attributes.metadata(known.flatten()));
            }
        }
        let (path, digests) = (path.clone(), Arc::clone(&self.digests));
        blocking::run(move || {
            check_root(&root, &path)?;
            let attributes = root.look(&path)?;
            if attributes.kind != EntryKind::File || digests.get(&attributes).is_some() {
                return Ok(attributes.metadata(digests.get(&attributes).flatten()));
            }
            // A file that may be seen but not read has no digest for this user.
            let Ok(file) = root.file(&path) else { return Ok(attributes.metadata(None)) };
            let attributes =
                fstat(&file).map(Attributes::from).map_err(|error| root.error(error, &path))?;
            Ok(attributes.metadata(digests.digest(&file, &attributes)))
        })
        .await
    }

    async fn read(&self, path: &VfsPath, options: &ReadOptions) -> Result<Object> {
        reader::read(&self.root()?, &self.digests, &self.budget, path, options).await
    }

    async fn write(
        &self,
        path: &VfsPath,
        content: Bytes,
        options: &WriteOptions,
    ) -> Result<Metadata> {
        self.check_options(path, options)?;
        writer::write(self.destination()?, path.clone(), content, options.mode.clone()).await
    }

    async fn upload(&self, path: &VfsPath, options: &WriteOptions) -> Result<Box<dyn Upload>> {
        self.check_options(path, options)?;
        let (destination, budget) = (self.destination()?, self.budget.clone());
        let upload = writer::upload(destination, budget, path.clone(), options.mode.clone());
        Ok(Box::new(upload.await?))
    }

    async fn list(&self, path: &VfsPath, options: &ListOptions) -> Result<Listing> {
        if options.start_after.is_some() {
            return Err(Error::new(ErrorKind::Unsupported, "directories are listed in no order")
                .with_path(path.as_str()));
        }
        lister::list(&self.root()?, &self.digests, path, options).await
    }

    async fn delete(&self, targets: &[DeleteTarget]) -> Vec<Result<Deleted>> {
        let root = match self.root() {
            Ok(root) => root,
            Err(_) => {
                return targets.iter().map(|_| self.root().map(|_| Deleted::Absent)).collect();
            }
        };
        let conditional = self.info.capabilities.delete_if_version;
        let (owned, sync) = (targets.to_vec(), self.sync());
        let deleted = blocking::run(move || {
            let delete = |target: &DeleteTarget| {
                if target.if_version.is_some() && !conditional {
                    return Err(no_locks(&target.path));
                }
                delete(&root, target, sync)
            };
            Ok(owned.iter().map(delete).collect())
        });
        match deleted.await {
            Ok(results) => results,
            Err(error) => {
                let lost = |target: &DeleteTarget| {
                    Err(Error::new(error.kind(), error.message().to_owned())
                        .with_path(target.path.as_str()))
                };
                targets.iter().map(lost).collect()
            }
        }
    }

    async fn copy(&self, from: &VfsPath, to: &VfsPath, mode: &WriteMode) -> Result<CopyMethod> {
        self.check_mode(to, mode)?;
        let (destination, digests) = (self.destination()?, Arc::clone(&self.digests));
        let (from, to, mode) = (from.clone(), to.clone(), mode.clone());
        let stop = Arc::new(AtomicBool::new(false));
        let _stop_when_dropped = StopWhenDropped(Arc::clone(&stop));
        blocking::run(move || {
            let Destination { root, full } = &destination;
            let publishing = Publishing { root, mode: &mode, full: *full };
            copy(&publishing, &digests, &from, &to, &stop)
        })
        .await
    }

    async fn rename(&self, from: &VfsPath, to: &VfsPath, mode: &WriteMode) -> Result<()> {
        self.check_mode(to, mode)?;
        let (root, sync) = (self.root()?, self.sync());
        let (from, to, mode) = (from.clone(), to.clone(), mode.clone());
        blocking::run(move || rename(&root, &from, &to, &mode, sync)).await
    }

    async fn create_dir(&self, path: &VfsPath) -> Result<()> {
        let (root, path, sync) = (self.root()?, path.clone(), self.sync());
        blocking::run(move || create_dir(&root, &path, sync)).await
    }

    async fn remove_dir(&self, path: &VfsPath) -> Result<()> {
        let (root, path, sync) = (self.root()?, path.clone(), self.sync());
        blocking::run(move || remove_dir(&root, &path, sync)).await
    }

    async fn close(&self) -> Result<()> {
        self.root.write().unwrap_or_else(PoisonError::into_inner).take();
        Ok(())
    }
}

/// A root that was removed still answers for itself; say what it is.
fn check_root(root: &Root, path: &VfsPath) -> Result<()> {
    if path.is_root() && root.is_gone() { Err(root.gone(path)) } else { Ok(()) }
}

fn delete(root: &Root, target: &DeleteTarget, sync: bool) -> Result<Deleted> {
    let path = &target.path;
    let about = |error: Errno| root.error(error, path);
    let place = match root.place(path) {
        Ok(Some(place)) => place,
        Ok(None) => return Err(is_a_directory(path)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Deleted::Absent);
        }
        Err(error) => return Err(error),
    };
    let hold = if target.if_version.is_some() { Hold::Alone } else { Hold::Shared };
    lock::hold(&place.dir, hold).map_err(|error| error.with_path(path.as_str()))?;
    if let Some(wanted) = &target.if_version {
        match root.look(path) {
            Ok(found) if found.version() == *wanted => {}
            Ok(found) if found.kind == EntryKind::Directory => return Err(is_a_directory(path)),
            Ok(_) => {
                let error = Error::new(ErrorKind::PreconditionFailed, "the version has changed");
                return Err(error.with_path(path.as_str()));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Deleted::Absent),
            Err(error) => return Err(error),
        }
    }
    match rustix::fs::unlinkat(&place.dir, &place.name, AtFlags::empty()) {
        Ok(()) => {}
        Err(Errno::NOENT) => return Ok(Deleted::Absent),
        // Some systems say EPERM for a directory.
        Err(Errno::PERM) if root.look(path).is_ok_and(|a| a.kind == EntryKind::Directory) => {
            return Err(is_a_directory(path));
        }
        Err(error) => return Err(about(error)),
    }
    if sync {
        rustix::fs::fsync(&place.dir).map_err(about)?;
    }
    Ok(Deleted::Removed)
}

/// Sets a flag when it is dropped, so that work on another thread stops.
struct StopWhenDropped(Arc<AtomicBool>);

impl Drop for StopWhenDropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How much is copied between two looks at the flag, in bytes.
const COPY_STEP: usize = 64 << 20;

fn copy(
    publishing: &Publishing<'_>,
    digests: &DigestCache,
    from: &VfsPath,
    to: &VfsPath,
    stop: &AtomicBool,
) -> Result<CopyMethod> {
    let root = publishing.root;
    let about_source = |error: Errno| root.error(error, from);
    let source = root.file(from)?;
    let before = fstat(&source).map(Attributes::from).map_err(about_source)?;
    match before.kind {
        EntryKind::File => {}
        EntryKind::Directory => return Err(is_a_directory(from)),
        _ => return Err(not_a_file(from)),
    }
    let spot = publishing.find(to)?;
    let about_target = |error: Errno| root.error(error, to);
    let temp = publishing.temp(&spot, spot.current.is_some())?;
    let method = clone_content(&source, &temp, before.size, stop).map_err(|error| match error {
        CopyFault::Source(error) => about_source(error),
        CopyFault::Target(error) => about_target(error),
        CopyFault::Stopped => Error::new(ErrorKind::Closed, "the copy was given up"),
    })?;
    let after = fstat(&source).map(Attributes::from).map_err(about_source)?;
    let written = fstat(temp.file()).map(Attributes::from).map_err(about_target)?;
    if !after.same_content(&before) || written.size != before.size {
        return Err(Error::new(ErrorKind::Unavailable, "the file was changed while it was copied")
            .with_path(from.as_str())
            .with_hint("copy it again"));
    }
    let digest = digests.digest(&source, &before);
    publishing.publish(spot, temp, before.size, digest)?;
    Ok(method)
}

enum CopyFault {
    Source(Errno),
    Target(Errno),
    Stopped,
}

fn clone_content(
    source: &std::os::fd::OwnedFd,
    temp: &Temp,
    size: u64,
    stop: &AtomicBool,
) -> Result<CopyMethod, CopyFault> {
    #[cfg(target_os = "linux")]
    {
        if rustix::fs::ioctl_ficlone(temp.file(), source).is_ok() {
            return Ok(CopyMethod::Reflink);
        }
        let mut copied = 0;
        while copied < size {
            if stop.load(Ordering::Relaxed) {
                return Err(CopyFault::Stopped);
            }
            let length = (size - copied).min(COPY_STEP as u64) as usize;
            match rustix::fs::copy_file_range(source, None, temp.file(), None, length) {
                Ok(0) => break,
                Ok(step) => copied += step as u64,
                Err(Errno::INTR) => {}
                Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM)
                    if copied == 0 =>
                {
                    return copy_by_hand(source, temp, stop);
                }
                Err(error) => return Err(CopyFault::Target(error)),
            }
        }
        Ok(CopyMethod::ServerSide)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = size;
        copy_by_hand(source, temp, stop)
    }
}

/// Where the system has no call for it.
fn copy_by_hand(
    source: &std::os::fd::OwnedFd,
    temp: &Temp,
    stop: &AtomicBool,
) -> Result<CopyMethod, CopyFault> {
    let mut buffer = vec![0; 1 << 20];
    let mut offset = 0;
    while !stop.load(Ordering::Relaxed) {
        let length = match rustix::io::pread(source, &mut buffer[..], offset) {
            Ok(0) => return Ok(CopyMethod::Streamed),
            Ok(length) => length,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(CopyFault::Source(error)),
        };
        writer::write_at(temp, &buffer[..length], offset).map_err(CopyFault::Target)?;
        offset += length as u64;
    }
    Err(CopyFault::Stopped)
}

fn rename(root: &Root, from: &VfsPath, to: &VfsPath, mode: &WriteMode, sync: bool) -> Result<()> {
    let fixed = |path: &VfsPath| {
        Error::new(ErrorKind::Unsupported, "the root of a mount stays").with_path(path.as_str())
    };
    let source = root.place(from)?.ok_or_else(|| fixed(from))?;
    let moved = look_at(&source).map_err(|error| root.error(error, from))?;
    let moved = moved.ok_or_else(|| root.error(Errno::NOENT, from))?;
    let is_dir = moved.kind == EntryKind::Directory;
    let replaces = matches!(mode, WriteMode::Replace(_));
    let target = if replaces { root.place(to)? } else { root.place_made(to)? };
    let target = target.ok_or_else(|| if is_dir { exists(to) } else { is_a_directory(to) })?;
    let hold = if replaces || is_dir { Hold::Alone } else { Hold::Shared };
    lock::hold_both((&source.dir, Hold::Shared), (&target.dir, hold))
        .map_err(|error| error.with_path(to.as_str()))?;
    let current = look_at(&target).map_err(|error| root.error(error, to))?;
    match current.map(|current| current.kind) {
        Some(_) if is_dir => return Err(exists(to)),
        Some(EntryKind::Directory) => return Err(is_a_directory(to)),
        _ => {}
    }
    let version = current.map(|current| current.version());
    mode.check(version.as_ref()).map_err(|error| error.with_path(to.as_str()))?;
    let renamed = if is_dir || *mode == WriteMode::Create {
        move_without_replacing(&source.dir, &source.name, &target)
    } else {
        rustix::fs::renameat(&source.dir, &source.name, &target.dir, &target.name)
    };
    renamed.map_err(|error| match error {
        Errno::INVAL if is_dir => {
            Error::new(ErrorKind::InvalidPath, "a directory can not be moved into itself")
                .with_path(from.as_str())
        }
        Errno::NOENT => root.error(error, from),
        error => root.error(error, to),
    })?;
    if sync {
        rustix::fs::fsync(&target.dir).map_err(|error| root.error(error, to))?;
        rustix::fs::fsync(&source.dir).map_err(|error| root.error(error, from))?;
    }
    Ok(())
}

fn exists(path: &VfsPath) -> Error {
    Error::new(ErrorKind::AlreadyExists, "something is there already").with_path(path.as_str())
}

fn create_dir(root: &Root, path: &VfsPath, sync: bool) -> Result<()> {
    match root.make_directory(path) {
        Ok(dir) if sync => {
            let about = |error: Errno| root.error(error, path);
            rustix::fs::fsync(&dir).map_err(about)?;
            match root.place(path)? {
                Some(place) => rustix::fs::fsync(&place.dir).map_err(about),
                None => Ok(()),
            }
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            // Here, or above?
            match root.place(path)?.map(|place| look_at(&place)) {
                Some(Ok(Some(_))) => {
                    Err(Error::new(ErrorKind::AlreadyExists, "a file is there already")
                        .with_path(path.as_str()))
                }
                _ => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}

fn remove_dir(root: &Root, path: &VfsPath, sync: bool) -> Result<()> {
    let about = |error: Errno| root.error(error, path);
    let Some(place) = root.place(path)? else {
        return Err(Error::new(ErrorKind::Unsupported, "the root of a mount stays")
            .with_operation(Operation::RemoveDir)
            .with_path(path.as_str()));
    };
    let remove = || rustix::fs::unlinkat(&place.dir, &place.name, AtFlags::REMOVEDIR);
    match remove() {
        Err(Errno::NOTEMPTY | Errno::EXIST) => {
            // What keeps it from being empty may be left from a killed process.
            let swept = lister::sweep(&root.directory(path)?).map_err(about)?;
            if !swept {
                return Err(about(Errno::NOTEMPTY));
            }
            remove().map_err(about)?;
        }
        removed => removed.map_err(about)?,
    }
    if sync {
        rustix::fs::fsync(&place.dir).map_err(about)?;
    }
    Ok(())
}
