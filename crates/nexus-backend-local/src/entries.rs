//! Changes of names: delete, rename, and directories made and removed.

use nexus_core::{
    DeleteTarget, Deleted, EntryKind, Error, ErrorKind, Operation, Result, VfsPath, WriteMode,
};
use rustix::fs::{AtFlags, fstat};
use rustix::io::Errno;

use crate::beneath::{Place, Root, look_at};
use crate::blocking::Gate;
use crate::lister;
use crate::lock::{self, Hold};
use crate::publish::{is_a_directory, move_without_replacing};

/// Deletes a file, or a link itself; `sync` makes it survive a power cut, here and below.
pub(crate) fn delete(
    root: &Root,
    target: &DeleteTarget,
    gate: &Gate,
    sync: bool,
) -> Result<Deleted> {
    let path = &target.path;
    let about = |error: Errno| root.error(error, path);
    let place = match root.place(path) {
        Ok(Some(place)) => place,
        Ok(None) => return Err(is_a_directory(path)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Deleted::Absent);
        }
        Err(error) => return Err(error),
    };
    let hold = if target.if_version.is_some() { Hold::Alone } else { Hold::Shared };
    lock::hold(&place.dir, hold).map_err(|error| error.with_path(path.as_str()))?;
    if let Some(wanted) = &target.if_version {
        match root.look(path) {
            Ok(found) if found.version() == *wanted => {}
            Ok(found) if found.kind == EntryKind::Directory => return Err(is_a_directory(path)),
            Ok(_) => {
                let error = Error::new(ErrorKind::PreconditionFailed, "the version has changed");
                return Err(error.with_path(path.as_str()));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Deleted::Absent),
            Err(error) => return Err(error),
        }
    }
    let removed = gate.pass(|| rustix::fs::unlinkat(&place.dir, &place.name, AtFlags::empty()));
    match removed {
        Ok(()) => {}
        Err(Errno::NOENT) => return Ok(Deleted::Absent),
        // Some systems say EPERM for a directory.
        Err(Errno::PERM) if root.look(path).is_ok_and(|a| a.kind == EntryKind::Directory) => {
            return Err(is_a_directory(path));
        }
        Err(error) => return Err(about(error)),
    }
    if sync {
        root.sync(&place.dir, path)?;
    }
    Ok(Deleted::Removed)
}

/// Renames a file, a link itself, or a directory.
pub(crate) fn rename(
    root: &Root,
    from: &VfsPath,
    to: &VfsPath,
    mode: &WriteMode,
    gate: &Gate,
    sync: bool,
) -> Result<()> {
    let fixed = |path: &VfsPath| {
        Error::new(ErrorKind::Unsupported, "the root of a mount stays").with_path(path.as_str())
    };
    let source = root.place(from)?.ok_or_else(|| fixed(from))?;
    let moved = look_at(&source).map_err(|error| root.error(error, from))?;
    let moved = moved.ok_or_else(|| root.error(Errno::NOENT, from))?;
    let is_dir = moved.kind == EntryKind::Directory;
    let replaces = matches!(mode, WriteMode::Replace(_));
    let target = if replaces { root.place(to)? } else { gate.pass(|| root.place_made(to))? };
    let target = target.ok_or_else(|| if is_dir { exists(to) } else { is_a_directory(to) })?;
    if sync && let Some(above) = to.parent() {
        // Before: the old name must not be gone from a disk that has no way to the new one yet.
        root.settle(&target.dir, &above)?;
    }
    let hold = if replaces || is_dir { Hold::Alone } else { Hold::Shared };
    lock::hold_both((&source.dir, Hold::Shared), (&target.dir, hold))
        .map_err(|error| error.with_path(to.as_str()))?;
    let current = look_at(&target).map_err(|error| root.error(error, to))?;
    match current.map(|current| current.kind) {
        Some(_) if is_dir => return Err(exists(to)),
        Some(EntryKind::Directory) => return Err(is_a_directory(to)),
        _ => {}
    }
    let version = current.map(|current| current.version());
    mode.check(version.as_ref()).map_err(|error| error.with_path(to.as_str()))?;
    let renamed = gate.pass(|| {
        let same = current.is_some_and(|current| current.same_file(&moved));
        if same && are_two_names(&source, &target)? {
            // The system would leave both.
            rustix::fs::unlinkat(&source.dir, &source.name, AtFlags::empty())
        } else if is_dir || *mode == WriteMode::Create {
            move_without_replacing(&source.dir, &source.name, &target)
        } else {
            rustix::fs::renameat(&source.dir, &source.name, &target.dir, &target.name)
        }
    });
    renamed.map_err(|error| match error {
        Errno::INVAL if is_dir => {
            Error::new(ErrorKind::InvalidPath, "a directory can not be moved into itself")
                .with_path(from.as_str())
        }
        Errno::NOENT => root.error(error, from),
        error => root.error(error, to),
    })?;
    if sync {
        root.sync(&target.dir, to)?;
        root.sync(&source.dir, from)?;
    }
    Ok(())
}

fn exists(path: &VfsPath) -> Error {
    Error::new(ErrorKind::AlreadyExists, "something is there already").with_path(path.as_str())
}

/// Whether two places that hold one file are two names of it, one of which can go. In doubt they are
/// not: the same name reached by another path, or in another case where that makes no difference,
/// is all that the file has.
fn are_two_names(one: &Place, two: &Place) -> rustix::io::Result<bool> {
    let links = rustix::fs::statat(&one.dir, &one.name, AtFlags::SYMLINK_NOFOLLOW)?.st_nlink;
    let identity = |place: &Place| fstat(&place.dir).map(|stat| (stat.st_dev, stat.st_ino));
    let folded = |place: &Place| place.name.to_string_lossy().to_lowercase();
    let may_be_one = identity(one)? == identity(two)? && folded(one) == folded(two);
    Ok(links > 1 && !may_be_one)
}

/// Makes a directory, and those above it.
pub(crate) fn create_dir(root: &Root, path: &VfsPath, gate: &Gate, sync: bool) -> Result<()> {
    match gate.pass(|| root.make_directory(path)) {
        Ok(made) if sync => root.settle(&made, path),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            // Here, or above?
            match root.place(path)?.map(|place| look_at(&place)) {
                Some(Ok(Some(_))) => {
                    Err(Error::new(ErrorKind::AlreadyExists, "a file is there already")
                        .with_path(path.as_str()))
                }
                _ => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}

/// Removes an empty directory.
pub(crate) fn remove_dir(root: &Root, path: &VfsPath, gate: &Gate, sync: bool) -> Result<()> {
    let about = |error: Errno| root.error(error, path);
    let Some(place) = root.place(path)? else {
        return Err(Error::new(ErrorKind::Unsupported, "the root of a mount stays")
            .with_operation(Operation::RemoveDir)
            .with_path(path.as_str()));
    };
    let remove = || gate.pass(|| rustix::fs::unlinkat(&place.dir, &place.name, AtFlags::REMOVEDIR));
    match remove() {
        Err(Errno::NOTEMPTY | Errno::EXIST) => {
            // What keeps it from being empty may be left from a killed process.
            let swept = lister::sweep(&root.directory(path)?).map_err(about)?;
            if !swept {
                return Err(about(Errno::NOTEMPTY));
            }
            remove().map_err(about)?;
        }
        removed => removed.map_err(about)?,
    }
    if sync {
        root.sync(&place.dir, path)?;
    }
    Ok(())
}
