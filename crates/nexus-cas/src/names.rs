//! What lies where below `.nexus/`. Names are made and parsed here, and never taken on trust.

use nexus_core::{Digest, Error, ErrorKind, Result, VfsPath};

/// The directory of the store, below the root.
pub(crate) const STORE: &str = "/.nexus";
/// Format, layout, hash and identity of the store.
pub(crate) const STORE_FILE: &str = "/.nexus/store.json";
/// The refs of a store in a directory of this computer.
pub(crate) const REFS: &str = "/.nexus/refs.db";
/// The blobs, in 256 directories.
pub(crate) const BLOBS: &str = "/.nexus/blobs";
/// What was found damaged.
pub(crate) const QUARANTINE: &str = "/.nexus/quarantine";

/// What the ending of an outboard tree adds to the name of its blob.
const TREE: &str = ".tree";

/// A path that is written here.
pub(crate) fn path(text: impl AsRef<str>) -> Result<VfsPath> {
    VfsPath::parse(text.as_ref())
}

/// The directory of the blobs whose digests begin with `first`.
pub(crate) fn blob_dir(first: u8) -> Result<VfsPath> {
    path(format!("{BLOBS}/{first:02x}"))
}

/// Where the content of a digest is.
pub(crate) fn blob(digest: &Digest) -> Result<VfsPath> {
    path(format!("{BLOBS}/{:02x}/{digest}", digest.as_bytes()[0]))
}

/// Where its outboard tree is.
pub(crate) fn tree(digest: &Digest) -> Result<VfsPath> {
    path(format!("{BLOBS}/{:02x}/{digest}{TREE}", digest.as_bytes()[0]))
}

/// Where damaged content goes.
pub(crate) fn quarantined(digest: &Digest) -> Result<VfsPath> {
    path(format!("{QUARANTINE}/{digest}"))
}

/// What a file among the blobs is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    Blob(Digest),
    Tree(Digest),
}

/// Parses a path below [`BLOBS`]: exactly two and 64 lower-case hexadecimal digits that agree.
pub(crate) fn parse(path: &VfsPath) -> Option<Kept> {
    let (dir, name) = path.as_str().strip_prefix(BLOBS)?.strip_prefix('/')?.split_once('/')?;
    let (hex, tree) = match name.strip_suffix(TREE) {
        Some(hex) => (hex, true),
        None => (name, false),
    };
    let digest: Digest = hex.parse().ok()?;
    let matches = dir == &hex[..2];
    matches.then_some(if tree { Kept::Tree(digest) } else { Kept::Blob(digest) })
}

/// A store that says of itself what it can not be.
pub(crate) fn broken(message: String) -> Error {
    Error::new(ErrorKind::IntegrityMismatch, message).with_path(STORE_FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        let digest = Digest::of(b"x");
        assert_eq!(parse(&blob(&digest).unwrap()), Some(Kept::Blob(digest)));
        assert_eq!(parse(&tree(&digest).unwrap()), Some(Kept::Tree(digest)));
    }

    #[test]
    fn hostile_names_are_not_blobs() {
        let hex = Digest::of(b"x").to_string();
        let (first, upper) = (&hex[..2], hex.to_uppercase());
        for name in [
            format!("{BLOBS}/00/{hex}"),
            format!("{BLOBS}/{hex}"),
            format!("{BLOBS}/{first}/{}", &hex[1..]),
            format!("{BLOBS}/{first}/{hex}0"),
            format!("{BLOBS}/{first}/{upper}"),
            format!("{BLOBS}/{first}/x/{hex}"),
            format!("{BLOBS}/{first}/{hex}.tree.tree"),
            format!("{BLOBS}/{first}/.tree"),
            format!("/elsewhere/{first}/{hex}"),
        ] {
            assert_eq!(parse(&path(&name).unwrap()), None, "{name}");
        }
    }
}
