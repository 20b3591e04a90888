//! What survives a power cut: syncs, and which directories need none any more.
//!
//! A file survives when its content was synced, the directory that holds its name, and every directory
//! above that one up to the root. Whoever made those may be another write under way, or a process that
//! was killed before it came to sync them, so a write relies on nobody else: it syncs what this mount has
//! not yet seen synced.

use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use nexus_core::{Error, ErrorKind, Result, VfsPath};

use crate::beneath::{Root, is_removed};

/// How many directories are remembered; then all are forgotten, which costs syncs and nothing else.
const REMEMBERED: usize = 16 << 10;

/// How often a directory may move away while the ones above it are synced.
const MOVES: usize = 8;

/// What a mount knows of its disk.
#[derive(Default)]
pub(crate) struct Durable {
    /// Whether a sync failed: what the disk holds is unknown from then on.
    distrusted: AtomicBool,
    /// The directories whose names, and those of all above them, were synced.
    settled: Mutex<HashSet<Known>>,
}

/// One directory at one path. The number of a directory that was removed may be given again, so the
/// moment of its birth belongs to it.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Known {
    path: VfsPath,
    number: u64,
    born: (i64, u32),
}

impl Known {
    /// `None` where the system does not tell when a directory was made.
    #[cfg(target_os = "linux")]
    fn of(dir: &OwnedFd, path: &VfsPath) -> Option<Self> {
        use rustix::fs::{AtFlags, StatxFlags, statx};
        let wanted = StatxFlags::INO | StatxFlags::BTIME;
        let found = statx(dir, "", AtFlags::EMPTY_PATH, wanted).ok()?;
        StatxFlags::from_bits_retain(found.stx_mask).contains(wanted).then(|| Self {
            path: path.clone(),
            number: found.stx_ino,
            born: (found.stx_btime.tv_sec, found.stx_btime.tv_nsec),
        })
    }

    #[cfg(not(target_os = "linux"))]
    fn of(_: &OwnedFd, _: &VfsPath) -> Option<Self> {
        None
    }
}

impl Durable {
    fn knows(&self, known: Option<&Known>) -> bool {
        let settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        known.is_some_and(|known| settled.contains(known))
    }

    fn remember(&self, seen: Vec<Known>) {
        let mut settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        if settled.len() + seen.len() > REMEMBERED {
            settled.clear();
        }
        settled.extend(seen);
    }
}

impl Root {
    /// Makes an open file, or the names in an open directory, survive a power cut. A sync that failed is
    /// never tried again: the system may have dropped what it could not write, and would then answer
    /// success. All later ones fail too, until the directory is mounted anew.
    pub(crate) fn sync(&self, fd: impl AsFd, path: &VfsPath) -> Result<()> {
        let distrusted = &self.durable.distrusted;
        if !distrusted.load(Ordering::Acquire) {
            let Err(error) = rustix::fs::fsync(fd) else { return Ok(()) };
            distrusted.store(true, Ordering::Release);
            return Err(self.error(error, path));
        }
        Err(Error::new(ErrorKind::Unavailable, "the disk failed to sync before")
            .with_path(path.as_str())
            .with_hint("see the system log; unmount and mount again once the disk is well"))
    }

    /// Makes the name of an open directory survive a power cut, and the names of those above it.
    pub(crate) fn settle(&self, dir: &OwnedFd, path: &VfsPath) -> Result<()> {
        let mut known = Known::of(dir, path);
        if self.durable.knows(known.as_ref()) {
            return Ok(());
        }
        for _ in 0..MOVES {
            // What is above is a matter of where the directory really is, not of links to it.
            let real = self.path_of(dir).unwrap_or_else(|_| path.clone());
            match self.settle_above(&real) {
                Ok(mut seen) => {
                    seen.extend(known.take());
                    self.durable.remember(seen);
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    if is_removed(dir) {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::new(ErrorKind::Unavailable, "the directory is moved all the time")
            .with_path(path.as_str()))
    }

    /// Syncs every directory above `path`, up to one that is known; answers which are known now.
    fn settle_above(&self, path: &VfsPath) -> Result<Vec<Known>> {
        let mut seen = Vec::new();
        for above in std::iter::successors(path.parent(), VfsPath::parent) {
            let dir = self.directory(&above)?;
            self.sync(&dir, &above)?;
            let known = Known::of(&dir, &above);
            if self.durable.knows(known.as_ref()) {
                break;
            }
            seen.extend(known);
        }
        Ok(seen)
    }

    /// Makes what is at `path` survive a power cut: a file with its content, a directory with the names
    /// in it, and the names that lead there.
    pub(crate) fn sync_path(&self, path: &VfsPath) -> Result<()> {
        let file = self.file(path)?;
        self.sync(&file, path)?;
        // Of a link, the place where the file really is.
        let path = self.path_of(&file).unwrap_or_else(|_| path.clone());
        let Some(above) = path.parent() else { return Ok(()) };
        let dir = self.directory(&above)?;
        self.sync(&dir, &above)?;
        self.settle(&dir, &above)
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;
    use crate::beneath::Resolver;

    fn knows(root: &Root, path: &str) -> bool {
        let path = VfsPath::parse(path).unwrap();
        let dir = root.directory(&path).unwrap();
        root.durable.knows(Known::of(&dir, &path).as_ref())
    }

    fn settle(root: &Root, path: &str) {
        let path = VfsPath::parse(path).unwrap();
        root.settle(&root.directory(&path).unwrap(), &path).unwrap();
    }

    #[test]
    fn a_directory_is_settled_with_all_above_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("a/b/c")).unwrap();
        let root = Root::open(folder.path().to_owned(), Resolver::Auto).unwrap();
        assert!(!knows(&root, "/a"));
        settle(&root, "/a/b");
        assert!(knows(&root, "/a") && knows(&root, "/a/b"));
        assert!(!knows(&root, "/a/b/c"));
    }

    #[test]
    fn one_that_was_made_again_or_moved_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("a/b")).unwrap();
        let root = Root::open(folder.path().to_owned(), Resolver::Auto).unwrap();
        settle(&root, "/a/b");
        std::fs::rename(at("a"), at("c")).unwrap();
        assert!(!knows(&root, "/c/b"));
        std::fs::create_dir_all(at("a/b")).unwrap();
        assert!(!knows(&root, "/a/b"));
    }

    #[test]
    fn behind_a_link_the_directories_above_are_the_real_ones() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("x/y")).unwrap();
        std::os::unix::fs::symlink("x/y", folder.path().join("link")).unwrap();
        let root = Root::open(folder.path().to_owned(), Resolver::Auto).unwrap();
        settle(&root, "/link");
        assert!(knows(&root, "/x") && knows(&root, "/link"));
    }
}
