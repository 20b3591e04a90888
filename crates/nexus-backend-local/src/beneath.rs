//! Resolution of paths below the root: the only place of this crate that opens by path.
//!
//! Everything else works on one name in a directory that was opened here. On Linux the system
//! itself keeps resolution beneath the root (`openat2`); elsewhere, and where `openat2` is denied,
//! `cap-std` does it segment by segment.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use cap_std::fs::OpenOptionsExt as _;
use nexus_core::{Error, ErrorKind, Result, VfsPath};
use rustix::fs::{AtFlags, Mode, OFlags, fstat};
use rustix::io::Errno;

use crate::attributes::Attributes;
use crate::durable::Durable;
use crate::error::from_io;
#[cfg(target_os = "linux")]
use crate::error::leaves_the_root;
use crate::names;

/// Names that begin so are temporary files of this backend: hidden, and never a caller's.
pub(crate) const RESERVED: &str = ".nexus-fs-tmp-";

/// The longest name, and the longest path below the root, in bytes: what file systems and systems
/// of today take. One that takes less says so itself.
pub(crate) const MAX_SEGMENT: usize = 255;
pub(crate) const MAX_PATH: usize = 4095;

/// How paths are kept beneath the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resolver {
    /// `openat2` where it works, else portable.
    Auto,
    /// `openat2` only.
    Openat2,
    /// `cap-std`.
    Portable,
}

/// The root of a mount, held open: a directory that is renamed stays the root.
pub(crate) struct Root {
    dir: OwnedFd,
    path: PathBuf,
    portable: Option<cap_std::fs::Dir>,
    closed: AtomicBool,
    pub(crate) durable: Durable,
    /// Whether the kernel can resolve from memory alone.
    #[cfg(target_os = "linux")]
    cached: AtomicBool,
}

/// A directory below the root, and a name in it.
pub(crate) struct Place {
    pub(crate) dir: OwnedFd,
    pub(crate) name: OsString,
}

const READ: OFlags =
    OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Root {
    pub(crate) fn open(path: PathBuf, resolver: Resolver) -> Result<Self> {
        let about = |error: io::Error| from_io(error).with_path(path.display().to_string());
        let dir = rustix::fs::open(&path, DIRECTORY, Mode::empty())
            .map_err(|error| about(error.into()))?;
        let portable = match resolver {
            Resolver::Portable => true,
            Resolver::Openat2 | Resolver::Auto => match probe(&dir) {
                Ok(()) => false,
                Err(_) if resolver == Resolver::Auto => true,
                Err(error) => {
                    return Err(about(error).with_hint("mount it with `resolver=portable`"));
                }
            },
        };
        let portable = if portable {
            let file = std::fs::File::from(dir.try_clone().map_err(from_io)?);
            Some(cap_std::fs::Dir::from_std_file(file))
        } else {
            None
        };
        Ok(Self {
            dir,
            path,
            portable,
            closed: AtomicBool::new(false),
            durable: Durable::default(),
            #[cfg(target_os = "linux")]
            cached: AtomicBool::new(true),
        })
    }

    /// Where the root really is, links followed; as it was named where the system does not tell.
    pub(crate) fn real_path(&self) -> PathBuf {
        use std::os::unix::ffi::OsStringExt;
        let named = |_| self.path.clone();
        real_path(&self.dir).map_or_else(named, |path| OsString::from_vec(path).into())
    }

    /// The handle of the root itself.
    pub(crate) fn dir(&self) -> &OwnedFd {
        &self.dir
    }

    /// Ends what is under way: uploads find out at their next step.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::new(ErrorKind::Closed, "the mount was closed"));
        }
        Ok(())
    }

    /// Whether the directory was removed under the mount.
    pub(crate) fn is_gone(&self) -> bool {
        is_removed(&self.dir)
    }

    /// The error of a system error at `path`; says so when the whole root is gone.
    pub(crate) fn error(&self, error: impl Into<io::Error>, path: &VfsPath) -> Error {
        let error = from_io(error);
        let like_gone = matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied);
        if like_gone && self.is_gone() {
            return self.gone(path);
        }
        error.with_path(path.as_str())
    }

    pub(crate) fn gone(&self, path: &VfsPath) -> Error {
        let message = format!("the root of this mount, {}, is gone", self.path.display());
        Error::new(ErrorKind::Unavailable, message)
            .with_path(path.as_str())
            .with_hint("unmount it, or put the directory back and mount it again")
    }

    /// Opens a file for reading; follows links that stay inside. Never waits for a pipe.
    pub(crate) fn file(&self, path: &VfsPath) -> Result<OwnedFd> {
        let text = on_disk(path)?;
        self.open_below(&text, READ).map_err(|error| self.error(error, path))
    }

    /// As [`Root::file`], if that is possible without waiting for a disk; else `None`.
    #[cfg(target_os = "linux")]
    pub(crate) fn file_at_once(&self, path: &VfsPath) -> Option<Result<OwnedFd>> {
        self.at_once(path, READ)
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn file_at_once(&self, _: &VfsPath) -> Option<Result<OwnedFd>> {
        None
    }

    /// What is at `path`, after links that stay inside; if that is possible without waiting for a
    /// disk, else `None`.
    #[cfg(target_os = "linux")]
    pub(crate) fn look_at_once(&self, path: &VfsPath) -> Option<Result<Attributes>> {
        let opened = self.at_once(path, OFlags::PATH | OFlags::CLOEXEC)?;
        Some(opened.and_then(|fd| self.attributes(&fd, path)))
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn look_at_once(&self, _: &VfsPath) -> Option<Result<Attributes>> {
        None
    }

    /// What is at `path`, after links that stay inside.
    pub(crate) fn look(&self, path: &VfsPath) -> Result<Attributes> {
        if let Some(portable) = &self.portable {
            let text = on_disk(path)?;
            let metadata = portable.metadata(relative(&text)).map_err(|e| self.error(e, path))?;
            return Ok(Attributes::from(&metadata));
        }
        #[cfg(target_os = "linux")]
        {
            let text = on_disk(path)?;
            let fd = self.open_below(&text, OFlags::PATH | OFlags::CLOEXEC);
            let fd = fd.map_err(|error| self.error(error, path))?;
            self.attributes(&fd, path)
        }
        #[cfg(not(target_os = "linux"))]
        Err(self.error(Errno::NOSYS, path))
    }

    #[cfg(target_os = "linux")]
    fn attributes(&self, fd: &OwnedFd, path: &VfsPath) -> Result<Attributes> {
        fstat(fd).map(Attributes::from).map_err(|error| self.error(error, path))
    }

    /// Opens a directory; follows links that stay inside.
    pub(crate) fn directory(&self, path: &VfsPath) -> Result<OwnedFd> {
        let text = on_disk(path)?;
        self.open_below(&text, DIRECTORY).map_err(|error| self.error(error, path))
    }

    /// The directory that holds `path`, and its name there. `None` for the root.
    pub(crate) fn place(&self, path: &VfsPath) -> Result<Option<Place>> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(None);
        };
        let name = name_on_disk(name, path)?;
        let dir = self.directory(&parent).map_err(|error| error.with_path(path.as_str()))?;
        Ok(Some(Place { dir, name }))
    }

    /// As [`Root::place`], making the directories above that are missing.
    pub(crate) fn place_made(&self, path: &VfsPath) -> Result<Option<Place>> {
        match self.place(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            found => return found,
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(None);
        };
        let name = name_on_disk(name, path)?;
        let dir = self.make_directory(&parent).map_err(|error| error.with_path(path.as_str()))?;
        Ok(Some(Place { dir, name }))
    }

    /// Opens a directory, after making it and those above it where they are missing.
    pub(crate) fn make_directory(&self, path: &VfsPath) -> Result<OwnedFd> {
        // Somebody may remove what was just made, or it is a link that leads nowhere: a few rounds
        // tell the one from the other.
        for _ in 0..8 {
            match self.directory(path) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                found => return found,
            }
            let (above, at) = self.nearest(path)?;
            let missing = path.strip_prefix(&at).unwrap_or_else(VfsPath::root);
            match make_below(above, &on_disk(&missing)?) {
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                made => return made.map_err(|error| self.error(error, path)),
            }
        }
        self.directory(path)
    }

    /// The nearest directory above `path` that is there, and its path.
    pub(crate) fn nearest(&self, path: &VfsPath) -> Result<(OwnedFd, VfsPath)> {
        let mut at = path.parent().unwrap_or_else(VfsPath::root);
        loop {
            match (self.directory(&at), at.parent()) {
                (Err(error), Some(above)) if error.kind() == ErrorKind::NotFound => at = above,
                (found, _) => {
                    let dir = found.map_err(|error| error.with_path(path.as_str()))?;
                    return Ok((dir, at));
                }
            }
        }
    }

    /// Where a link at `path` leads, as a path of this mount, and what was there.
    pub(crate) fn follow(&self, path: &VfsPath) -> Result<(VfsPath, Attributes)> {
        // Only what has no better is opened: that may wake who waits at the other end of a pipe.
        #[cfg(target_os = "linux")]
        let better = self.portable.is_none().then_some(OFlags::PATH | OFlags::CLOEXEC);
        #[cfg(not(target_os = "linux"))]
        let better = None;
        let flags = better.unwrap_or(READ);
        let fd =
            self.open_below(&on_disk(path)?, flags).map_err(|error| self.error(error, path))?;
        let about = |error: Errno| self.error(error, path);
        let target = self.path_of(&fd).map_err(|error| error.with_path(path.as_str()))?;
        Ok((target, fstat(&fd).map(Attributes::from).map_err(about)?))
    }

    /// The path of this mount that an open file or directory has now, links followed.
    pub(crate) fn path_of(&self, fd: &OwnedFd) -> Result<VfsPath> {
        let (target, root) =
            (real_path(fd).map_err(from_io)?, real_path(&self.dir).map_err(from_io)?);
        let below =
            Path::new(OsStr::from_bytes(&target)).strip_prefix(OsStr::from_bytes(&root)).map_err(
                |_| Error::new(ErrorKind::Unsupported, "the target has no path below the root"),
            )?;
        let join = |at: VfsPath, name: &OsStr| at.join(&names::encode(name.as_bytes()));
        below.iter().try_fold(VfsPath::root(), join)
    }

    fn open_below(&self, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
        if let Some(portable) = &self.portable {
            return open_portable(portable, path, flags);
        }
        #[cfg(target_os = "linux")]
        return linux::open(&self.dir, path, flags);
        #[cfg(not(target_os = "linux"))]
        Err(Errno::NOSYS.into())
    }

    #[cfg(target_os = "linux")]
    fn at_once(&self, path: &VfsPath, flags: OFlags) -> Option<Result<OwnedFd>> {
        if self.portable.is_some() || !self.cached.load(Ordering::Relaxed) {
            return None;
        }
        let text = match on_disk(path) {
            Ok(text) => text,
            Err(error) => return Some(Err(error)),
        };
        match linux::open_cached(&self.dir, &text, flags) {
            Ok(fd) => Some(Ok(fd)),
            Err(Errno::AGAIN | Errno::INTR) => None,
            // A kernel before 5.12 does not know the flag.
            Err(Errno::INVAL) => {
                self.cached.store(false, Ordering::Relaxed);
                None
            }
            Err(Errno::XDEV) => Some(Err(self.error(leaves_the_root(), path))),
            Err(error) => Some(Err(self.error(error, path))),
        }
    }
}

/// Makes the directories `missing` below `dir`, one in another, and opens the last one. Each is
/// opened in the one that was just made: no link is followed.
fn make_below(mut dir: OwnedFd, missing: &[u8]) -> rustix::io::Result<OwnedFd> {
    for name in missing.split(|byte| *byte == b'/') {
        let name = OsStr::from_bytes(name);
        match rustix::fs::mkdirat(&dir, name, Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        dir = rustix::fs::openat(&dir, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
    }
    Ok(dir)
}

/// Whether an open directory was removed: nothing can be put into it any more.
pub(crate) fn is_removed(dir: &OwnedFd) -> bool {
    fstat(dir).is_ok_and(|stat| stat.st_nlink == 0)
}

/// What is in the place of a name, a link itself included.
pub(crate) fn look_at(place: &Place) -> io::Result<Option<Attributes>> {
    match rustix::fs::statat(&place.dir, &place.name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(Attributes::from(stat))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A path as it is on disk, relative to the root; empty for the root.
fn on_disk(path: &VfsPath) -> Result<Cow<'_, [u8]>> {
    let invalid =
        |message: String| Error::new(ErrorKind::InvalidPath, message).with_path(path.as_str());
    if path.as_str().contains(RESERVED) && path.segments().any(|name| name.starts_with(RESERVED)) {
        return Err(invalid(format!("names that begin with `{RESERVED}` are reserved")));
    }
    let text = names::decode(path.key()).map_err(|error| error.with_path(path.as_str()))?;
    if text.len() > MAX_SEGMENT {
        // Refused as a whole, before the directories above are made.
        if path.as_str().len() > MAX_PATH {
            return Err(invalid(format!("longer than {MAX_PATH} bytes")));
        }
        if text.split(|byte| *byte == b'/').any(|name| name.len() > MAX_SEGMENT) {
            return Err(invalid(format!("a name is longer than {MAX_SEGMENT} bytes")));
        }
    }
    Ok(text)
}

fn name_on_disk(name: &str, path: &VfsPath) -> Result<OsString> {
    on_disk(path)?;
    let name = names::decode(name).map_err(|error| error.with_path(path.as_str()))?;
    Ok(OsStr::from_bytes(&name).to_owned())
}

fn relative(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(if path.is_empty() { b"." } else { path }))
}

fn open_portable(root: &cap_std::fs::Dir, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    // `O_NONBLOCK` and `O_NOCTTY`, so that a pipe or a terminal does not hold the caller up. Not
    // `Dir::open_dir`: its handles can neither be listed nor locked.
    let flags = flags & (OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::DIRECTORY);
    let flags = flags.bits();
    let mut options = cap_std::fs::OpenOptions::new();
    options.read(true).custom_flags(flags as i32);
    Ok(root.open_with(relative(path), &options)?.into_std().into())
}

#[cfg(target_os = "linux")]
fn probe(dir: &OwnedFd) -> io::Result<()> {
    linux::open(dir, b"", OFlags::PATH | OFlags::CLOEXEC).map(drop)
}

#[cfg(not(target_os = "linux"))]
fn probe(_: &OwnedFd) -> io::Result<()> {
    Err(Errno::NOSYS.into())
}

#[cfg(target_os = "linux")]
fn real_path(fd: &OwnedFd) -> rustix::io::Result<Vec<u8>> {
    let link = crate::publish::proc_path(fd);
    rustix::fs::readlink(link, Vec::new()).map(std::ffi::CString::into_bytes)
}

#[cfg(target_vendor = "apple")]
fn real_path(fd: &OwnedFd) -> rustix::io::Result<Vec<u8>> {
    rustix::fs::getpath(fd).map(std::ffi::CString::into_bytes)
}

#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
fn real_path(_: &OwnedFd) -> rustix::io::Result<Vec<u8>> {
    Err(Errno::NOSYS)
}

#[cfg(target_os = "linux")]
mod linux {
    //! `openat2`.

    use super::{Errno, Mode, OFlags, OwnedFd, io, leaves_the_root, relative};
    use rustix::fs::{ResolveFlags, openat2};

    const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

    pub(super) fn open(root: &OwnedFd, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
        // EAGAIN: a rename somewhere raced with the resolution. The kernel's own limit of patience
        // is a single round; a busy tree needs more.
        for _ in 0..1000 {
            match openat2(root, relative(path), flags, Mode::empty(), BENEATH) {
                Err(Errno::AGAIN | Errno::INTR) => std::thread::yield_now(),
                Err(Errno::XDEV) => return Err(leaves_the_root()),
                opened => return Ok(opened?),
            }
        }
        Err(Errno::BUSY.into())
    }

    pub(super) fn open_cached(
        root: &OwnedFd,
        path: &[u8],
        flags: OFlags,
    ) -> rustix::io::Result<OwnedFd> {
        let resolve = BENEATH.union(ResolveFlags::CACHED);
        openat2(root, relative(path), flags, Mode::empty(), resolve)
    }
}
