//! Operations on whole trees. They go on past what fails, and report all of it.

use futures_util::StreamExt;

use super::Kernel;
use super::relation::Relation;
use super::transfer::{Copied, CopyOptions};
use super::verbs::{Place, is_a_mount_point};
use super::walk::WalkOptions;
use crate::{
    Capabilities, CopyMethod, DeleteTarget, Directories, Entry, EntryKind, Error, ErrorKind,
    IntoPath, ListOptions, Operation, Result, VfsPath,
};

/// How many failures, and how many skipped paths, a report names; more are only counted.
const NAMED: usize = 1000;

/// What a tree operation did.
#[derive(Debug, Default)]
pub struct TreeReport {
    /// Files, and symbolic links, that were copied or removed.
    pub files: u64,
    /// Directories that were made or removed.
    pub directories: u64,
    /// Bytes that went through this program.
    pub bytes: u64,
    /// Files that were passed over because their content was at the target already.
    pub unchanged: u64,
    /// Their bytes.
    pub unchanged_bytes: u64,
    /// Bytes, of those that went through this program, that the target kept already and did not store
    /// again. Known of an import, and of a dry run into a store that keeps content by digest; the latter
    /// does not see what is twice in the source.
    pub known_bytes: u64,
    /// Files copied by metadata alone.
    pub metadata: u64,
    /// Files copied by reflink.
    pub reflink: u64,
    /// Files copied by the store.
    pub server_side: u64,
    /// Files copied by streaming.
    pub streamed: u64,
    /// What was passed over because it has no content to copy (links to directories, sockets, …);
    /// the first 1,000.
    pub skipped: Vec<VfsPath>,
    /// How many were passed over.
    pub skipped_count: u64,
    /// What failed; the first 1,000.
    pub failures: Vec<Error>,
    /// How many failed.
    pub failed_count: u64,
}

impl TreeReport {
    /// Whether everything was done.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.failed_count == 0 && self.skipped_count == 0
    }

    fn add(&mut self, step: Step) {
        match step {
            Step::File(copied) => self.copied(&copied),
            Step::Planned { bytes, known } => {
                self.files += 1;
                self.bytes += bytes;
                self.known_bytes += if known { bytes } else { 0 };
            }
            Step::Unchanged(bytes) => {
                self.unchanged += 1;
                self.unchanged_bytes += bytes;
            }
            Step::Directory => self.directories += 1,
            Step::Skipped(path) => self.skip(path),
        }
    }

    fn copied(&mut self, copied: &Copied) {
        self.files += 1;
        self.bytes += copied.bytes;
        match copied.method {
            CopyMethod::Metadata => self.metadata += 1,
            CopyMethod::Reflink => self.reflink += 1,
            CopyMethod::ServerSide => self.server_side += 1,
            CopyMethod::Streamed => self.streamed += 1,
        }
    }

    fn skip(&mut self, path: VfsPath) {
        self.skipped_count += 1;
        if self.skipped.len() < NAMED {
            self.skipped.push(path);
        }
    }

    fn fail(&mut self, error: Error, options: Option<&CopyOptions>) {
        if let Some(progress) = options.and_then(|options| options.progress.as_deref()) {
            progress.fail(&error);
        }
        self.failed_count += 1;
        if self.failures.len() < NAMED {
            self.failures.push(error);
        }
    }
}

/// What became of one entry of a tree that is copied.
pub(super) enum Step {
    File(Copied),
    /// Of so many bytes; whether the target has the content somewhere.
    Planned {
        bytes: u64,
        known: bool,
    },
    Unchanged(u64),
    Directory,
    Skipped(VfsPath),
}

impl Kernel {
    /// Copies a file, or a directory with everything below it, to `to` itself. A directory that is
    /// there already is merged into; `options.mode` decides for each file. Links to files are
    /// copied as files, other links are passed over and reported. A dry run counts what would be copied
    /// as if it were.
    ///
    /// # Errors
    /// What is wrong with `from` or `to` themselves: `NotFound`, `NotADirectory`, `InvalidPath` for a
    /// directory into itself, or between a store and the files in which it is kept. What fails below is
    /// in the report.
    pub async fn copy_all(
        &self,
        from: impl IntoPath,
        to: impl IntoPath,
        options: &CopyOptions,
    ) -> Result<TreeReport> {
        let (from, to) = (from.into_path()?, to.into_path()?);
        let mut report = TreeReport::default();
        if !self.stat(&from).await?.is_dir() {
            let step = self.copy_one(&from, &to, options).await?;
            report.add(step);
            return Ok(report);
        }
        let inside = match (self.place(&from, Operation::Copy)?, self.place(&to, Operation::Copy)?)
        {
            (Place::Mounted(source), Place::Mounted(target)) => {
                matches!(Relation::of(&source, &target), Relation::Same | Relation::Inside)
            }
            _ => to.starts_with(&from),
        };
        if inside {
            let message = format!("a directory can not be copied into itself ({to})");
            return Err(Error::new(ErrorKind::InvalidPath, message)
                .with_operation(Operation::Copy)
                .with_path(from.as_str()));
        }
        let own_files = &self.check_own_files(&from, &to, Operation::Copy)?;
        if !options.dry_run {
            self.make_dir(&to).await?;
        }
        let walk = WalkOptions { max_depth: None, names_only: true };
        let entries = self.walk(&from, &walk).await?;
        let (from, to) = (&from, &to);
        let mut steps = entries
            .map(|entry| async move {
                let entry = entry?;
                let target = rebase(&entry.path, from, to)?;
                own_files.check(&target)?;
                self.copy_entry(entry, &target, options).await
            })
            .buffer_unordered(self.shared.parallelism);
        while let Some(step) = steps.next().await {
            match step {
                Ok(step) => report.add(step),
                Err(error) => report.fail(error, Some(options)),
            }
        }
        Ok(report)
    }

    async fn copy_entry(
        &self,
        entry: Entry,
        target: &VfsPath,
        options: &CopyOptions,
    ) -> Result<Step> {
        match entry.metadata.kind {
            EntryKind::Directory => {
                if !options.dry_run {
                    self.make_dir(target).await?;
                }
                return Ok(Step::Directory);
            }
            EntryKind::Symlink if self.stat(&entry.path).await?.is_dir() => {
                return Ok(Step::Skipped(entry.path));
            }
            EntryKind::Other => return Ok(Step::Skipped(entry.path)),
            EntryKind::File | EntryKind::Symlink => {}
        }
        self.copy_one(&entry.path, target, options).await
    }

    async fn copy_one(&self, from: &VfsPath, to: &VfsPath, options: &CopyOptions) -> Result<Step> {
        if options.only_differing
            && let Some(bytes) = self.is_same(from, to).await?
        {
            return Ok(Step::Unchanged(bytes));
        }
        match options.dry_run {
            true => self.plan(from, to).await,
            false => self.copy_file(from, to, options).await.map(Step::File),
        }
    }

    /// Makes a directory where the store has them; elsewhere it is implied by what comes below.
    pub(super) async fn make_dir(&self, path: &VfsPath) -> Result<()> {
        match self.create_dir(path).await {
            Err(error) if error.kind() == ErrorKind::Unsupported => Ok(()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Err(Error::new(ErrorKind::NotADirectory, "a file is in the place of a directory")
                    .with_operation(Operation::Copy)
                    .with_path(path.as_str()))
            }
            made => made,
        }
    }

    /// Removes a file, a symbolic link, or a directory with everything below it. Never follows a
    /// link. What can not be removed is in the report, and the directories above it stay.
    ///
    /// # Errors
    /// `NotFound`, `MountConflict` for a mount point or a directory above one, and what makes it
    /// impossible to begin.
    pub async fn remove_all(&self, path: impl IntoPath) -> Result<TreeReport> {
        let path = path.into_path()?;
        let mut report = TreeReport::default();
        if self.capabilities(&path)?.directories == Directories::Virtual {
            // Such a store can not refuse to delete a directory: it has none to see.
            if self.stat(&path).await?.is_dir() {
                self.remove_below(&path, &mut report, true).await?;
            } else {
                self.delete(&path).await?;
                report.files += 1;
            }
            return Ok(report);
        }
        // A plain delete first: it tells a directory from a link to one.
        match self.delete(&path).await {
            Ok(()) => report.files += 1,
            Err(error) if error.kind() == ErrorKind::IsADirectory => {
                self.remove_tree(&path, &mut report).await?;
            }
            Err(error) => return Err(error),
        }
        Ok(report)
    }

    /// What the store can do whose object at `path` is to be changed.
    pub(super) fn capabilities(&self, path: &VfsPath) -> Result<Capabilities> {
        let visit = self.place_to_change(path, Operation::Delete, is_a_mount_point)?;
        Ok(visit.ticket.backend().info().capabilities.clone())
    }

    /// Depth first, with what is still to do on a stack: a directory goes after what is in it.
    async fn remove_tree(&self, top: &VfsPath, report: &mut TreeReport) -> Result<()> {
        let mut stack = vec![(top.clone(), false)];
        while let Some((dir, emptied)) = stack.pop() {
            if emptied {
                match self.remove_dir(&dir).await {
                    Ok(()) => report.directories += 1,
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    // What is left in it failed before, and was reported then.
                    Err(error)
                        if error.kind() == ErrorKind::DirectoryNotEmpty
                            && report.failed_count > 0 => {}
                    Err(error) => report.fail(error, None),
                }
                continue;
            }
            match self.remove_below(&dir, report, false).await {
                Ok(children) => {
                    stack.push((dir, true));
                    stack.extend(children.into_iter().map(|child| (child, false)));
                }
                Err(error) if dir == *top => return Err(error),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => report.fail(error, None),
            }
        }
        Ok(())
    }

    /// Deletes the files directly below `dir`, or all of them when `recursive`, as they are listed;
    /// answers the directories met.
    async fn remove_below(
        &self,
        dir: &VfsPath,
        report: &mut TreeReport,
        recursive: bool,
    ) -> Result<Vec<VfsPath>> {
        let options = ListOptions { recursive, names_only: true, ..ListOptions::default() };
        let entries = self.list(dir, &options).await?;
        let mut batches = entries.ready_chunks(NAMED);
        let mut children = Vec::new();
        while let Some(batch) = batches.next().await {
            let mut targets: Vec<DeleteTarget> = Vec::new();
            for entry in batch {
                match entry {
                    Ok(entry) if entry.metadata.is_dir() => children.push(entry.path),
                    Ok(entry) => targets.push(entry.path.into()),
                    Err(error) => report.fail(error, None),
                }
            }
            for result in self.delete_many(targets).await {
                match result {
                    Ok(_) => report.files += 1,
                    Err(error) => report.fail(error, None),
                }
            }
        }
        Ok(children)
    }
}

/// `path` below `from`, as a path below `to`.
pub(super) fn rebase(path: &VfsPath, from: &VfsPath, to: &VfsPath) -> Result<VfsPath> {
    to.concat(&path.strip_prefix(from).unwrap_or_else(VfsPath::root))
}
