//! Listings: a batch of entries a hop, the next one read ahead, never a directory in memory.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt};
use nexus_core::{Entry, Error, ListOptions, Listing, Metadata, Result, VfsPath};
use rustix::fs::{AtFlags, Dir, DirEntry, FileType, Mode, OFlags, statat};
use rustix::io::Errno;
use tokio::task::JoinHandle;

use crate::attributes::{Attributes, DigestCache};
use crate::beneath::{RESERVED, Root};
use crate::blocking;
use crate::{names, publish};

/// Entries a hop.
const BATCH: usize = 512;

/// A walk through one directory, or through all below it.
struct Walk {
    root: Arc<Root>,
    digests: Arc<DigestCache>,
    recursive: bool,
    names_only: bool,
    /// The directories from the first down to the one that is read now.
    open: Vec<(Dir, VfsPath)>,
    /// How many entries may still be given.
    left: usize,
}

type Batch = Vec<Result<Entry>>;

/// Lists a directory of the mount.
pub(crate) async fn list(
    root: &Arc<Root>,
    digests: &Arc<DigestCache>,
    path: &VfsPath,
    options: &ListOptions,
) -> Result<Listing> {
    let mut walk = Walk {
        root: Arc::clone(root),
        digests: Arc::clone(digests),
        recursive: options.recursive,
        names_only: options.names_only,
        open: Vec::new(),
        left: options.limit.unwrap_or(usize::MAX),
    };
    let path = path.clone();
    let first = blocking::run(move || {
        let dir = walk.root.directory(&path)?;
        // A directory that was removed is empty, and still no empty listing.
        if path.is_root() && walk.root.is_gone() {
            return Err(walk.root.gone(&path));
        }
        let dir = Dir::new(dir).map_err(|error| walk.root.error(error, &path))?;
        walk.open.push((dir, path));
        let batch = walk.batch();
        Ok((batch, walk))
    })
    .await?;
    let (batch, walk) = first;
    let batches =
        stream::unfold(Some(State::Ready(batch, walk)), |state| async move { state?.next().await });
    Ok(batches.flat_map(stream::iter).boxed())
}

/// What a listing waits for.
enum State {
    Ready(Batch, Walk),
    Ahead(JoinHandle<(Batch, Walk)>),
}

impl State {
    async fn next(self) -> Option<(Batch, Option<Self>)> {
        let (batch, walk) = match self {
            Self::Ready(batch, walk) => (batch, walk),
            Self::Ahead(reading) => match reading.await {
                Ok(read) => read,
                Err(error) => {
                    let error =
                        Error::new(nexus_core::ErrorKind::Closed, "the runtime is shutting down")
                            .with_source(error);
                    return Some((vec![Err(error)], None));
                }
            },
        };
        let ahead = (!walk.open.is_empty() && walk.left > 0)
            .then(|| Self::Ahead(tokio::task::spawn_blocking(move || walk.into_batch())));
        Some((batch, ahead))
    }
}

impl Walk {
    fn into_batch(mut self) -> (Batch, Self) {
        let batch = self.batch();
        (batch, self)
    }

    fn batch(&mut self) -> Batch {
        let mut batch = Vec::new();
        while batch.len() < BATCH.min(self.left) {
            let Some((dir, path)) = self.open.last_mut() else { break };
            let entry = match dir.next() {
                None => {
                    self.open.pop();
                    continue;
                }
                Some(Ok(entry)) => entry,
                Some(Err(error)) => {
                    let error = self.root.error(error, path);
                    self.open.pop();
                    batch.push(Err(error));
                    continue;
                }
            };
            let path = path.clone();
            let Some(entry) = self.entry(&path, &entry).transpose() else { continue };
            let below =
                entry.as_ref().ok().filter(|entry| self.recursive && entry.metadata.is_dir());
            let below = below.map(|entry| entry.path.clone());
            batch.push(entry);
            if let Some(Err(error)) = below.map(|path| self.descend(path)) {
                batch.push(Err(error));
            }
        }
        self.left = self.left.saturating_sub(batch.len());
        batch
    }

    /// Goes on in a directory that was just met.
    fn descend(&mut self, path: VfsPath) -> Result<()> {
        let (Some((dir, _)), Some(name)) = (self.open.last_mut(), path.file_name()) else {
            return Ok(());
        };
        let about = |error: Errno| self.root.error(error, &path);
        let name = names::decode(name)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = dir.fd().map_err(about)?;
        let below = rustix::fs::openat(dir, OsStr::from_bytes(&name), flags, Mode::empty());
        match below.and_then(Dir::new) {
            Ok(below) => self.open.push((below, path)),
            // Gone, or replaced by something else.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            Err(error) => return Err(about(error)),
        }
        Ok(())
    }

    /// The entry that a name on disk makes, if it makes one.
    fn entry(&mut self, parent: &VfsPath, entry: &DirEntry) -> Result<Option<Entry>> {
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            return Ok(None);
        }
        let Some((dir, _)) = self.open.last() else { return Ok(None) };
        let about = |error: Errno| self.root.error(error, parent);
        let dir = dir.fd().map_err(about)?;
        let on_disk = OsStr::from_bytes(name);
        if name.starts_with(RESERVED.as_bytes()) {
            publish::sweep_if_left(dir, on_disk);
            return Ok(None);
        }
        let metadata = match self.metadata(dir, on_disk, entry.file_type()) {
            Ok(metadata) => metadata,
            // Gone since the directory was read.
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(about(error)),
        };
        Ok(Some(Entry::new(parent.join(&names::encode(name))?, metadata)))
    }

    fn metadata(
        &self,
        dir: impl std::os::fd::AsFd,
        name: &OsStr,
        file_type: FileType,
    ) -> rustix::io::Result<Metadata> {
        if self.names_only && file_type != FileType::Unknown {
            return Ok(Attributes::kind_only(file_type));
        }
        let attributes = Attributes::from(statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?);
        let digest = self.digests.get(&attributes).flatten();
        Ok(attributes.metadata(digest))
    }
}

/// Whether a directory holds nothing but temporary files that were left behind; removes those.
pub(crate) fn sweep(dir: &OwnedFd) -> rustix::io::Result<bool> {
    let mut swept = false;
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name.starts_with(RESERVED.as_bytes()) {
            swept |= publish::sweep_if_left(dir, OsStr::from_bytes(name));
        }
    }
    Ok(swept)
}
