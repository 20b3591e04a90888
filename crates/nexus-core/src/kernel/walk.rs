//! Walking a tree across mounts, in memory bounded by its depth.

use futures_util::StreamExt;
use futures_util::stream;

use super::Kernel;
use crate::{Entry, ErrorKind, IntoPath, ListOptions, Listing, Result, VfsPath};

/// Options of a walk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WalkOptions {
    /// How many levels to go down; 1 lists the directory alone. All of them by default.
    pub max_depth: Option<usize>,
    /// Paths and kinds are enough.
    pub names_only: bool,
}

/// One directory that is being walked.
struct Level {
    entries: Listing,
    /// How many more levels may be opened below this one.
    below: usize,
}

impl Kernel {
    /// Everything below the directory `path`: a directory comes before what is in it, and symbolic
    /// links are never followed. A directory that can not be listed is one error in the stream, and
    /// the walk goes on beside it; one that vanished meanwhile is passed over.
    ///
    /// # Errors
    /// `NotFound` and `NotADirectory` for `path` itself, and those of the backend.
    pub async fn walk(&self, path: impl IntoPath, options: &WalkOptions) -> Result<Listing> {
        let path = path.into_path()?;
        let max_depth = options.max_depth.unwrap_or(usize::MAX);
        if max_depth == 0 {
            let nothing = ListOptions { limit: Some(0), ..ListOptions::default() };
            drop(self.list_by_backend(&path, &nothing).await?);
            return Ok(stream::empty().boxed());
        }
        let names_only = options.names_only;
        let first = self.open_level(&path, max_depth - 1, names_only).await?;
        let state = (self.clone(), vec![first], None::<(VfsPath, usize)>);
        let entries = stream::unfold(state, move |(kernel, mut levels, mut descend)| async move {
            loop {
                if let Some((path, below)) = descend.take() {
                    match kernel.open_level(&path, below, names_only).await {
                        Ok(level) => levels.push(level),
                        Err(error) if error.kind() == ErrorKind::NotFound => {}
                        Err(error) => return Some((Err(error), (kernel, levels, None))),
                    }
                }
                let level = levels.last_mut()?;
                match level.entries.next().await {
                    None => {
                        levels.pop();
                    }
                    Some(Ok(entry)) => {
                        let below = level.below;
                        if below > 0 && entry.metadata.is_dir() {
                            descend = Some((entry.path.clone(), below - 1));
                        }
                        return Some((Ok::<Entry, _>(entry), (kernel, levels, descend)));
                    }
                    Some(Err(error)) => return Some((Err(error), (kernel, levels, None))),
                }
            }
        });
        Ok(entries.boxed())
    }

    /// Lists one directory, or its whole tree at once where the walk is unbounded and the store can.
    async fn open_level(&self, path: &VfsPath, below: usize, names_only: bool) -> Result<Level> {
        let unbounded = below > usize::MAX / 2;
        let recursive = unbounded && self.lists_trees(path)?;
        let options = ListOptions { recursive, names_only, ..ListOptions::default() };
        let entries = self.list_by_backend(path, &options).await?;
        Ok(Level { entries, below: if recursive { 0 } else { below } })
    }
}
