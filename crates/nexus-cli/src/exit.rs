//! From error kinds to exit codes and to the two lines that people read.

use nexus_fs::{Error, ErrorKind};

/// Exit codes, as the manual lists them.
pub(crate) mod code {
    pub(crate) const FAILED: u8 = 1;
    pub(crate) const USAGE: u8 = 2;
    pub(crate) const NOT_FOUND: u8 = 3;
    pub(crate) const DENIED: u8 = 4;
    pub(crate) const CONFLICT: u8 = 5;
    pub(crate) const INTEGRITY: u8 = 6;
    pub(crate) const PARTIAL: u8 = 7;
    pub(crate) const INTERRUPTED: u8 = 130;
}

/// The exit code of an error.
pub(crate) fn code_of(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::NotFound => code::NOT_FOUND,
        ErrorKind::PermissionDenied | ErrorKind::Unauthenticated => code::DENIED,
        ErrorKind::AlreadyExists
        | ErrorKind::PreconditionFailed
        | ErrorKind::MountConflict
        | ErrorKind::DirectoryNotEmpty => code::CONFLICT,
        ErrorKind::IntegrityMismatch => code::INTEGRITY,
        ErrorKind::InvalidPath
        | ErrorKind::InvalidUri
        | ErrorKind::InvalidOption
        | ErrorKind::UnknownScheme => code::USAGE,
        _ => code::FAILED,
    }
}

/// Why a command did not do what it was asked: one sentence, one hint, one exit code.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    /// What `-v` shows beneath.
    pub(crate) chain: Vec<String>,
}

impl Failure {
    pub(crate) fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, chain: Vec::new() }
    }

    /// A command line that can not be meant.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(code::USAGE, message)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(code::FAILED, message)
    }

    pub(crate) fn interrupted() -> Self {
        Self::new(code::INTERRUPTED, "interrupted")
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let mut chain = vec![format!("kind: {}", error.kind())];
        chain.extend(error.mount().map(|mount| format!("mount: {mount}")));
        if let Some(report) = error.report() {
            chain.extend(report.to_string().lines().map(str::to_owned));
        }
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            chain.push(format!("caused by: {cause}"));
            source = cause.source();
        }
        Self {
            code: code_of(error.kind()),
            message: error.to_string(),
            hint: error.hint().map(str::to_owned).or_else(|| hint_for(error.kind())),
            chain,
        }
    }
}

/// The hint where the error has none of its own.
fn hint_for(kind: ErrorKind) -> Option<String> {
    let hint = match kind {
        ErrorKind::IsADirectory => "name a file in it; see them with `nexus-fs ls`",
        ErrorKind::DirectoryNotEmpty => "remove what is in it first, or use `rm -r`",
        ErrorKind::StorageFull => {
            "nothing was changed; free some space, then try again (a store with `layout=cas` gives \
             space back by `nexus-fs gc --delete`)"
        }
        ErrorKind::PreconditionFailed => "somebody else changed it; look at it again, then retry",
        ErrorKind::RangeNotSatisfiable => "see its size with `nexus-fs stat`",
        _ => return None,
    };
    Some(hint.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_the_exit_code_of_the_manual() {
        let codes: Vec<_> =
            ErrorKind::ALL.iter().map(|kind| format!("{} {kind}", code_of(*kind))).collect();
        expect_test::expect![[r#"
            3 not found
            5 already exists
            5 precondition failed
            1 not modified
            1 is a directory
            1 not a directory
            5 directory not empty
            4 permission denied
            4 unauthenticated
            2 invalid path
            2 invalid URI
            2 invalid option
            2 unknown scheme
            5 mount conflict
            1 unsupported
            1 range not satisfiable
            1 too large
            1 rate limited
            1 quota exceeded
            1 unavailable
            1 timed out
            6 integrity mismatch
            1 storage full
            1 closed
            1 internal error"#]]
        .assert_eq(&codes.join("\n"));
    }

    #[test]
    fn a_failure_keeps_the_sentence_the_hint_and_the_chain() {
        let error = Error::new(ErrorKind::NotFound, "no such file")
            .with_path("/a")
            .with_hint("look again")
            .with_source("the disk said no");
        let failure = Failure::from(error);
        assert_eq!(failure.message, "/a: no such file");
        assert_eq!(failure.hint.as_deref(), Some("look again"));
        assert_eq!(failure.chain, ["kind: not found", "caused by: the disk said no"]);
    }
}
