//! From paths to keys and back, and the encodings of keys where S3 wants one.

use nexus_core::{Error, ErrorKind, Result, VfsPath};

/// The longest key, in bytes of UTF-8:
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>.
pub(crate) const MAX_KEY: usize = 1024;

/// The keys of a mount: those that begin with its prefix.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    /// Empty, or ending with `/`.
    prefix: String,
}

/// What a key of a listing stands for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// An object.
    File(VfsPath),
    /// A key that ends with `/`: the marker of a directory, or a common prefix.
    Directory(VfsPath),
    /// The marker of the mount's own root.
    Root,
}

impl Keys {
    /// Keys below the directory `root` of the bucket.
    pub(crate) fn below(root: &VfsPath) -> Self {
        let prefix = if root.is_root() { String::new() } else { format!("{}/", root.key()) };
        Self { prefix }
    }

    /// The longest path whose key fits.
    pub(crate) fn max_path(&self) -> usize {
        (MAX_KEY + 1).saturating_sub(self.prefix.len())
    }

    /// The key of a file.
    ///
    /// # Errors
    /// `InvalidPath` when it would be too long.
    pub(crate) fn file(&self, path: &VfsPath) -> Result<String> {
        if path.as_str().len() > self.max_path() {
            let message = format!("longer than the {MAX_KEY} bytes of a key of S3");
            return Err(Error::new(ErrorKind::InvalidPath, message).with_path(path.as_str()));
        }
        Ok(format!("{}{}", self.prefix, path.key()))
    }

    /// What every key below a directory begins with.
    pub(crate) fn directory(&self, path: &VfsPath) -> String {
        if path.is_root() { self.prefix.clone() } else { format!("{}{}/", self.prefix, path.key()) }
    }

    /// What a key stands for.
    ///
    /// # Errors
    /// `InvalidPath` for a key that no path can name: with an empty segment, `.` or `..`.
    pub(crate) fn named(&self, key: &str) -> Result<Named> {
        let unnamed = || {
            Error::new(ErrorKind::InvalidPath, "the bucket has a key that no path can name")
                .with_path(key)
        };
        let tail = key.strip_prefix(&self.prefix).ok_or_else(unnamed)?;
        if tail.is_empty() {
            return Ok(Named::Root);
        }
        let (tail, marker) = match tail.strip_suffix('/') {
            Some(tail) => (tail, true),
            None => (tail, false),
        };
        let path = VfsPath::parse(&format!("/{tail}"));
        let path = path.ok().filter(|path| !path.is_root()).ok_or_else(unnamed)?;
        Ok(if marker { Named::Directory(path) } else { Named::File(path) })
    }
}

/// A key as it stands in a header: `/` and unreserved characters as they are, all else as `%XX`.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                encoded.push(char::from(byte));
            }
            _ => {
                encoded.push('%');
                for digit in [byte >> 4, byte & 15] {
                    encoded.push(char::from(b"0123456789ABCDEF"[usize::from(digit)]));
                }
            }
        }
    }
    encoded
}

/// A key of a listing that was asked for with `encoding-type=url`, in which `+` is a space.
///
/// # Errors
/// `InvalidPath` for a key that is not UTF-8.
pub(crate) fn decode(text: &str) -> Result<String> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let (bytes, mut decoded) = (text.as_bytes(), Vec::with_capacity(text.len()));
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        at += 1;
        let pair = (digit(bytes.get(at)), digit(bytes.get(at + 1)));
        decoded.push(match (byte, pair) {
            (b'%', (Some(high), Some(low))) => {
                at += 2;
                (high * 16 + low) as u8
            }
            (b'+', _) => b' ',
            (byte, _) => *byte,
        });
    }
    String::from_utf8(decoded).map_err(|_| {
        Error::new(ErrorKind::InvalidPath, "the bucket has a key that is not UTF-8").with_path(text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> VfsPath {
        VfsPath::parse(text).unwrap()
    }

    #[test]
    fn paths_and_keys_are_inverse() {
        for root in ["/", "/a/b"] {
            let keys = Keys::below(&path(root));
            for text in ["/x", "/x/y", "/ ", "/%2F", "/é"] {
                let path = path(text);
                let named = keys.named(&keys.file(&path).unwrap()).unwrap();
                assert_eq!(named, Named::File(path.clone()));
                let named = keys.named(&keys.directory(&path)).unwrap();
                assert_eq!(named, Named::Directory(path));
            }
            assert_eq!(keys.named(&keys.directory(&VfsPath::root())).unwrap(), Named::Root);
        }
    }

    #[test]
    fn keys_that_no_path_can_name_are_refused() {
        let keys = Keys::below(&path("/a"));
        for key in ["a//", "a//b", "a/b//", "a/./b", "a/..", "b/x", "a/b\0"] {
            assert_eq!(keys.named(key).unwrap_err().kind(), ErrorKind::InvalidPath, "{key:?}");
        }
    }

    #[test]
    fn the_longest_key_is_taken() {
        let keys = Keys::below(&path("/abc"));
        let longest = path(&format!("/{}", "n".repeat(keys.max_path() - 1)));
        assert_eq!(keys.file(&longest).unwrap().len(), MAX_KEY);
        let longer = path(&format!("/{}", "n".repeat(keys.max_path())));
        assert_eq!(keys.file(&longer).unwrap_err().kind(), ErrorKind::InvalidPath);
    }

    #[test]
    fn encoding_is_undone_by_decoding() {
        let odd = "a b+c%2F/é\n\u{1f9ea}~*'";
        assert_eq!(encode(odd), "a%20b%2Bc%252F/%C3%A9%0A%F0%9F%A7%AA~%2A%27");
        assert_eq!(decode(&encode(odd)).unwrap(), odd);
        assert_eq!(decode("a+b%2bc%zz%").unwrap(), "a b+c%zz%");
        assert!(decode("%ff").is_err());
    }
}
