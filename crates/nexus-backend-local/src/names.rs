//! Names on disk that a path of the namespace can not hold as they are.
//!
//! A name on disk is bytes; a path is UTF-8. A name that is UTF-8 is itself. In any other, each byte
//! that is not part of UTF-8 becomes `\xHH` (upper-case hexadecimal). So that no two names look the
//! same, a backslash that would begin such an escape is written `\x5C`. The mapping is one to one.

use std::borrow::Cow;

use nexus_core::{Error, ErrorKind, Result};

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// The value of an escape at the beginning of `text`: `\x5C`, or `\x80` and above.
fn escape_at(text: &[u8]) -> Option<u8> {
    let [b'\\', b'x', high, low, ..] = text else { return None };
    let digit = |byte: &u8| HEX.iter().position(|hex| hex == byte);
    let value = (digit(high)? * 16 + digit(low)?) as u8;
    (value >= 0x80 || value == b'\\').then_some(value)
}

/// The segment that stands for a name on disk.
pub(crate) fn encode(name: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(name)
        && !has_escape(name)
    {
        return Cow::Borrowed(text);
    }
    let mut segment = String::with_capacity(name.len() + 8);
    let mut rest = name;
    for chunk in name.utf8_chunks() {
        for (index, c) in chunk.valid().char_indices() {
            if c == '\\' && escape_at(&rest[index..]).is_some() {
                segment.push_str("\\x5C");
            } else {
                segment.push(c);
            }
        }
        for byte in chunk.invalid() {
            segment.push_str("\\x");
            segment.push(char::from(HEX[usize::from(byte >> 4)]));
            segment.push(char::from(HEX[usize::from(byte & 15)]));
        }
        rest = &rest[chunk.valid().len() + chunk.invalid().len()..];
    }
    Cow::Owned(segment)
}

/// The name on disk that a segment, or a path of segments, stands for.
///
/// # Errors
/// `InvalidPath` for a text that stands for no name: its escapes are not the way in which
/// [`encode`] writes them.
pub(crate) fn decode(text: &str) -> Result<Cow<'_, [u8]>> {
    if !has_escape(text.as_bytes()) {
        return Ok(Cow::Borrowed(text.as_bytes()));
    }
    let mut name = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        match escape_at(rest) {
            Some(value) => {
                name.push(value);
                rest = &rest[4..];
            }
            None => {
                name.push(*first);
                rest = tail;
            }
        }
    }
    if encode(&name) != text {
        return Err(Error::new(
            ErrorKind::InvalidPath,
            "`\\xHH` stands for a byte that is not UTF-8, and these are",
        )
        .with_hint("write a backslash that stands before `xHH` as `\\x5C`"));
    }
    Ok(Cow::Owned(name))
}

fn has_escape(text: &[u8]) -> bool {
    // `memchr` in disguise: most names have no backslash at all.
    text.contains(&b'\\') && (0..text.len()).any(|at| escape_at(&text[at..]).is_some())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_names_are_themselves() {
        for name in ["a", "é", "a\\b", "\\x41", "\\xff", "100%"] {
            assert_eq!(encode(name.as_bytes()), name);
            assert_eq!(&*decode(name).unwrap(), name.as_bytes());
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_are_escaped() {
        assert_eq!(encode(b"caf\xE9"), "caf\\xE9");
        assert_eq!(encode(b"\xFF\xFE"), "\\xFF\\xFE");
        assert_eq!(&*decode("caf\\xE9").unwrap(), b"caf\xE9");
    }

    #[test]
    fn a_name_that_looks_escaped_is_told_apart() {
        assert_eq!(encode(b"caf\\xE9"), "caf\\x5CxE9");
        assert_eq!(&*decode("caf\\x5CxE9").unwrap(), b"caf\\xE9");
    }

    #[test]
    fn escapes_of_what_needs_none_are_refused() {
        for text in ["\\xC3\\xA9", "\\x5C", "a\\x5Cb"] {
            assert_eq!(decode(text).unwrap_err().kind(), ErrorKind::InvalidPath, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_name_comes_back(name in prop::collection::vec(
            prop_oneof![Just(b'\\'), Just(b'x'), Just(b'5'), Just(b'C'), Just(b'E'), any::<u8>()], 0..12)
        ) {
            let segment = encode(&name);
            prop_assert_eq!(&*decode(&segment).unwrap(), &name[..]);
        }

        #[test]
        fn no_two_segments_stand_for_one_name(text in "[\\\\x5CEFé9]{0,10}") {
            if let Ok(name) = decode(&text) {
                prop_assert_eq!(encode(&name), text.as_str());
            }
        }
    }
}
