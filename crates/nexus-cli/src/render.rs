//! Sizes, times, names and entries as text.

use std::borrow::Cow;
use std::time::SystemTime;

use jiff::Timestamp;
use nexus_fs::{Digest, Metadata, Version, VfsPath};
use serde::Serialize;

/// Text that can not move the cursor, change colours or turn the writing direction of a terminal.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let escaped = text
        .chars()
        .map(|c| if is_unsafe(c) { c.escape_default().to_string() } else { c.to_string() });
    Cow::Owned(escaped.collect())
}

/// Control characters, and those that Unicode reserves for the direction of text.
fn is_unsafe(c: char) -> bool {
    (c.is_control() && c != '\t')
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        || matches!(c, '\u{2028}' | '\u{2029}')
}

/// A size in bytes, with three digits and a power of 1024.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // The last step that would still print as 1024 goes up, too.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A number and its noun.
pub(crate) fn count(number: u64, noun: &str) -> String {
    match (number, noun) {
        (1, _) => format!("1 {noun}"),
        (_, "directory") => format!("{number} directories"),
        (_, "entry") => format!("{number} entries"),
        (_, "match") => format!("{number} matches"),
        _ => format!("{number} {noun}s"),
    }
}

/// A time in RFC 3339, in UTC.
pub(crate) fn rfc3339(time: SystemTime) -> Option<String> {
    Timestamp::try_from(time).ok().map(|time| time.to_string())
}

/// A time for people, in UTC, to the second.
pub(crate) fn time(time: Option<SystemTime>) -> String {
    let time = time.and_then(|time| Timestamp::try_from(time).ok());
    time.map_or_else(|| "-".to_owned(), |time| time.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// An entry as JSON: always these eight keys, in this order.
#[derive(Serialize)]
struct EntryJson<'a> {
    path: &'a VfsPath,
    kind: &'static str,
    size: Option<u64>,
    modified: Option<String>,
    etag: Option<&'a str>,
    version: Option<&'a str>,
    digest: Option<Digest>,
    content_type: Option<&'a str>,
}

/// The JSON object of an entry.
pub(crate) fn entry<'a>(path: &'a VfsPath, metadata: &'a Metadata) -> impl Serialize + 'a {
    EntryJson {
        path,
        kind: metadata.kind.as_str(),
        size: metadata.size,
        modified: metadata.modified.and_then(rfc3339),
        etag: metadata.etag.as_deref(),
        version: metadata.version.as_ref().map(Version::as_str),
        digest: metadata.digest,
        content_type: metadata.content_type.as_deref(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits_at_most() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        assert_eq!(escape("plain é 漢"), "plain é 漢");
        assert_eq!(escape("a\u{1b}[31mb"), "a\\u{1b}[31mb");
        assert_eq!(escape("a\nb\u{202e}c"), "a\\nb\\u{202e}c");
        assert_eq!(escape("\u{9b}2J"), "\\u{9b}2J");
    }

    #[test]
    fn times_are_utc() {
        let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1_700_000_000_123);
        assert_eq!(rfc3339(at).unwrap(), "2023-11-14T22:13:20.123Z");
        assert_eq!(time(Some(at)), "2023-11-14 22:13:20");
        assert_eq!(time(None), "-");
    }
}
