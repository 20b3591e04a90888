//! `cat` and `head`: content to standard output, as it comes.

use nexus_fs::{ByteRange, ReadOptions};

use super::each;
use crate::exit::Failure;
use crate::output::Output;
use crate::session::{Reach, Session};

pub(crate) async fn cat(
    paths: &[String],
    range: Option<&str>,
    session: &Session<'_>,
    output: &Output,
) -> Result<(), Failure> {
    let range = range.map(parse_range).transpose()?;
    each(paths, output, |operand| async move {
        let path = session.path(operand, Reach::Here).await?;
        let options = ReadOptions { range, ..ReadOptions::default() };
        let mut body = session.kernel.read(&path, &options).await?.body;
        while let Some(piece) = body.next().await {
            output.bytes(&piece.map_err(|error| error.with_path(path.as_str()))?)?;
        }
        Ok(())
    })
    .await
}

/// `START-END` or `START-`, END not included.
fn parse_range(text: &str) -> Result<ByteRange, Failure> {
    let malformed = || {
        Failure::usage(format!("`{text}` is not a range"))
            .with_hint("write it like `0-100` (the first 100 bytes) or `100-` (all but those)")
    };
    let (start, end) = text.split_once('-').ok_or_else(malformed)?;
    let number = |text: &str| text.parse::<u64>().map_err(|_| malformed());
    let end = if end.is_empty() { None } else { Some(number(end)?) };
    ByteRange::new(number(start)?, end).map_err(|_| malformed())
}

pub(crate) async fn head(
    paths: &[String],
    lines: u64,
    bytes: Option<u64>,
    session: &Session<'_>,
    output: &Output,
) -> Result<(), Failure> {
    each(paths, output, |operand| async move {
        let path = session.path(operand, Reach::Here).await?;
        if paths.len() > 1 {
            output.line(&format!("==> {path} <=="))?;
        }
        let range = bytes.map(|bytes| ByteRange::new(0, Some(bytes))).transpose()?;
        let options = ReadOptions { range, ..ReadOptions::default() };
        let mut body = session.kernel.read(&path, &options).await?.body;
        let mut left = if bytes.is_some() { u64::MAX } else { lines };
        while left > 0
            && let Some(piece) = body.next().await.transpose()?
        {
            output.bytes(first_lines(&piece, &mut left))?;
        }
        Ok(())
    })
    .await
}

/// The part of `piece` that holds the next lines; counts them down.
fn first_lines<'a>(piece: &'a [u8], left: &mut u64) -> &'a [u8] {
    for (at, _) in piece.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
        *left -= 1;
        if *left == 0 {
            return &piece[..=at];
        }
    }
    piece
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_half_open() {
        assert_eq!(parse_range("10-20").unwrap().start(), 10);
        assert_eq!(parse_range("10-20").unwrap().end(), Some(20));
        assert_eq!(parse_range("5-").unwrap().end(), None);
        for bad in ["", "-", "5", "-5", "a-b", "20-10", "1-2-3"] {
            assert_eq!(parse_range(bad).unwrap_err().code, 2, "{bad}");
        }
    }

    #[test]
    fn lines_are_counted_across_pieces() {
        let mut left = 2;
        assert_eq!(first_lines(b"a\nb", &mut left), b"a\nb");
        assert_eq!(first_lines(b"c\nd\n", &mut left), b"c\n");
        assert_eq!(left, 0);
    }
}
