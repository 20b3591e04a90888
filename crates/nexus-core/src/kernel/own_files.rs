//! Keeps whole trees away from the files in which a mounted store is kept, where another mount shows
//! them: read into that store they would be read while they change, written over they would be lost.

use std::path::{Path, PathBuf};

use super::{Kernel, MountInfo};
use crate::{Capabilities, Error, ErrorKind, Operation, Result, VfsPath};

/// Where, below the target of a tree, stores keep files of their own.
#[derive(Debug, Default)]
pub(super) struct OwnFiles(Vec<VfsPath>);

impl OwnFiles {
    /// Refuses a target among them.
    pub(super) fn check(&self, target: &VfsPath) -> Result<()> {
        match self.0.iter().any(|own| target.starts_with(own)) {
            true => {
                Err(over(target, "a store keeps its own files there")
                    .with_operation(Operation::Copy))
            }
            false => Ok(()),
        }
    }
}

impl Kernel {
    /// Refuses a tree that goes into the store whose own files are in it, or among the own files of a
    /// store; answers what is to be spared below `to`.
    pub(super) fn check_own_files(
        &self,
        from: &VfsPath,
        to: &VfsPath,
        operation: Operation,
    ) -> Result<OwnFiles> {
        let mounts = self.mounts();
        let target = mounts.iter().find(|mount| to.starts_with(&mount.at));
        let Some(target) = target else { return Ok(OwnFiles::default()) };
        let kept = capabilities(target).and_then(|capabilities| capabilities.own_files.as_ref());
        let mut sources = mounts.iter().filter_map(|mount| folder(mount, from));
        if let Some(kept) = kept
            && sources.any(|source| kept.starts_with(&source) || source.starts_with(kept))
        {
            let message = format!("it holds the files in which the store at {} is kept", target.at);
            return Err(Error::new(ErrorKind::InvalidPath, message)
                .with_operation(operation)
                .with_path(from.as_str())
                .with_hint("name what is beside `.nexus`, file by file and folder by folder"));
        }
        let Some(folder) = folder(target, to) else { return Ok(OwnFiles::default()) };
        let mut spared = Vec::new();
        for mount in &mounts {
            let Some(kept) = capabilities(mount).and_then(|has| has.own_files.as_ref()) else {
                continue;
            };
            if folder.starts_with(kept) {
                let message = format!("the store at {} keeps its own files there", mount.at);
                return Err(over(to, message).with_operation(operation));
            }
            if let Some(below) = below(&folder, kept) {
                spared.push(to.concat(&below)?);
            }
        }
        Ok(OwnFiles(spared))
    }
}

fn capabilities(mount: &MountInfo) -> Option<&Capabilities> {
    mount.info.as_ref().map(|info| &info.capabilities)
}

/// The folder of this machine that a mount shows at `path`, or the whole of it when it is below.
fn folder(mount: &MountInfo, path: &VfsPath) -> Option<PathBuf> {
    let root = capabilities(mount)?.local_root.as_ref()?;
    match path.strip_prefix(&mount.at) {
        Some(inner) => Some(root.join(inner.key())),
        None if path.is_root() || mount.at.starts_with(path) => Some(root.clone()),
        None => None,
    }
}

/// `kept` as a path below `folder`.
fn below(folder: &Path, kept: &Path) -> Option<VfsPath> {
    let below = kept.strip_prefix(folder).ok()?;
    VfsPath::parse(&format!("/{}", below.to_str()?)).ok()
}

fn over(path: &VfsPath, message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidPath, message)
        .with_path(path.as_str())
        .with_hint("nothing but the store may write there; write to the mount of the store instead")
}
