//! Mount URIs: their syntax, their redaction, and the mount point that follows from one. What an
//! option means belongs to the backend; this file only keeps its text.

use std::fmt;
use std::str::FromStr;

use crate::{Error, ErrorKind, Operation, Result, VfsPath};

/// A mount URI, `scheme://authority/path?option=value&option=value`.
///
/// In authority, path and values `%XX` stands for a byte, so that `?`, `&` and `%` itself can be
/// written; everything else is literal, spaces and `+` included. `Debug` and `Display` hide
/// secrets; `Display` of a URI without secrets parses to the same URI.
///
/// ```
/// use nexus_core::MountUri;
///
/// let uri: MountUri = "s3://AK:SK@bucket/a?region=eu-1&session_token=abc".parse()?;
/// assert_eq!(uri.to_string(), "s3://***@bucket/a?region=eu-1&session_token=***");
/// assert_eq!(uri.mount_point()?.as_str(), "/s3/bucket/a");
/// # Ok::<(), nexus_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct MountUri {
    scheme: String,
    user_info: Option<String>,
    authority: String,
    path: String,
    options: Vec<(String, String)>,
}

/// The longest mount URI, in bytes.
const MAX_BYTES: usize = 65_535;

impl MountUri {
    /// Parses a mount URI.
    ///
    /// # Errors
    /// `InvalidUri` naming what is wrong, `InvalidOption` for an option that is given twice or has
    /// no name. The error never repeats the text: it may hold secrets.
    pub fn parse(text: &str) -> Result<Self> {
        if text.len() > MAX_BYTES {
            return Err(invalid("longer than 65,535 bytes"));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(invalid("no `scheme://`")
                .with_hint("write it like `local://./data` or `s3://bucket/prefix`"));
        };
        if !is_scheme(scheme) {
            return Err(invalid(
                "the scheme must be lower-case letters, digits, `+`, `-` or `.`, a letter first",
            ));
        }
        let (location, query) = match rest.split_once('?') {
            Some((location, query)) => (location, Some(query)),
            None => (rest, None),
        };
        let (authority, path) = match location.find('/') {
            Some(slash) => location.split_at(slash),
            None => (location, ""),
        };
        let (user_info, authority) = match authority.rsplit_once('@') {
            Some((user_info, authority)) => (Some(decode(user_info)?), authority),
            None => (None, authority),
        };
        Ok(Self {
            scheme: scheme.to_owned(),
            user_info,
            authority: decode(authority)?,
            path: decode(path)?,
            options: parse_options(query.unwrap_or_default())?,
        })
    }

    /// The scheme, in lower case.
    #[must_use]
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// What stands before `@` in the authority: a secret.
    #[must_use]
    pub fn expose_user_info(&self) -> Option<&str> {
        self.user_info.as_deref()
    }

    /// The authority (bucket, project, account, owner), decoded; it may be empty.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// What follows the authority, decoded: empty, or beginning with `/`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The value of an option, decoded; an option without `=` has the empty value.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The names of all options, in the order written.
    pub fn option_names(&self) -> impl Iterator<Item = &str> {
        self.options.iter().map(|(name, _)| name.as_str())
    }

    /// This URI with another location: no authority, and `path`, which is literal.
    #[must_use]
    pub fn rooted_at(&self, path: &str) -> Self {
        Self { authority: String::new(), path: path.to_owned(), ..self.clone() }
    }

    /// Whether this URI carries a secret: user information, or an option that is named like one.
    /// Such a URI must not be saved.
    #[must_use]
    pub fn has_secrets(&self) -> bool {
        self.user_info.is_some() || self.option_names().any(is_secret)
    }

    /// The mount point that follows from the URI: `/scheme/authority/path`, by segments, without
    /// `.` segments. A backend with another rule states it in its descriptor.
    ///
    /// # Errors
    /// `InvalidUri` when a segment can not stand in a path (`..`, NUL); the hint names `at`.
    pub fn mount_point(&self) -> Result<VfsPath> {
        self.mount_point_from(self.authority.split('/').chain(self.path.split('/')))
    }

    /// The mount point `/scheme/segments…`, without empty and `.` segments.
    ///
    /// # Errors
    /// As [`MountUri::mount_point`].
    pub fn mount_point_from<'a>(&self, segments: impl Iterator<Item = &'a str>) -> Result<VfsPath> {
        segments
            .filter(|segment| !matches!(*segment, "" | "."))
            .try_fold(VfsPath::root().join(&self.scheme)?, |at, segment| at.join(segment))
            .map_err(|error| {
                Error::new(ErrorKind::InvalidUri, "no mount point follows from this URI")
                    .with_operation(Operation::Mount)
                    .with_path(self.to_string())
                    .with_hint("say where to mount it, with `at` (`--at /some/path`)")
                    .with_source(error)
            })
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'+' | b'-' | b'.'))
}

fn parse_options(query: &str) -> Result<Vec<(String, String)>> {
    let mut options: Vec<(String, String)> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decode(name)?, decode(value)?);
        let well_named =
            name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.'));
        if name.is_empty() || !well_named {
            return Err(Error::new(
                ErrorKind::InvalidOption,
                "an option needs a name of lower-case letters, digits, `_`, `-` or `.`",
            )
            .with_operation(Operation::Parse));
        }
        if options.iter().any(|(known, _)| *known == name) {
            return Err(Error::new(
                ErrorKind::InvalidOption,
                format!("option `{name}` is given twice"),
            )
            .with_operation(Operation::Parse));
        }
        options.push((name, value));
    }
    Ok(options)
}

/// Options whose name says that the value is a secret. Rather too wide than too narrow.
fn is_secret(name: &str) -> bool {
    const MARKS: [&str; 8] =
        ["secret", "token", "password", "passphrase", "credential", "signature", "key", "sas"];
    MARKS.iter().any(|mark| name.contains(mark))
}

fn decode(text: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digit = |byte: &u8| char::from(*byte).to_digit(16);
        match tail {
            [high, low, tail @ ..] => match (digit(high), digit(low)) {
                (Some(high), Some(low)) => {
                    bytes.push((high * 16 + low) as u8);
                    rest = tail;
                }
                _ => return Err(bad_percent()),
            },
            _ => return Err(bad_percent()),
        }
    }
    String::from_utf8(bytes).map_err(|_| invalid("`%XX` sequences that are not UTF-8"))
}

fn bad_percent() -> Error {
    invalid("a `%` without two hexadecimal digits").with_hint("write `%` itself as `%25`")
}

fn invalid(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidUri, format!("not a mount URI: {message}"))
        .with_operation(Operation::Parse)
}

/// Writes text so that [`decode`] gives it back.
fn encode(f: &mut fmt::Formatter<'_>, text: &str, special: &[char]) -> fmt::Result {
    for c in text.chars() {
        if c == '%' || c == '?' || c.is_control() || special.contains(&c) {
            let mut utf8 = [0; 4];
            for byte in c.encode_utf8(&mut utf8).bytes() {
                write!(f, "%{byte:02X}")?;
            }
        } else {
            fmt::Write::write_char(f, c)?;
        }
    }
    Ok(())
}

impl fmt::Display for MountUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme)?;
        if self.user_info.is_some() {
            f.write_str("***@")?;
        }
        encode(f, &self.authority, &['@', '/'])?;
        encode(f, &self.path, &[])?;
        for (index, (name, value)) in self.options.iter().enumerate() {
            f.write_str(if index == 0 { "?" } else { "&" })?;
            f.write_str(name)?;
            if is_secret(name) {
                f.write_str("=***")?;
            } else if !value.is_empty() {
                f.write_str("=")?;
                encode(f, value, &['&'])?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for MountUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MountUri({self})")
    }
}

impl FromStr for MountUri {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn uri(text: &str) -> MountUri {
        MountUri::parse(text).unwrap()
    }

    #[test]
    fn mount_points_follow_from_the_uri() {
        for (text, point) in [
            ("s3://my-bucket", "/s3/my-bucket"),
            ("s3://my-bucket/", "/s3/my-bucket"),
            ("s3://my-bucket/a/b", "/s3/my-bucket/a/b"),
            ("local://./data", "/local/data"),
            ("local://data", "/local/data"),
            ("local:///tmp/scratch", "/local/tmp/scratch"),
            ("gdrive://my-drive", "/gdrive/my-drive"),
            ("github://", "/github"),
            ("local:///a//b/./c", "/local/a/b/c"),
        ] {
            assert_eq!(uri(text).mount_point().unwrap().as_str(), point, "{text}");
        }
    }

    #[test]
    fn climbing_has_no_mount_point_but_a_hint() {
        let error = uri("local://../x").mount_point().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidUri);
        assert!(error.hint().unwrap().contains("--at"));
    }

    #[test]
    fn refuses_malformed_uris_with_the_right_kind() {
        for text in ["", "local", "local:/x", "://x", "Local://x", "1a://x", "a b://x", "s3://%"] {
            assert_eq!(MountUri::parse(text).unwrap_err().kind(), ErrorKind::InvalidUri, "{text}");
        }
        for text in ["mem://?=1", "mem://?a=1&a=2", "mem://?A=1", "mem://?%00=1"] {
            let kind = MountUri::parse(text).unwrap_err().kind();
            assert_eq!(kind, ErrorKind::InvalidOption, "{text}");
        }
    }

    #[test]
    fn secrets_never_reach_display_debug_or_errors() {
        let text =
            "s3://AKIA:hunter2@b?secret_access_key=hunter2&session_token=hunter2&sas=hunter2";
        let parsed = uri(text);
        assert!(parsed.has_secrets());
        assert!(!format!("{parsed} {parsed:?}").contains("hunter2"));
        for bad in ["s3://A:hunter2@b/%zz", "hunter2", "s3://b?token=hunter2&token=hunter2"] {
            let error = MountUri::parse(bad).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
    }

    #[test]
    fn values_decode_and_keep_plus() {
        let parsed = uri("mem://x?a=1%262&b=+&c");
        assert_eq!(parsed.option("a"), Some("1&2"));
        assert_eq!(parsed.option("b"), Some("+"));
        assert_eq!(parsed.option("c"), Some(""));
        assert_eq!(parsed.option("d"), None);
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "\\PC{0,40}") {
            let _ = MountUri::parse(&text);
        }

        #[test]
        fn display_parses_to_the_same_uri(
            authority in "[a-z@/%? é]{0,8}", path in "(/[a-z%?&=# é@]{0,5}){0,3}", value in "[a-z&%?=+ ]{0,6}"
        ) {
            prop_assume!(!authority.contains('/'));
            let original = MountUri {
                scheme: "local".into(), user_info: None, authority, path,
                options: vec![("one".into(), value), ("two".into(), String::new())],
            };
            prop_assert_eq!(uri(&original.to_string()), original);
        }
    }
}
