//! Directories and files as values: what a disk held before, and what it holds after something happened.

use std::fs;
use std::path::Path;

use nexus_fs::{Digest, Hasher};

use crate::support::Result;

/// Directories and files by their paths below the root, parents before children.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tree {
    /// Without the root.
    pub(crate) dirs: Vec<String>,
    /// Paths and contents.
    pub(crate) files: Vec<(String, Vec<u8>)>,
}

/// The index of an SQLite write-ahead log lives in shared memory, and is made anew after a crash.
pub(crate) fn is_memory(name: &str) -> bool {
    name.ends_with("-shm")
}

impl Tree {
    /// Reads a directory.
    ///
    /// # Errors
    /// When something in it can not be read, or is neither file nor directory.
    pub(crate) fn load(root: &Path) -> Result<Self> {
        let mut tree = Self::default();
        tree.load_below(root, "")?;
        Ok(tree)
    }

    fn load_below(&mut self, root: &Path, below: &str) -> Result {
        for entry in fs::read_dir(root.join(below))? {
            let entry = entry?;
            let name = entry.file_name().into_string().map_err(|_| "a name is not UTF-8")?;
            let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.dirs.push(path.clone());
                self.load_below(root, &path)?;
            } else if !kind.is_file() {
                return Err(format!("{path} is neither file nor directory").into());
            } else if !is_memory(&name) {
                self.files.push((path, fs::read(entry.path())?));
            }
        }
        Ok(())
    }

    /// Writes it into a new directory.
    ///
    /// # Errors
    /// When that can not be done.
    pub(crate) fn store(&self, root: &Path) -> Result {
        fs::create_dir(root)?;
        for dir in &self.dirs {
            fs::create_dir(root.join(dir))?;
        }
        for (path, content) in &self.files {
            fs::write(root.join(path), content)?;
        }
        Ok(())
    }

    /// Makes a directory hold the tree and nothing else, whatever it holds.
    ///
    /// # Errors
    /// When that can not be done.
    pub(crate) fn restore(&self, root: &Path) -> Result {
        if !root.exists() {
            return self.store(root);
        }
        self.remove_others(root, "")?;
        for dir in &self.dirs {
            match fs::create_dir(root.join(dir)) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                made => made?,
            }
        }
        for (path, content) in &self.files {
            fs::write(root.join(path), content)?;
        }
        Ok(())
    }

    fn remove_others(&self, root: &Path, below: &str) -> Result {
        for entry in fs::read_dir(root.join(below))? {
            let entry = entry?;
            let name = entry.file_name().into_string().map_err(|_| "a name is not UTF-8")?;
            let path = if below.is_empty() { name } else { format!("{below}/{name}") };
            if !entry.file_type()?.is_dir() {
                if !self.files.iter().any(|(file, _)| *file == path) {
                    fs::remove_file(entry.path())?;
                }
            } else if self.dirs.contains(&path) {
                self.remove_others(root, &path)?;
            } else {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    /// Tells two trees apart.
    pub(crate) fn digest(&self) -> Digest {
        let mut hasher = Hasher::new();
        let mut add = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        for dir in &self.dirs {
            add(dir.as_bytes());
        }
        for (path, content) in &self.files {
            add(path.as_bytes());
            add(content);
        }
        hasher.finish()
    }
}
