//! Temporary files, and how they become files: whole, or not at all.

use std::ffi::OsString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nexus_core::{Digest, EntryKind, Error, ErrorKind, Metadata, Result, VfsPath, WriteMode};
use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::attributes::{Attributes, stamp};
use crate::beneath::{Place, RESERVED, Root, look_at};
use crate::lock::{self, Hold};

/// Whether files without a name can be made and linked (`O_TMPFILE`, and `/proc` to link them by).
static NAMELESS: AtomicBool = AtomicBool::new(cfg!(target_os = "linux"));

/// A file that nobody sees yet. Dropped, it is gone.
pub(crate) struct Temp {
    file: OwnedFd,
    /// Where it has a name in the meantime, and which.
    named: Option<(OwnedFd, OsString)>,
}

const NEW: Mode = Mode::from_raw_mode(0o666);

impl Temp {
    /// A new file on the file system of `dir`; `named` when it will replace another, which takes a
    /// name anyway.
    pub(crate) fn new(dir: &OwnedFd, named: bool) -> rustix::io::Result<Self> {
        #[cfg(target_os = "linux")]
        if !named && NAMELESS.load(Ordering::Relaxed) {
            let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
            match rustix::fs::openat(dir, ".", flags, NEW) {
                Ok(file) => return Ok(Self { file, named: None }),
                Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) => {}
                Err(error) => return Err(error),
            }
        }
        let _ = named;
        let dir = rustix::io::fcntl_dupfd_cloexec(dir, 0)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
        for _ in 0..100 {
            let name = temporary_name();
            match rustix::fs::openat(&dir, &name, flags, NEW) {
                Ok(file) => {
                    // Held while the file is in use: `sweep_if_left` removes only what nobody holds.
                    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
                    return Ok(Self { file, named: Some((dir, name)) });
                }
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Errno::EXIST)
    }

    pub(crate) fn file(&self) -> &OwnedFd {
        &self.file
    }

    /// Puts the file in a place where nothing is.
    fn link(&mut self, place: &Place<'_>) -> rustix::io::Result<()> {
        let Some((dir, name)) = &self.named else {
            let linked = self.link_as(&place.dir, &place.name);
            if linked == Err(Errno::NOENT) && !has_proc() {
                NAMELESS.store(false, Ordering::Relaxed);
            }
            return linked;
        };
        move_without_replacing(dir, name, place)?;
        self.named = None;
        Ok(())
    }

    fn link_as(&self, dir: &OwnedFd, name: &std::ffi::OsStr) -> rustix::io::Result<()> {
        rustix::fs::linkat(CWD, proc_path(&self.file), dir, name, AtFlags::SYMLINK_FOLLOW)
    }

    /// Puts the file in the place of another, atomically.
    fn replace(&mut self, place: &Place<'_>) -> rustix::io::Result<()> {
        if self.named.is_none() {
            let name = temporary_name();
            self.link_as(&place.dir, &name)?;
            let dir = rustix::io::fcntl_dupfd_cloexec(&place.dir, 0)?;
            self.named = Some((dir, name));
        }
        let Some((dir, name)) = &self.named else { return Err(Errno::NOENT) };
        rustix::fs::renameat(dir, name, &place.dir, &*place.name)?;
        self.named = None;
        Ok(())
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        if let Some((dir, name)) = &self.named {
            // Nothing can be done about a failure; the next listing has another go later.
            let _ = rustix::fs::unlinkat(dir, name, AtFlags::empty());
        }
    }
}

fn temporary_name() -> OsString {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let process = rustix::process::getpid().as_raw_nonzero();
    format!("{RESERVED}{process:x}-{:x}{:x}-{count:x}", now.tv_sec, now.tv_nsec).into()
}

/// The path by which the system knows an open file.
pub(crate) fn proc_path(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

fn has_proc() -> bool {
    rustix::fs::access("/proc/self/fd", rustix::fs::Access::EXISTS).is_ok()
}

/// Removes a temporary file that a killed process left behind; one that is in use stays.
pub(crate) fn sweep_if_left(dir: impl std::os::fd::AsFd, name: &std::ffi::OsStr) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::openat(&dir, name, flags, Mode::empty()) else { return false };
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
        && rustix::fs::unlinkat(dir, name, AtFlags::empty()).is_ok()
}

/// Renames to where nothing is.
pub(crate) fn move_without_replacing(
    dir: &OwnedFd,
    name: &std::ffi::OsStr,
    to: &Place<'_>,
) -> rustix::io::Result<()> {
    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    match rustix::fs::renameat_with(dir, name, &to.dir, &*to.name, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
        moved => return moved,
    }
    // A file system without the flag: a hard link never replaces. Directories have none; they are
    // moved under the lock that the caller holds.
    match rustix::fs::linkat(dir, name, &to.dir, &*to.name, AtFlags::empty()) {
        Ok(()) => rustix::fs::unlinkat(dir, name, AtFlags::empty()),
        Err(Errno::PERM | Errno::OPNOTSUPP) => {
            match rustix::fs::statat(&to.dir, &*to.name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(_) => Err(Errno::EXIST),
                Err(Errno::NOENT) => rustix::fs::renameat(dir, name, &to.dir, &*to.name),
                Err(error) => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}

/// Where a file is to be published, and what is there now.
pub(crate) struct Target<'a> {
    place: Place<'a>,
    current: Option<Attributes>,
}

/// How a file is published.
pub(crate) struct Publishing<'a> {
    pub(crate) root: &'a Root,
    pub(crate) mode: &'a WriteMode,
    /// Whether file and directory are synced before the answer.
    pub(crate) full: bool,
}

impl Publishing<'_> {
    /// The path to publish at: `path`, or what a link there leads to.
    pub(crate) fn resolve(&self, path: &VfsPath) -> Result<VfsPath> {
        let Some(place) = self.existing_place(path)? else { return Ok(path.clone()) };
        match look_at(&place).map_err(|error| self.root.error(error, path))? {
            Some(Attributes { kind: EntryKind::Symlink, .. }) => self.root.follow(path),
            _ => Ok(path.clone()),
        }
    }

    fn existing_place<'p>(&self, path: &'p VfsPath) -> Result<Option<Place<'p>>> {
        match self.root.place(path) {
            Ok(None) => Err(is_a_directory(path)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            found => found,
        }
    }

    /// Refuses what can be refused before a byte is written; answers whether something will be
    /// replaced.
    pub(crate) fn check(&self, path: &VfsPath) -> Result<bool> {
        let current = match self.existing_place(path)? {
            Some(place) => look_at(&place).map_err(|error| self.root.error(error, path))?,
            None => None,
        };
        self.check_current(current.as_ref(), path)?;
        Ok(current.is_some())
    }

    fn check_current(&self, current: Option<&Attributes>, path: &VfsPath) -> Result<()> {
        match current.map(|current| current.kind) {
            None | Some(EntryKind::File) => {}
            Some(EntryKind::Directory) => return Err(is_a_directory(path)),
            Some(_) => return Err(not_a_file(path)),
        }
        let version = current.map(Attributes::version);
        self.mode.check(version.as_ref()).map_err(|error| error.with_path(path.as_str()))
    }

    /// Publishes a file whose content is complete. `path` was resolved before.
    pub(crate) fn publish(
        &self,
        path: &VfsPath,
        mut temp: Temp,
        size: u64,
        digest: Option<Digest>,
    ) -> Result<Metadata> {
        let about = |error: Errno| self.root.error(error, path);
        let kept = stamp(&temp.file, size, digest).map_err(about)?;
        if self.full {
            rustix::fs::fsync(&temp.file).map_err(about)?;
        }
        let target = self.target(path)?;
        self.check_current(target.current.as_ref(), path)?;
        let published = match &target.current {
            Some(current) => {
                // The new content takes over who may read it.
                let mode = Mode::from_raw_mode(current.mode as rustix::fs::RawMode);
                rustix::fs::fchmod(&temp.file, mode).map_err(about)?;
                temp.replace(&target.place)
            }
            None => temp.link(&target.place),
        };
        match published {
            Err(Errno::EXIST) if *self.mode == WriteMode::Overwrite => {
                // Somebody else was first: theirs is replaced.
                let again = self.target(path)?;
                self.check_current(again.current.as_ref(), path)?;
                temp.replace(&again.place).map_err(about)?;
            }
            done => done.map_err(about)?,
        }
        if self.full {
            rustix::fs::fsync(&target.place.dir).map_err(about)?;
        }
        let attributes = rustix::fs::fstat(&temp.file).map(Attributes::from).map_err(about)?;
        Ok(attributes.metadata(digest.filter(|_| kept)))
    }

    /// The place to publish at, locked as the mode needs it.
    fn target<'p>(&self, path: &'p VfsPath) -> Result<Target<'p>> {
        let replaces = matches!(self.mode, WriteMode::Replace(_));
        let place = if replaces { self.root.place(path)? } else { self.root.place_made(path)? };
        let place = place.ok_or_else(|| is_a_directory(path))?;
        let look = || look_at(&place).map_err(|error| self.root.error(error, path));
        let hold =
            |hold| lock::hold(&place.dir, hold).map_err(|error| error.with_path(path.as_str()));
        let current = if replaces {
            hold(Hold::Alone)?;
            look()?
        } else {
            let current = look()?;
            // Where nothing is, publishing can not undo what another writer decided on.
            if current.is_some() {
                hold(Hold::Shared)?;
            }
            current
        };
        Ok(Target { place, current })
    }
}

pub(crate) fn is_a_directory(path: &VfsPath) -> Error {
    Error::new(ErrorKind::IsADirectory, "is a directory").with_path(path.as_str())
}

pub(crate) fn not_a_file(path: &VfsPath) -> Error {
    Error::new(ErrorKind::Unsupported, "is not a regular file").with_path(path.as_str())
}
