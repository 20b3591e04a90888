//! What is known of an object beside its content: from headers to metadata and back, and what
//! nexus-fs itself records there.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_s3::primitives::DateTime;
use nexus_core::{Digest, Error, ErrorKind, Metadata, Result, Version, WriteOptions};

/// The key of user metadata under which the BLAKE3 digest of the content is recorded.
const DIGEST: &str = "nexus-blake3";

/// The key of user metadata that tells one write from all others, so that a request whose answer
/// was lost can be recognised.
const WRITE: &str = "nexus-write";

/// Keys of user metadata that begin like this are ours.
const OWN: &str = "nexus-";

/// What `binary/octet-stream` says, the store's own word where no content type was given.
const NO_TYPE: &str = "binary/octet-stream";

/// The headers that describe an object, as any answer of S3 has them.
pub(crate) struct Headers {
    pub(crate) size: u64,
    pub(crate) etag: Option<String>,
    pub(crate) modified: Option<DateTime>,
    pub(crate) content_type: Option<String>,
    pub(crate) user: Option<HashMap<String, String>>,
}

impl Headers {
    /// The metadata of a file.
    pub(crate) fn metadata(self) -> Metadata {
        let mut metadata = file(self.size, self.etag.as_deref(), self.modified.as_ref());
        metadata.content_type =
            self.content_type.filter(|kind| kind != NO_TYPE).map(String::into_boxed_str);
        for (key, value) in self.user.unwrap_or_default() {
            if key == DIGEST {
                metadata.digest = value.parse().ok();
            } else if !key.starts_with(OWN) {
                metadata.user.insert(key, decode_word(&value));
            }
        }
        metadata
    }

    /// Whether the object came from this very write.
    pub(crate) fn is_from(&self, write: &str) -> bool {
        let user = self.user.as_ref();
        user.and_then(|user| user.get(WRITE)).is_some_and(|found| found == write)
    }
}

/// The metadata of a file as a listing tells it.
pub(crate) fn file(size: u64, etag: Option<&str>, modified: Option<&DateTime>) -> Metadata {
    let mut metadata = Metadata::file(size);
    // In whole seconds, as headers have it: listings of some stores are finer.
    let modified = modified.map(|time| DateTime::from_secs(time.secs()));
    metadata.modified = modified.and_then(|time| time.try_into().ok());
    if let Some(etag) = etag.map(quoted) {
        metadata.version = Some(Version::new(etag.clone()));
        metadata.etag = Some(etag.into());
    }
    metadata
}

/// An entity tag with its quotes, which some stores leave out in some answers.
pub(crate) fn quoted(etag: &str) -> String {
    if etag.starts_with('"') || etag.starts_with("W/") {
        etag.to_owned()
    } else {
        format!("\"{etag}\"")
    }
}

/// What is written beside the content of one object.
#[derive(Clone, Debug)]
pub(crate) struct About {
    pub(crate) content_type: Option<String>,
    pub(crate) digest: Option<Digest>,
    /// Tells this write from all others.
    pub(crate) write: String,
    user: BTreeMap<String, String>,
}

impl About {
    /// What options ask for.
    ///
    /// # Errors
    /// `Unsupported` for a key of user metadata that no header can carry.
    pub(crate) fn new(options: &WriteOptions) -> Result<Self> {
        for key in options.user.keys() {
            let token =
                key.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.'));
            if key.is_empty() || !token || key.starts_with(OWN) {
                let message = format!("S3 can not store user metadata under the key `{key}`");
                return Err(Error::new(ErrorKind::Unsupported, message).with_hint(
                    "keys are lower-case letters, digits, `-`, `_` and `.`, and do not begin with \
                     `nexus-`",
                ));
            }
        }
        Ok(Self {
            content_type: options.content_type.clone(),
            digest: None,
            write: new_write(),
            user: options.user.clone(),
        })
    }

    /// What is known of an object that is there, for a write of its own.
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            content_type: metadata.content_type.as_deref().map(str::to_owned),
            digest: metadata.digest,
            write: new_write(),
            user: metadata.user.clone(),
        }
    }

    /// The user metadata as S3 is given it.
    pub(crate) fn headers(&self) -> HashMap<String, String> {
        let user = self.user.iter().map(|(key, value)| (key.clone(), encode_word(value)));
        let digest = self.digest.map(|digest| (DIGEST.to_owned(), digest.to_string()));
        user.chain(digest).chain([(WRITE.to_owned(), self.write.clone())]).collect()
    }

    /// The metadata of the object, once the store has taken it under `etag`.
    pub(crate) fn stored(self, size: u64, etag: Option<&str>) -> Metadata {
        let mut metadata = file(size, etag, None);
        metadata.content_type = self.content_type.map(String::into_boxed_str);
        metadata.digest = self.digest;
        metadata.user = self.user;
        metadata
    }
}

fn new_write() -> String {
    format!("{:032x}", fastrand::u128(..))
}

/// What a header can not carry as it is stands in it as an encoded word of RFC 2047, which is also
/// how S3 itself returns such values.
fn encode_word(value: &str) -> String {
    let plain = value.bytes().all(|b| matches!(b, b' '..=b'~'))
        && value.trim() == value
        && !value.is_empty()
        && !value.contains("=?");
    if plain { value.to_owned() } else { format!("=?UTF-8?B?{}?=", base64::encode(value)) }
}

/// The value of an encoded word; any other text as it is.
fn decode_word(value: &str) -> String {
    let word = value.strip_prefix("=?").and_then(|rest| rest.strip_suffix("?="));
    let mut fields = word.unwrap_or_default().split('?');
    let (charset, encoding, text, end) =
        (fields.next(), fields.next(), fields.next(), fields.next());
    let utf8 = charset.is_some_and(|charset| charset.eq_ignore_ascii_case("utf-8"));
    let decoded = match (encoding, text, end) {
        (Some("B" | "b"), Some(text), None) if utf8 => base64::decode(text),
        (Some("Q" | "q"), Some(text), None) if utf8 => Some(decode_quoted(text)),
        _ => None,
    };
    decoded.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_else(|| value.to_owned())
}

/// The encoding `Q` of RFC 2047: `_` is a space, `=XX` a byte.
fn decode_quoted(text: &str) -> Vec<u8> {
    let (bytes, mut decoded, mut at) = (text.as_bytes(), Vec::with_capacity(text.len()), 0);
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    while let Some(byte) = bytes.get(at) {
        at += 1;
        decoded.push(match (byte, digit(bytes.get(at)), digit(bytes.get(at + 1))) {
            (b'=', Some(high), Some(low)) => {
                at += 2;
                (high * 16 + low) as u8
            }
            (b'_', ..) => b' ',
            (byte, ..) => *byte,
        });
    }
    decoded
}

/// Base 64 of RFC 4648, with padding.
mod base64 {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    pub(super) fn encode(text: &str) -> String {
        let mut encoded = String::with_capacity(text.len().div_ceil(3) * 4);
        for group in text.as_bytes().chunks(3) {
            let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or_default());
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            for place in 0..4 {
                let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
                encoded.push(if place <= group.len() { char::from(digit) } else { '=' });
            }
        }
        encoded
    }

    pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
        let (mut bits, mut count, mut decoded) = (0_u32, 0, Vec::new());
        for byte in text.trim_end_matches('=').bytes() {
            let digit = DIGITS.iter().position(|digit| *digit == byte)?;
            bits = bits << 6 | digit as u32;
            count += 6;
            if count >= 8 {
                count -= 8;
                decoded.push((bits >> count) as u8);
            }
        }
        Some(decoded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_as_they_were_and_travel_as_ascii() {
        for value in
            ["plain", "", " spaces ", "é", "line\nbreak", "=?UTF-8?B?eA==?=", "a=?b", "\u{1f9ea}"]
        {
            let encoded = encode_word(value);
            assert!(encoded.bytes().all(|b| matches!(b, b' '..=b'~')), "{encoded:?}");
            assert_eq!(decode_word(&encoded), value);
        }
        assert_eq!(encode_word("plain text"), "plain text");
    }

    #[test]
    fn what_the_store_encodes_is_read() {
        assert_eq!(decode_word("=?UTF-8?Q?caf=C3=A9_x?="), "café x");
        assert_eq!(decode_word("=?utf-8?b?w6k=?="), "é");
        for other in ["=?latin1?B?eA==?=", "=?UTF-8?B?*?=", "=?UTF-8?B?/w==?=", "=??=", "=?"] {
            assert_eq!(decode_word(other), other);
        }
    }

    #[test]
    fn keys_that_no_header_carries_are_refused() {
        for key in ["", "Upper", "with space", "é", "nexus-blake3", "a:b"] {
            let user = [(key.to_owned(), "x".to_owned())].into();
            let options = WriteOptions { user, ..WriteOptions::default() };
            let error = About::new(&options).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{key:?}");
        }
    }

    #[test]
    fn our_own_records_are_no_user_metadata() {
        let options = WriteOptions {
            user: [("colour".to_owned(), "blue".to_owned())].into(),
            ..WriteOptions::default()
        };
        let about = About { digest: Some(Digest::of(b"x")), ..About::new(&options).unwrap() };
        let headers = Headers {
            size: 1,
            etag: Some("abc".to_owned()),
            modified: None,
            content_type: Some(NO_TYPE.to_owned()),
            user: Some(about.headers()),
        };
        assert!(headers.is_from(&about.write) && !headers.is_from("another"));
        let metadata = headers.metadata();
        assert_eq!(metadata.user, options.user);
        assert_eq!(metadata.digest, Some(Digest::of(b"x")));
        assert_eq!(metadata.content_type, None);
        assert_eq!(metadata.etag.as_deref(), Some("\"abc\""));
    }
}
