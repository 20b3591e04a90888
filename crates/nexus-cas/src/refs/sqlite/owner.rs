//! Locked files: one a process and store, so that pins of a process that is gone do not count, and one
//! that whoever opens the refs holds.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The file that says that this process lives. The system lets go of it, however the process ends.
pub(super) struct Owner {
    name: String,
    path: PathBuf,
    _held: File,
}

impl Owner {
    /// Takes a new name below `dir`.
    pub(super) fn new(dir: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        for _ in 0..100 {
            let name = new_name();
            let path = dir.join(&name);
            let held = match OpenOptions::new().write(true).create_new(true).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                opened => opened?,
            };
            // Whoever removes names that nobody holds may have come first.
            match held.try_lock() {
                Ok(()) if path.exists() => return Ok(Self { name, path, _held: held }),
                Ok(()) | Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // A name that stays is removed by the next collector.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Waits until no other process opens the refs in `dir`; the lock goes with the file. A database that
/// two processes make at once answers one of them that it is busy, without waiting.
pub(super) fn opening(dir: &Path) -> io::Result<File> {
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).open(dir.join("opening"))?;
    file.lock()?;
    Ok(file)
}

/// Whether a process still holds this name. Names that nobody holds are removed.
pub(super) fn lives(dir: &Path, name: &str) -> io::Result<bool> {
    let path = dir.join(name);
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened?,
    };
    match file.try_lock() {
        Ok(()) => {
            std::fs::remove_file(path)?;
            Ok(false)
        }
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// A name that no other process takes: hashed from what differs between processes and calls.
fn new_name() -> String {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    let seed = format!("{:?} {:?} {call}", std::time::SystemTime::now(), std::thread::current());
    let mut hasher = blake3::Hasher::new();
    hasher.update(seed.as_bytes());
    hasher.update(&std::process::id().to_le_bytes());
    hasher.finalize().to_hex()[..32].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_lives_until_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let owner = Owner::new(folder.path()).unwrap();
        let name = owner.name().to_owned();
        assert!(lives(folder.path(), &name).unwrap());
        drop(owner);
        assert!(!lives(folder.path(), &name).unwrap());
    }

    #[test]
    fn a_name_that_was_left_behind_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("left"), "").unwrap();
        assert!(!lives(folder.path(), "left").unwrap());
        assert!(!folder.path().join("left").exists());
    }
}
