//! Moving a tree between stores that can not do it themselves: file by file, so that each is whole
//! at one of the two places at every moment.

use futures_util::{StreamExt, future, stream};

use super::Kernel;
use super::transfer::CopyOptions;
use super::tree::rebase;
use super::walk::WalkOptions;
use crate::{
    Directories, EntryKind, Error, ErrorKind, ListOptions, Operation, Result, VfsPath, WriteMode,
};

impl Kernel {
    /// Moves a directory to where nothing is: each file is copied, then deleted in the version that
    /// was copied; then the emptied directories go. Stops at the first failure.
    pub(super) async fn move_tree(
        &self,
        from: &VfsPath,
        to: &VfsPath,
        options: &CopyOptions,
    ) -> Result<()> {
        if self.exists(to).await? {
            return Err(Error::new(ErrorKind::AlreadyExists, "something is there already")
                .with_operation(Operation::Rename)
                .with_path(to.as_str()));
        }
        let own_files = self.check_own_files(from, to, Operation::Rename)?;
        self.check_movable(from).await?;
        // Nothing was at `to`; where the store can, this also holds for what comes there meanwhile.
        let mode = match self.capabilities(to)?.create {
            true => WriteMode::Create,
            false => WriteMode::Overwrite,
        };
        let create = CopyOptions { mode, progress: options.progress.clone(), ..Default::default() };
        self.make_dir(to).await?;
        let mut directories = vec![from.clone()];
        let walk = WalkOptions { max_depth: None, names_only: true };
        let mut entries = self.walk(from, &walk).await?;
        while let Some(entry) = entries.next().await {
            let entry = entry?;
            let target = rebase(&entry.path, from, to)?;
            own_files.check(&target).map_err(|error| interrupted(error, from, to))?;
            if entry.metadata.is_dir() {
                self.make_dir(&target).await?;
                directories.push(entry.path);
            } else {
                let moved = self.move_file(&entry.path, &target, &create).await;
                moved.map_err(|error| interrupted(error, from, to))?;
            }
        }
        drop(entries);
        // The walk gave each directory before what is in it.
        for dir in directories.into_iter().rev() {
            match self.remove_dir(dir).await {
                Err(error)
                    if !matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::NotFound) =>
                {
                    return Err(interrupted(error, from, to));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Refuses to move a tree that could only be moved in part, before anything has changed: a
    /// symbolic link can not be made elsewhere, and what it leads to may be moved before it.
    async fn check_movable(&self, from: &VfsPath) -> Result<()> {
        let walk = WalkOptions { max_depth: None, names_only: true };
        let below = self.walk(from, &walk).await?;
        let names = ListOptions { names_only: true, ..ListOptions::default() };
        let beside = match from.parent() {
            // Where directories are only keys there are no links.
            Some(parent) if self.capabilities(from)?.directories == Directories::Real => {
                self.list(&parent, &names).await?
            }
            _ => stream::empty().boxed(),
        };
        let itself = beside.filter(|entry| {
            future::ready(entry.as_ref().map_or(true, |entry| entry.path == *from))
        });
        let mut entries = itself.chain(below);
        while let Some(entry) = entries.next().await {
            let entry = entry?;
            if !matches!(entry.metadata.kind, EntryKind::File | EntryKind::Directory) {
                let message = "only files and directories can be moved to another mount";
                return Err(Error::new(ErrorKind::Unsupported, message)
                    .with_operation(Operation::Rename)
                    .with_path(entry.path.as_str())
                    .with_hint("nothing was moved: copy instead, which passes over the rest"));
            }
        }
        Ok(())
    }

    async fn exists(&self, path: &VfsPath) -> Result<bool> {
        match self.stat(path).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn interrupted(error: Error, from: &VfsPath, to: &VfsPath) -> Error {
    Error::new(error.kind(), format!("the move to {to} stopped: {}", error.message()))
        .with_operation(Operation::Rename)
        .with_path(error.path().unwrap_or(from.as_str()))
        .with_hint(format!("nothing is lost: each file is whole in {from} or in {to}"))
        .with_source(error)
}
