//! From system errors to kinds: the only place that does it.

use std::io;

use nexus_core::{Error, ErrorKind};
use rustix::io::Errno;

/// The error for a system error. The caller adds the path.
pub(crate) fn from_io(error: impl Into<io::Error>) -> Error {
    let error = error.into();
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    let (kind, message, hint) = match errno {
        Some(errno) => from_errno(errno),
        // What `cap-std` answers, and `leaves_the_root`.
        None if error.kind() == io::ErrorKind::PermissionDenied => LEAVES_THE_ROOT,
        None => (ErrorKind::Internal, "the system answered an unknown error", None),
    };
    let error = Error::new(kind, message).with_source(error);
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// What resolution answers when a link leads out: apart from `EXDEV`, which is also what the system
/// answers to a rename between two file systems.
#[cfg(any(test, target_os = "linux"))]
pub(crate) fn leaves_the_root() -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, "resolution left the root")
}

type Mapped = (ErrorKind, &'static str, Option<&'static str>);

const LEAVES_THE_ROOT: Mapped = (
    ErrorKind::PermissionDenied,
    "a symbolic link leads out of the mount",
    Some("mount the directory that it leads to, or replace the link by a relative one inside"),
);

fn from_errno(errno: Errno) -> Mapped {
    match errno {
        Errno::NOENT => (ErrorKind::NotFound, "no such file or directory", None),
        Errno::EXIST => (ErrorKind::AlreadyExists, "something is there already", None),
        Errno::ISDIR => (ErrorKind::IsADirectory, "is a directory", None),
        Errno::NOTDIR => (ErrorKind::NotADirectory, "a file is in the place of a directory", None),
        Errno::NOTEMPTY => (ErrorKind::DirectoryNotEmpty, "the directory is not empty", None),
        Errno::XDEV => {
            (ErrorKind::Unsupported, "the two are on different file systems of this mount", None)
        }
        Errno::LOOP => (ErrorKind::InvalidPath, "too many symbolic links, or a loop of them", None),
        Errno::ACCESS | Errno::PERM => {
            (ErrorKind::PermissionDenied, "the system denies it to this user", None)
        }
        Errno::ROFS => (ErrorKind::PermissionDenied, "the file system is read-only", None),
        Errno::NAMETOOLONG => {
            (ErrorKind::InvalidPath, "a name is longer than the file system takes", None)
        }
        Errno::INVAL | Errno::ILSEQ => {
            (ErrorKind::InvalidPath, "the file system does not take this name", None)
        }
        Errno::NOSPC => (ErrorKind::StorageFull, "no space is left on the disk", None),
        Errno::DQUOT => (ErrorKind::QuotaExceeded, "the disk quota is used up", None),
        Errno::FBIG => (ErrorKind::TooLarge, "larger than the file system takes", None),
        Errno::MFILE | Errno::NFILE => (
            ErrorKind::Unavailable,
            "too many files are open",
            Some("raise the limit with `ulimit -n`"),
        ),
        Errno::INTR => (ErrorKind::Unavailable, "a signal came in between", Some("try again")),
        Errno::NOMEM => (ErrorKind::Unavailable, "the system is out of memory", None),
        Errno::BUSY => (ErrorKind::Unavailable, "the file is in use by the system", None),
        Errno::IO => (ErrorKind::Unavailable, "the disk failed", Some("see the system log")),
        Errno::STALE => (ErrorKind::Unavailable, "the file system is gone", None),
        // What opening a socket answers, or a device that has no driver.
        Errno::NXIO | Errno::NODEV => (ErrorKind::Unsupported, "is not a regular file", None),
        Errno::CANCELED => (ErrorKind::Closed, "the operation was given up", None),
        Errno::OPNOTSUPP | Errno::NOSYS => {
            (ErrorKind::Unsupported, "the file system can not do it", None)
        }
        _ => (ErrorKind::Internal, "the system answered an unexpected error", None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_follow_the_system_error() {
        for (errno, kind) in [
            (Errno::NOENT, ErrorKind::NotFound),
            (Errno::XDEV, ErrorKind::Unsupported),
            (Errno::NXIO, ErrorKind::Unsupported),
            (Errno::NOSPC, ErrorKind::StorageFull),
            (Errno::ROFS, ErrorKind::PermissionDenied),
            (Errno::NAMETOOLONG, ErrorKind::InvalidPath),
            (Errno::MFILE, ErrorKind::Unavailable),
        ] {
            let error = from_io(errno);
            assert_eq!(error.kind(), kind);
            assert!(std::error::Error::source(&error).is_some());
        }
    }

    #[test]
    fn an_escape_is_denied_and_explained() {
        let error = from_io(leaves_the_root());
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(error.hint().is_some());
    }
}
