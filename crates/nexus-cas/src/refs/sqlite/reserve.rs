//! Space that is set aside, so that a disk without any left still takes what frees some.

use std::io::Write;
use std::path::PathBuf;

/// Enough for the log of many deletes, in bytes.
const SIZE: usize = 256 << 10;

/// A file that is there to be removed.
pub(super) struct Reserve {
    path: PathBuf,
}

impl Reserve {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Gives the space back; answers whether there was any.
    pub(super) fn release(&self) -> bool {
        std::fs::remove_file(&self.path).is_ok()
    }

    /// Sets space aside where none is. A disk that has none left stays as it is.
    pub(super) fn fill(&self) {
        let Ok(mut file) = std::fs::File::create_new(&self.path) else { return };
        if file.write_all(&vec![0; SIZE]).is_err() {
            self.release();
        }
    }
}
