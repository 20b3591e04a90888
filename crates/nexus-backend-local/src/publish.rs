//! Temporary files, and how they become files: whole, or not at all.

use std::ffi::OsString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nexus_core::{Digest, EntryKind, Error, ErrorKind, Metadata, Result, VfsPath, WriteMode};
use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::attributes::{Attributes, stamp};
use crate::beneath::{Place, RESERVED, Root, is_removed, look_at};
use crate::blocking::Gate;
use crate::lock::{self, Hold};

/// Whether files without a name can be made and linked (`O_TMPFILE`, and `/proc` to link them by).
static NAMELESS: AtomicBool = AtomicBool::new(cfg!(target_os = "linux"));

/// A file that nobody sees yet. Dropped, it is gone.
pub(crate) struct Temp {
    file: OwnedFd,
    /// Where it has a name in the meantime, and which.
    named: Option<(OwnedFd, OsString)>,
}

impl Temp {
    /// A new file on the file system of `dir`, with the permissions `mode` less the umask; `named`
    /// when it will replace another, which takes a name anyway.
    pub(crate) fn new(dir: &OwnedFd, named: bool, mode: Mode) -> rustix::io::Result<Self> {
        #[cfg(target_os = "linux")]
        if !named && NAMELESS.load(Ordering::Relaxed) {
            let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
            match rustix::fs::openat(dir, ".", flags, mode) {
                Ok(file) => return Ok(Self { file, named: None }),
                Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) => {}
                Err(error) => return Err(vanished(error, dir)),
            }
        }
        let _ = named;
        let dir = rustix::io::fcntl_dupfd_cloexec(dir, 0)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
        for _ in 0..100 {
            let name = temporary_name();
            match rustix::fs::openat(&dir, &name, flags, mode) {
                Ok(file) => {
                    // Held while the file is in use: `sweep_if_left` removes only what nobody
                    // holds. It may have come first; then another name is taken.
                    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                        Ok(()) if rustix::fs::fstat(&file)?.st_nlink > 0 => {
                            return Ok(Self { file, named: Some((dir, name)) });
                        }
                        Ok(()) | Err(Errno::WOULDBLOCK) => {}
                        // Where nothing can be locked, nothing is swept either.
                        Err(_) => return Ok(Self { file, named: Some((dir, name)) }),
                    }
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
    fn link(&mut self, place: &Place) -> rustix::io::Result<()> {
        let Some((dir, name)) = &self.named else {
            let linked = self.link_as(&place.dir, &place.name);
            if linked == Err(Errno::NOENT) && !has_proc() {
                NAMELESS.store(false, Ordering::Relaxed);
            }
            return linked.map_err(|error| vanished(error, &place.dir));
        };
        move_without_replacing(dir, name, place)?;
        self.named = None;
        Ok(())
    }

    fn link_as(&self, dir: &OwnedFd, name: &std::ffi::OsStr) -> rustix::io::Result<()> {
        rustix::fs::linkat(CWD, proc_path(&self.file), dir, name, AtFlags::SYMLINK_FOLLOW)
    }

    /// Puts the file in the place of another, atomically.
    fn replace(&mut self, place: &Place) -> rustix::io::Result<()> {
        if self.named.is_none() {
            let name = temporary_name();
            // Before it has a name, so that no sweep comes first. Where nothing can be locked,
            // nothing is swept either.
            let _ = rustix::fs::flock(&self.file, FlockOperation::NonBlockingLockExclusive);
            self.link_as(&place.dir, &name)?;
            let dir = rustix::io::fcntl_dupfd_cloexec(&place.dir, 0)?;
            self.named = Some((dir, name));
        }
        let Some((dir, name)) = &self.named else { return Err(Errno::NOENT) };
        rustix::fs::renameat(dir, name, &place.dir, &place.name)?;
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

/// What the system says of a directory that was removed while it was open differs by call.
fn vanished(error: Errno, dir: &OwnedFd) -> Errno {
    if is_removed(dir) { Errno::NOENT } else { error }
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
    to: &Place,
) -> rustix::io::Result<()> {
    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    match rustix::fs::renameat_with(
        dir,
        name,
        &to.dir,
        &to.name,
        rustix::fs::RenameFlags::NOREPLACE,
    ) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
        moved => return moved,
    }
    // A file system without the flag: a hard link never replaces. Directories have none; they are
    // moved under the lock that the caller holds.
    match rustix::fs::linkat(dir, name, &to.dir, &to.name, AtFlags::empty()) {
        Ok(()) => rustix::fs::unlinkat(dir, name, AtFlags::empty()),
        Err(Errno::PERM | Errno::OPNOTSUPP) => {
            match rustix::fs::statat(&to.dir, &to.name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(_) => Err(Errno::EXIST),
                Err(Errno::NOENT) => rustix::fs::renameat(dir, name, &to.dir, &to.name),
                Err(error) => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}

/// Where a file is to be published, and what was there when it was looked up.
pub(crate) struct Spot {
    /// The path meant: a link was followed.
    pub(crate) path: VfsPath,
    /// None while the directory above is missing.
    place: Option<Place>,
    pub(crate) current: Option<Attributes>,
}

/// How a file is published.
pub(crate) struct Publishing<'a> {
    pub(crate) root: &'a Root,
    pub(crate) mode: &'a WriteMode,
    pub(crate) gate: &'a Gate,
    /// Whether file and directory are synced before the answer.
    pub(crate) full: bool,
}

impl Publishing<'_> {
    /// Finds where `path` is to be published, and refuses what can be refused before a byte is
    /// written.
    pub(crate) fn find(&self, path: &VfsPath) -> Result<Spot> {
        for _ in 0..100 {
            let mut spot = self.look_up(path.clone())?;
            if spot.current.is_some_and(|current| current.kind == EntryKind::Symlink) {
                let (target, meant) = self.root.follow(path)?;
                spot = self.look_up(target)?;
                // What is there now may be another file, or none: then its path is not the one
                // that was meant.
                if !spot.current.is_some_and(|current| current.same_file(&meant)) {
                    continue;
                }
            }
            return match self.check(spot.current.as_ref(), &spot.path) {
                Err(error) if error.kind() == ErrorKind::PreconditionFailed => self.settle(spot),
                checked => checked.map(|()| spot),
            };
        }
        Err(Error::new(ErrorKind::Unavailable, "where the link leads changes all the time")
            .with_path(path.as_str()))
    }

    /// Looks again while nobody else may change anything: a file that is just being removed shows
    /// another time of last change for a moment, and is no other version but none.
    fn settle(&self, mut spot: Spot) -> Result<Spot> {
        if let Some(place) = &spot.place {
            lock::hold(&place.dir, Hold::Alone)
                .map_err(|error| error.with_path(spot.path.as_str()))?;
            spot.current = look_at(place).map_err(|error| self.root.error(error, &spot.path))?;
        }
        self.check(spot.current.as_ref(), &spot.path)?;
        Ok(spot)
    }

    fn look_up(&self, path: VfsPath) -> Result<Spot> {
        let place = match self.root.place(&path) {
            Ok(Some(place)) => place,
            Ok(None) => return Err(is_a_directory(&path)),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Spot { path, place: None, current: None });
            }
            Err(error) => return Err(error),
        };
        let current = look_at(&place).map_err(|error| self.root.error(error, &path))?;
        Ok(Spot { path, place: Some(place), current })
    }

    fn check(&self, current: Option<&Attributes>, path: &VfsPath) -> Result<()> {
        match current.map(|current| current.kind) {
            None | Some(EntryKind::File) => {}
            Some(EntryKind::Directory) => return Err(is_a_directory(path)),
            Some(_) => return Err(not_a_file(path)),
        }
        let version = match self.mode {
            WriteMode::Overwrite => None,
            _ => current.map(Attributes::version),
        };
        self.mode.check(version.as_ref()).map_err(|error| error.with_path(path.as_str()))
    }

    /// A file that is not seen yet, on the file system of the spot; `named` as for [`Temp::new`].
    /// Its permissions are never wider than those of what it will replace, or of the file that it is
    /// a copy of.
    pub(crate) fn temp(&self, spot: &Spot, named: bool, copied: Option<u32>) -> Result<Temp> {
        let mode = spot.current.map(|current| current.mode).or(copied).unwrap_or(0o666);
        // This user has to write its content and attributes in any case.
        let mode = Mode::from_raw_mode((mode & PERMISSIONS | 0o600) as rustix::fs::RawMode);
        let made = match &spot.place {
            Some(place) => Temp::new(&place.dir, named, mode),
            None => Temp::new(&self.root.nearest(&spot.path)?.0, false, mode),
        };
        made.map_err(|error| self.root.error(error, &spot.path))
    }

    /// Runs a write from the beginning, again when the directories above were removed in the middle:
    /// a write makes them, whoever removes them meanwhile.
    pub(crate) fn persist<T>(&self, mut write: impl FnMut() -> Result<T>) -> Result<T> {
        let makes_directories = !matches!(self.mode, WriteMode::Replace(_));
        for _ in 0..if makes_directories { 100 } else { 0 } {
            match write() {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                done => return done,
            }
        }
        write()
    }

    /// Publishes a file whose content is complete.
    pub(crate) fn publish(
        &self,
        spot: Spot,
        temp: &mut Temp,
        size: u64,
        digest: Option<Digest>,
    ) -> Result<Metadata> {
        let Spot { path, place, current } = spot;
        let about = |error: Errno| self.root.error(error, &path);
        let kept = stamp(&temp.file, size, digest).map_err(about)?;
        if self.full {
            self.root.sync(&temp.file, &path)?;
        }
        let replaces = matches!(self.mode, WriteMode::Replace(_));
        let place = match place {
            Some(place) => place,
            None if replaces => return Err(about(Errno::NOENT)),
            None => {
                let made = self.gate.pass(|| self.root.place_made(&path))?;
                made.ok_or_else(|| is_a_directory(&path))?
            }
        };
        // Where nothing is, publishing can not undo what another writer decided on: no lock.
        let linked = if current.is_none() && !replaces {
            self.gate.pass(|| temp.link(&place))
        } else {
            Err(Errno::EXIST)
        };
        match linked {
            Err(Errno::EXIST) if *self.mode != WriteMode::Create => {
                self.replace(temp, &place, &path)?;
            }
            done => done.map_err(about)?,
        }
        if self.full {
            self.root.sync(&place.dir, &path)?;
            if let Some(above) = path.parent() {
                self.root.settle(&place.dir, &above)?;
            }
        }
        let attributes = rustix::fs::fstat(&temp.file).map(Attributes::from).map_err(about)?;
        Ok(attributes.metadata(digest.filter(|_| kept)))
    }

    /// Puts the file in the place of what is there, when the mode still allows it.
    fn replace(&self, temp: &mut Temp, place: &Place, path: &VfsPath) -> Result<()> {
        let about = |error: Errno| self.root.error(error, path);
        let alone = matches!(self.mode, WriteMode::Replace(_));
        let hold = if alone { Hold::Alone } else { Hold::Shared };
        lock::hold(&place.dir, hold).map_err(|error| error.with_path(path.as_str()))?;
        let current = look_at(place).map_err(|error| self.root.error(error, path))?;
        self.check(current.as_ref(), path)?;
        if let Some(current) = current {
            let changed = take_over(&temp.file, &current).map_err(about)?;
            if changed && self.full {
                self.root.sync(&temp.file, path)?;
            }
        }
        self.gate.pass(|| temp.replace(place)).map_err(about)
    }
}

/// The bits that say who may read, write and run a file. Set-user-ID and its like are not taken
/// over: they were given to the old content.
const PERMISSIONS: u32 = 0o777;

/// Gives a file the owner and the permissions of the one that it replaces, as far as this user may;
/// answers whether anything changed.
fn take_over(file: &OwnedFd, current: &Attributes) -> rustix::io::Result<bool> {
    use rustix::fs::{Gid, RawMode, Uid, fchmod, fchown};
    let made = rustix::fs::fstat(file).map(Attributes::from)?;
    let mut mode = current.mode & PERMISSIONS;
    let same_owner = (made.uid, made.gid) == (current.uid, current.gid);
    if !same_owner {
        let (uid, gid) = (Uid::from_raw(current.uid), Gid::from_raw(current.gid));
        let owned = fchown(file, Some(uid), Some(gid)).or_else(|_| fchown(file, None, Some(gid)));
        if owned.is_err() && made.gid != current.gid {
            // What its group may do, another group may only if everybody may.
            mode &= !0o070 | (mode & 0o007) << 3;
        }
    }
    if made.mode & PERMISSIONS != mode {
        fchmod(file, Mode::from_raw_mode(mode as RawMode))?;
        return Ok(true);
    }
    Ok(!same_owner)
}

pub(crate) fn is_a_directory(path: &VfsPath) -> Error {
    Error::new(ErrorKind::IsADirectory, "is a directory").with_path(path.as_str())
}

pub(crate) fn not_a_file(path: &VfsPath) -> Error {
    Error::new(ErrorKind::Unsupported, "is not a regular file").with_path(path.as_str())
}
