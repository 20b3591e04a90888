//! The one error type of the workspace. It owns kinds, context and retry advice; the mapping from
//! a provider's errors to these kinds belongs to each backend.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::{Report, VfsPath};

/// Result with the workspace's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Box<dyn std::error::Error + Send + Sync>;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident => $name:literal,)*) => {
        /// What went wrong, in the words that callers match on. Texts may change, kinds do not.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum ErrorKind { $($(#[$doc])* $kind,)* }

        impl ErrorKind {
            /// Every kind, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)*];

            /// The kind in lower-case words, as people read it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }
        }
    };
}

kinds! {
    /// Nothing is at this path.
    NotFound => "not found",
    /// Something is at this path already, and the request asked to create it.
    AlreadyExists => "already exists",
    /// The version that the request named is not the current one.
    PreconditionFailed => "precondition failed",
    /// The version that the caller holds is still the current one.
    NotModified => "not modified",
    /// A file was needed, a directory is here.
    IsADirectory => "is a directory",
    /// A directory was needed, something else is here.
    NotADirectory => "not a directory",
    /// The directory still holds entries.
    DirectoryNotEmpty => "directory not empty",
    /// The store refuses this to the caller, who is known to it.
    PermissionDenied => "permission denied",
    /// No credential was found, or the store does not accept it.
    Unauthenticated => "unauthenticated",
    /// The path can not exist, here or anywhere.
    InvalidPath => "invalid path",
    /// The mount URI is malformed.
    InvalidUri => "invalid URI",
    /// An option is unknown, repeated, or has a value that it can not have.
    InvalidOption => "invalid option",
    /// No backend is known by this scheme.
    UnknownScheme => "unknown scheme",
    /// The request would collide with a mount point, or remove one.
    MountConflict => "mount conflict",
    /// The store, or this mount of it, can not do this.
    Unsupported => "unsupported",
    /// The range begins after the end of the object.
    RangeNotSatisfiable => "range not satisfiable",
    /// The content is larger than a limit of the store or of the caller.
    TooLarge => "too large",
    /// The store asks to slow down.
    RateLimited => "rate limited",
    /// A quota of the account is used up.
    QuotaExceeded => "quota exceeded",
    /// The store can not be reached, or fails for the moment.
    Unavailable => "unavailable",
    /// The time given has passed.
    Timeout => "timed out",
    /// Bytes do not match the digest that was recorded for them.
    IntegrityMismatch => "integrity mismatch",
    /// No space is left on the store.
    StorageFull => "storage full",
    /// The mount, or the kernel, was closed.
    Closed => "closed",
    /// A defect of this program, or a state that it does not understand.
    Internal => "internal error",
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The operation under which an error arose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each is the verb of the same name")]
pub enum Operation {
    Parse,
    Mount,
    Unmount,
    Stat,
    Read,
    Write,
    Upload,
    List,
    Delete,
    Copy,
    Rename,
    CreateDir,
    RemoveDir,
    Close,
}

impl Operation {
    /// The verb in lower-case words, as people read it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Parse => "parse",
            Self::Mount => "mount",
            Self::Unmount => "unmount",
            Self::Stat => "stat",
            Self::Read => "read",
            Self::Write => "write",
            Self::Upload => "upload",
            Self::List => "list",
            Self::Delete => "delete",
            Self::Copy => "copy",
            Self::Rename => "rename",
            Self::CreateDir => "create directory",
            Self::RemoveDir => "remove directory",
            Self::Close => "close",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether the same request may succeed later without a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retry {
    /// The same request fails the same way.
    #[default]
    No,
    /// The same request may succeed once this much time has passed.
    After(Duration),
}

/// The one error: kind, operation, mount, path, retry advice, message, hint and source.
///
/// `Display` is one line, for people; `Debug` is many, for reports. One word in size.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    operation: Option<Operation>,
    mount: Option<VfsPath>,
    path: Option<String>,
    retry: Retry,
    message: Cow<'static, str>,
    hint: Option<Cow<'static, str>>,
    report: Option<Report>,
    source: Option<Source>,
}

impl Error {
    /// An error of `kind`; `message` is a clause that names what is wrong, without path or verb.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            operation: None,
            mount: None,
            path: None,
            retry: Retry::No,
            message: message.into(),
            hint: None,
            report: None,
            source: None,
        }))
    }

    /// An `Unsupported` error for an operation that a backend does not have.
    #[must_use]
    pub fn unsupported(operation: Operation) -> Self {
        Self::new(ErrorKind::Unsupported, "this backend can not do it").with_operation(operation)
    }

    /// A `NotFound` error for `path`.
    #[must_use]
    pub fn not_found(path: &VfsPath) -> Self {
        Self::new(ErrorKind::NotFound, "no such file or directory").with_path(path.as_str())
    }

    /// Adds the operation, unless one is set: the innermost knows best.
    #[must_use]
    pub fn with_operation(mut self, operation: Operation) -> Self {
        self.0.operation.get_or_insert(operation);
        self
    }

    /// Sets the path that the error is about, as the caller of this layer writes it.
    #[must_use]
    pub fn with_path(mut self, path: impl Into<String>) -> Self {
        self.0.path = Some(path.into());
        self
    }

    /// Sets what a person may do next: one sentence.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Sets what was tried before giving up.
    #[must_use]
    pub fn with_report(mut self, report: Report) -> Self {
        self.0.report = Some(report);
        self
    }

    /// Sets the retry advice.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.0.retry = retry;
        self
    }

    /// Sets the error that caused this one.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Moves the error from a mount's own paths into the namespace: records the mount point, and
    /// writes the path as the namespace knows it (`fallback` when the backend named none).
    /// An error that was moved before is left as it is.
    #[must_use]
    pub fn in_mount(mut self, mount: &VfsPath, fallback: &VfsPath) -> Self {
        if self.0.mount.is_none() {
            let inner = self.0.path.take();
            let inner = inner.as_deref().unwrap_or(fallback.as_str());
            self.0.path = Some(match (mount.is_root(), inner) {
                (true, inner) => inner.to_owned(),
                (false, "/") => mount.as_str().to_owned(),
                (false, inner) => format!("{mount}{inner}"),
            });
            self.0.mount = Some(mount.clone());
        }
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The operation under which it arose, where known.
    #[must_use]
    pub fn operation(&self) -> Option<Operation> {
        self.0.operation
    }

    /// The mount point of the backend that failed, where one was involved.
    #[must_use]
    pub fn mount(&self) -> Option<&VfsPath> {
        self.0.mount.as_ref()
    }

    /// The path that the error is about, where there is one. It need not be a valid [`VfsPath`]:
    /// it may be the very text that could not be parsed.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        self.0.path.as_deref()
    }

    /// Whether to try again.
    #[must_use]
    pub fn retry(&self) -> Retry {
        self.0.retry
    }

    /// What is wrong, without path and operation.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What to do next, where the error knows.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// What was tried before giving up, where that is worth a table: an `Unauthenticated` error
    /// of a mount has it.
    #[must_use]
    pub fn report(&self) -> Option<&Report> {
        self.0.report.as_ref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.operation, &self.0.path) {
            (Some(operation), Some(path)) => write!(f, "{operation} {path}: ")?,
            (Some(operation), None) => write!(f, "{operation}: ")?,
            (None, Some(path)) => write!(f, "{path}: ")?,
            (None, None) => {}
        }
        write!(f, "{}", self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{self}")?;
        writeln!(f, "  kind: {:?}", self.0.kind)?;
        if let Some(mount) = &self.0.mount {
            writeln!(f, "  mount: {mount}")?;
        }
        if let Retry::After(wait) = self.0.retry {
            writeln!(f, "  retry after: {wait:?}")?;
        }
        if let Some(hint) = &self.0.hint {
            writeln!(f, "  hint: {hint}")?;
        }
        if let Some(report) = &self.0.report {
            report.to_string().lines().try_for_each(|line| writeln!(f, "  {line}"))?;
        }
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            writeln!(f, "  caused by: {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> VfsPath {
        VfsPath::parse(text).unwrap()
    }

    #[test]
    fn error_is_one_word() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }

    #[test]
    fn display_is_one_line_with_operation_path_and_message() {
        let error = Error::not_found(&path("/a")).with_operation(Operation::Stat);
        assert_eq!(error.to_string(), "stat /a: no such file or directory");
    }

    #[test]
    fn the_innermost_operation_wins() {
        let error = Error::unsupported(Operation::Copy).with_operation(Operation::Rename);
        assert_eq!(error.operation(), Some(Operation::Copy));
    }

    #[test]
    fn moving_into_a_mount_prefixes_the_path_once() {
        let moved = Error::not_found(&path("/b")).in_mount(&path("/m"), &path("/x"));
        assert_eq!(moved.path(), Some("/m/b"));
        let twice = moved.in_mount(&path("/n"), &path("/x"));
        assert_eq!(twice.path(), Some("/m/b"));
        assert_eq!(twice.mount(), Some(&path("/m")));
    }

    #[test]
    fn an_error_without_a_path_takes_the_fallback() {
        let error = Error::new(ErrorKind::Closed, "closed").in_mount(&path("/m"), &path("/x"));
        assert_eq!(error.path(), Some("/m/x"));
        let error = Error::new(ErrorKind::Closed, "closed").in_mount(&path("/m"), &path("/"));
        assert_eq!(error.path(), Some("/m"));
    }

    #[test]
    fn debug_shows_the_chain() {
        let error = Error::new(ErrorKind::Internal, "outer").with_source("inner");
        assert!(format!("{error:?}").contains("caused by: inner"));
    }
}
