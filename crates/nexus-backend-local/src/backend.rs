//! The verbs: what each asks of the other modules, and nothing more.

use std::os::fd::OwnedFd;
use std::sync::{Arc, PoisonError, RwLock};

use nexus_core::{
    Backend, Bytes, Capabilities, CopyMethod, DeleteTarget, Deleted, Digests, Directories,
    EntryKind, Error, ErrorKind, Info, Layout, Limits, ListOptions, ListOrder, Listing,
    MemoryBudget, Metadata, Object, ReadOptions, Result, Upload, VfsPath, WriteMode, WriteOptions,
    async_trait,
};
use rustix::fs::fstat;

use crate::attributes::{Attributes, DigestCache, keeps_digests};
use crate::beneath::{MAX_PATH, MAX_SEGMENT, Root};
use crate::blocking;
use crate::config::Config;
use crate::lock;
use crate::writer::Destination;
use crate::{copier, entries, lister, reader, writer};

/// Files below one directory.
pub(crate) struct LocalBackend {
    info: Info,
    root: RwLock<Option<Arc<Root>>>,
    digests: Arc<DigestCache>,
    budget: MemoryBudget,
    full: bool,
}

impl LocalBackend {
    pub(crate) fn new(config: Config, root: Root, budget: MemoryBudget) -> Self {
        let locks = lock::works(root.dir());
        let mut capabilities = Capabilities::default();
        capabilities.write = true;
        capabilities.create = true;
        capabilities.replace = locks;
        capabilities.delete_if_version = locks;
        capabilities.versions = true;
        capabilities.copy = true;
        capabilities.rename = true;
        capabilities.rename_dir = true;
        capabilities.directories = Directories::Real;
        capabilities.list_recursive = true;
        capabilities.upload_named_last = true;
        capabilities.list_order = ListOrder::Unordered;
        capabilities.digests =
            if keeps_digests(root.dir()) { Digests::Recorded } else { Digests::None };
        capabilities.layout = Layout::Plain;
        capabilities.limits = Limits {
            path_bytes: Some(MAX_PATH),
            segment_bytes: Some(MAX_SEGMENT),
            ..Limits::default()
        };
        capabilities.local_root = Some(root.real_path());
        // What a killed process left in the root goes now; elsewhere, when it is listed.
        if let Err(error) = lister::sweep(root.dir()) {
            tracing::debug!(%error, "the root was not swept");
        }
        let info = Info {
            scheme: "local",
            uri: config.uri,
            layout_reason: "every file is at its own path, as other programs see it".to_owned(),
            credentials: None,
            capabilities,
        };
        Self {
            info,
            root: RwLock::new(Some(Arc::new(root))),
            digests: Arc::new(DigestCache::new()),
            budget,
            full: config.full,
        }
    }

    fn root(&self) -> Result<Arc<Root>> {
        let root = self.root.read().unwrap_or_else(PoisonError::into_inner);
        root.clone().ok_or_else(|| Error::new(ErrorKind::Closed, "the mount was closed"))
    }

    fn destination(&self) -> Result<Destination> {
        Ok(Destination { root: self.root()?, full: self.full, hashes: true })
    }

    fn destination_for(&self, options: &WriteOptions) -> Result<Destination> {
        let full = self.full || options.durable;
        Ok(Destination { root: self.root()?, full, hashes: !options.skip_digest })
    }

    /// Refuses what this file system does not keep or can not compare.
    fn check_options(&self, path: &VfsPath, options: &WriteOptions) -> Result<()> {
        if options.content_type.is_some() || !options.user.is_empty() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "a local file keeps no content type and no user metadata",
            )
            .with_path(path.as_str()));
        }
        self.check_mode(path, &options.mode)
    }

    fn check_mode(&self, path: &VfsPath, mode: &WriteMode) -> Result<()> {
        if matches!(mode, WriteMode::Replace(_)) && !self.info.capabilities.replace {
            return Err(no_locks(path));
        }
        Ok(())
    }
}

fn no_locks(path: &VfsPath) -> Error {
    Error::new(ErrorKind::Unsupported, "this file system has no locks for directories")
        .with_path(path.as_str())
}

#[async_trait]
impl Backend for LocalBackend {
    fn info(&self) -> &Info {
        &self.info
    }

    async fn stat(&self, path: &VfsPath) -> Result<Metadata> {
        let root = self.root()?;
        if let Some(attributes) = root.look_at_once(path) {
            let attributes = attributes?;
            let known = self.digests.get(&attributes);
            if attributes.kind != EntryKind::File || known.is_some() {
                check_root(&root, path)?;
                return Ok(attributes.metadata(known.flatten()));
            }
            if let Some(Ok(file)) = root.file_at_once(path) {
                return describe(&root, &self.digests, &file, path);
            }
        }
        let (path, digests) = (path.clone(), Arc::clone(&self.digests));
        blocking::run(move || {
            check_root(&root, &path)?;
            let attributes = root.look(&path)?;
            if attributes.kind != EntryKind::File || digests.get(&attributes).is_some() {
                return Ok(attributes.metadata(digests.get(&attributes).flatten()));
            }
            // A file that may be seen but not read has no digest for this user.
            let Ok(file) = root.file(&path) else { return Ok(attributes.metadata(None)) };
            describe(&root, &digests, &file, &path)
        })
        .await
    }

    async fn read(&self, path: &VfsPath, options: &ReadOptions) -> Result<Object> {
        reader::read(&self.root()?, &self.digests, &self.budget, path, options).await
    }

    async fn write(
        &self,
        path: &VfsPath,
        content: Bytes,
        options: &WriteOptions,
    ) -> Result<Metadata> {
        self.check_options(path, options)?;
        let destination = self.destination_for(options)?;
        writer::write(destination, path.clone(), content, options.mode.clone()).await
    }

    async fn upload(&self, path: &VfsPath, options: &WriteOptions) -> Result<Box<dyn Upload>> {
        self.check_options(path, options)?;
        let (destination, budget) = (self.destination_for(options)?, self.budget.clone());
        let upload = writer::upload(destination, budget, path.clone(), options.mode.clone());
        Ok(Box::new(upload.await?))
    }

    async fn list(&self, path: &VfsPath, options: &ListOptions) -> Result<Listing> {
        if options.start_after.is_some() {
            return Err(Error::new(ErrorKind::Unsupported, "directories are listed in no order")
                .with_path(path.as_str()));
        }
        lister::list(&self.root()?, &self.digests, path, options).await
    }

    async fn delete(&self, targets: &[DeleteTarget]) -> Vec<Result<Deleted>> {
        let root = match self.root() {
            Ok(root) => root,
            Err(_) => {
                return targets.iter().map(|_| self.root().map(|_| Deleted::Absent)).collect();
            }
        };
        let conditional = self.info.capabilities.delete_if_version;
        let (owned, sync) = (targets.to_vec(), self.full);
        let deleted = blocking::change(move |gate| {
            let delete = |target: &DeleteTarget| {
                if target.if_version.is_some() && !conditional {
                    return Err(no_locks(&target.path));
                }
                entries::delete(&root, target, gate, sync)
            };
            Ok(owned.iter().map(delete).collect())
        });
        match deleted.await {
            Ok(results) => results,
            Err(error) => {
                let lost = |target: &DeleteTarget| {
                    Err(Error::new(error.kind(), error.message().to_owned())
                        .with_path(target.path.as_str()))
                };
                targets.iter().map(lost).collect()
            }
        }
    }

    async fn copy(&self, from: &VfsPath, to: &VfsPath, mode: &WriteMode) -> Result<CopyMethod> {
        self.check_mode(to, mode)?;
        let (destination, digests) = (self.destination()?, Arc::clone(&self.digests));
        let (from, to, mode) = (from.clone(), to.clone(), mode.clone());
        blocking::change(move |gate| {
            let publishing = destination.publishing(&mode, gate);
            copier::copy(&publishing, &digests, &from, &to)
        })
        .await
    }

    async fn rename(&self, from: &VfsPath, to: &VfsPath, mode: &WriteMode) -> Result<()> {
        self.check_mode(to, mode)?;
        let (root, sync) = (self.root()?, self.full);
        let (from, to, mode) = (from.clone(), to.clone(), mode.clone());
        blocking::change(move |gate| entries::rename(&root, &from, &to, &mode, gate, sync)).await
    }

    async fn create_dir(&self, path: &VfsPath) -> Result<()> {
        let (root, path, sync) = (self.root()?, path.clone(), self.full);
        blocking::change(move |gate| entries::create_dir(&root, &path, gate, sync)).await
    }

    async fn remove_dir(&self, path: &VfsPath) -> Result<()> {
        let (root, path, sync) = (self.root()?, path.clone(), self.full);
        blocking::change(move |gate| entries::remove_dir(&root, &path, gate, sync)).await
    }

    async fn sync(&self, path: &VfsPath) -> Result<()> {
        let (root, path) = (self.root()?, path.clone());
        blocking::run(move || root.sync_path(&path)).await
    }

    async fn close(&self) -> Result<()> {
        let root = self.root.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(root) = root {
            root.close();
        }
        Ok(())
    }
}

/// The metadata of an open file, with its digest.
fn describe(
    root: &Root,
    digests: &DigestCache,
    file: &OwnedFd,
    path: &VfsPath,
) -> Result<Metadata> {
    let attributes = fstat(file).map(Attributes::from).map_err(|error| root.error(error, path))?;
    Ok(attributes.metadata(digests.digest(file, &attributes)))
}

/// A root that was removed still answers for itself; say what it is.
fn check_root(root: &Root, path: &VfsPath) -> Result<()> {
    if path.is_root() && root.is_gone() { Err(root.gone(path)) } else { Ok(()) }
}
