//! Where the database is. SQLite finds its files by their paths, whenever it wants: in the place of a
//! store that was moved it would find another one's, and take its log for this one's.

use std::path::{Path, PathBuf};

use nexus_core::{Error, ErrorKind, Result};

use super::schema::from_io;

/// A path, and which file is there.
#[derive(Clone, Debug)]
pub(super) struct Location {
    pub(super) path: PathBuf,
    file: (u64, u64),
}

impl Location {
    pub(super) fn of(path: PathBuf) -> Result<Self> {
        let file = identity(&path).map_err(from_io)?;
        Ok(Self { path, file })
    }

    /// Whether the same file is there.
    pub(super) fn is_kept(&self) -> bool {
        identity(&self.path).is_ok_and(|file| file == self.file)
    }

    /// Refuses to go on where another file is, or none.
    pub(super) fn check(&self) -> Result<()> {
        if self.is_kept() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unavailable, "the store was moved or replaced while it was open")
            .with_hint("unmount it, and mount it where it is now"))
    }
}

#[cfg(unix)]
fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).map(|file| (file.dev(), file.ino()))
}

/// Where files have no numbers an open one can not be moved.
#[cfg(not(unix))]
fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    std::fs::metadata(path).map(|_| (0, 0))
}
