//! Paths of the namespace. This file owns their one invariant; what a store makes of a path (case,
//! encoding, length of a name) belongs to its backend.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Error, ErrorKind, Operation, Result};

/// An absolute path: `/`, or `/` and segments joined by `/`.
///
/// Invariant: UTF-8, begins with `/`, no empty, `.` or `..` segment, no NUL, at most
/// [`VfsPath::MAX_BYTES`] bytes. It is made by [`VfsPath::parse`] and the joins below only; nothing
/// is ever trimmed, decoded or normalised, so two different texts are two different paths.
///
/// ```
/// use nexus_core::{ErrorKind, VfsPath};
///
/// let path = VfsPath::parse("/local/data/report.txt")?;
/// assert_eq!(path.file_name(), Some("report.txt"));
/// assert_eq!(VfsPath::parse("/local/../etc").unwrap_err().kind(), ErrorKind::InvalidPath);
/// # Ok::<(), nexus_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VfsPath(Arc<str>);

impl VfsPath {
    /// The longest path, in bytes. Stores have lower limits of their own.
    pub const MAX_BYTES: usize = 65_535;

    /// Parses a path, strictly.
    ///
    /// # Errors
    /// `InvalidPath`, naming what is wrong: no leading `/`, an empty segment (`//`, or `/` at the
    /// end), a `.` or `..` segment, a NUL, or too many bytes.
    pub fn parse(text: &str) -> Result<Self> {
        check(text).map_err(|message| invalid(text, message))?;
        Ok(Self(text.into()))
    }

    /// The root, `/`.
    #[must_use]
    pub fn root() -> Self {
        Self("/".into())
    }

    /// The path as text, with its leading `/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path without its leading `/`: empty for the root. This is what a store uses as a key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.0[1..]
    }

    /// Whether this is `/`.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// The segments, first to last; none for the root.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.key().split('/').filter(|segment| !segment.is_empty())
    }

    /// The last segment; none for the root.
    #[must_use]
    pub fn file_name(&self) -> Option<&str> {
        self.segments().next_back()
    }

    /// The path without its last segment; none for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        match self.0.rfind('/') {
            Some(0) | None => Some(Self::root()),
            Some(end) => Some(Self(self.0[..end].into())),
        }
    }

    /// This path and one more segment or several, joined by `/` (`"a"`, `"a/b"`).
    ///
    /// # Errors
    /// `InvalidPath` when the result would break the invariant: `relative` is empty, begins or ends
    /// with `/`, or holds a segment that no path may hold.
    pub fn join(&self, relative: &str) -> Result<Self> {
        let text =
            if self.is_root() { format!("/{relative}") } else { format!("{self}/{relative}") };
        if relative.is_empty() {
            return Err(invalid(&text, "an empty segment"));
        }
        Self::parse(&text)
    }

    /// `self` followed by `tail`, both valid already: the path of `tail` below the mount point
    /// `self`. Fails only past [`VfsPath::MAX_BYTES`].
    ///
    /// # Errors
    /// `InvalidPath` when the whole is too long.
    pub fn concat(&self, tail: &Self) -> Result<Self> {
        match (self.is_root(), tail.is_root()) {
            (true, _) => Ok(tail.clone()),
            (_, true) => Ok(self.clone()),
            _ if self.0.len() + tail.0.len() > Self::MAX_BYTES => {
                Err(invalid(&format!("{self}{tail}"), TOO_LONG))
            }
            _ => Ok(Self(format!("{self}{tail}").into())),
        }
    }

    /// Whether `prefix` is this path or an ancestor of it, by whole segments.
    #[must_use]
    pub fn starts_with(&self, prefix: &Self) -> bool {
        prefix.is_root()
            || self
                .0
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// This path as seen from `prefix` (the root when they are equal); none when it is not below.
    #[must_use]
    pub fn strip_prefix(&self, prefix: &Self) -> Option<Self> {
        if prefix.is_root() {
            return Some(self.clone());
        }
        match self.0.strip_prefix(prefix.as_str())? {
            "" => Some(Self::root()),
            rest if rest.starts_with('/') => Some(Self(rest.into())),
            _ => None,
        }
    }
}

const TOO_LONG: &str = "longer than 65,535 bytes";

fn check(text: &str) -> Result<(), &'static str> {
    let Some(key) = text.strip_prefix('/') else {
        return Err("does not begin with `/`");
    };
    if text.len() > VfsPath::MAX_BYTES {
        return Err(TOO_LONG);
    }
    if key.is_empty() {
        return Ok(());
    }
    for segment in key.split('/') {
        match segment {
            "" => return Err("an empty segment (`//`, or `/` at the end)"),
            "." => return Err("a `.` segment"),
            ".." => return Err("a `..` segment; paths do not climb"),
            _ if segment.contains('\0') => return Err("a NUL byte"),
            _ => {}
        }
    }
    Ok(())
}

fn invalid(text: &str, message: &'static str) -> Error {
    // A path past the limit is cut, so that the error stays readable.
    let shown: String = text.chars().take(256).collect();
    Error::new(ErrorKind::InvalidPath, format!("not a valid path: {message}"))
        .with_operation(Operation::Parse)
        .with_path(shown)
}

impl fmt::Display for VfsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for VfsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl std::borrow::Borrow<str> for VfsPath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for VfsPath {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl Serialize for VfsPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for VfsPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Something that names a path: a [`VfsPath`], or text that is parsed strictly.
pub trait IntoPath: Send {
    /// The path.
    ///
    /// # Errors
    /// `InvalidPath`, as [`VfsPath::parse`].
    fn into_path(self) -> Result<VfsPath>;
}

impl IntoPath for VfsPath {
    fn into_path(self) -> Result<VfsPath> {
        Ok(self)
    }
}

impl IntoPath for &VfsPath {
    fn into_path(self) -> Result<VfsPath> {
        Ok(self.clone())
    }
}

impl IntoPath for &str {
    fn into_path(self) -> Result<VfsPath> {
        VfsPath::parse(self)
    }
}

impl IntoPath for String {
    fn into_path(self) -> Result<VfsPath> {
        VfsPath::parse(&self)
    }
}

impl IntoPath for &String {
    fn into_path(self) -> Result<VfsPath> {
        VfsPath::parse(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(text: &str) -> VfsPath {
        VfsPath::parse(text).unwrap()
    }

    #[test]
    fn refuses_what_no_path_may_hold() {
        for text in
            ["", "a", "a/b", "//", "/a//b", "/a/", "/.", "/..", "/a/../b", "/a/./b", "/a\0b", "./a"]
        {
            let error = VfsPath::parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidPath, "{text:?}");
        }
    }

    #[test]
    fn accepts_names_that_only_look_odd() {
        for text in ["/", "/...", "/.a", "/a b", "/%2F", "/a\\b", "/\u{202e}x", "/a\nb", "/~"] {
            assert_eq!(path(text).as_str(), text);
        }
    }

    #[test]
    fn length_is_bounded_in_parse_join_and_concat() {
        let long = format!("/{}", "a".repeat(VfsPath::MAX_BYTES - 1));
        let longest = path(&long);
        assert!(VfsPath::parse(&format!("{long}a")).is_err());
        assert!(longest.join("b").is_err());
        assert!(path("/m").concat(&longest).is_err());
    }

    #[test]
    fn parent_and_name() {
        assert_eq!(path("/a/b").parent(), Some(path("/a")));
        assert_eq!(path("/a").parent(), Some(VfsPath::root()));
        assert_eq!(path("/").parent(), None);
        assert_eq!(path("/a/b").file_name(), Some("b"));
        assert_eq!(path("/").file_name(), None);
    }

    #[test]
    fn prefixes_are_whole_segments() {
        assert!(path("/a/b").starts_with(&path("/a")));
        assert!(!path("/ab").starts_with(&path("/a")));
        assert_eq!(path("/ab").strip_prefix(&path("/a")), None);
        assert_eq!(path("/a").strip_prefix(&path("/a")), Some(VfsPath::root()));
        assert_eq!(path("/a/b").strip_prefix(&path("/")), Some(path("/a/b")));
    }

    #[test]
    fn join_takes_several_segments_and_refuses_climbing() {
        assert_eq!(path("/").join("a/b").unwrap(), path("/a/b"));
        for bad in ["", "..", "a/..", "/a", "a/", "a//b"] {
            assert!(path("/m").join(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_parses_keeps_its_text_and_its_invariant(text in "(/[a./\\\\%\\x00é]{0,6}){0,4}") {
            if let Ok(path) = VfsPath::parse(&text) {
                prop_assert_eq!(path.as_str(), &text);
                prop_assert!(path.segments().all(|s| !matches!(s, "" | "." | "..")));
                let rebuilt = path.segments().try_fold(VfsPath::root(), |at, s| at.join(s));
                prop_assert_eq!(rebuilt.unwrap(), path);
            }
        }

        #[test]
        fn concat_and_strip_are_inverse(a in "(/[a-c]{1,2}){0,3}", b in "(/[a-c]{1,2}){0,3}") {
            let parse = |t: &str| path(if t.is_empty() { "/" } else { t });
            let (a, b) = (parse(&a), parse(&b));
            let whole = a.concat(&b).unwrap();
            prop_assert!(whole.starts_with(&a));
            prop_assert_eq!(whole.strip_prefix(&a), Some(b));
        }
    }
}
