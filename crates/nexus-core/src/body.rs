//! The content of a read: one piece when it is small, a stream when it is not.

use std::fmt;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{BoxStream, StreamExt};

use crate::{Error, ErrorKind, Metadata, Result};

/// Content that is being read. Dropping it stops the transfer.
///
/// The pieces in order are exactly the bytes asked for. A transfer that breaks ends with an error,
/// never early in silence.
pub struct Body(Repr);

enum Repr {
    Whole(Bytes),
    Stream(BoxStream<'static, Result<Bytes>>),
}

impl Body {
    /// A body in one piece.
    #[must_use]
    pub fn whole(content: impl Into<Bytes>) -> Self {
        Self(Repr::Whole(content.into()))
    }

    /// A body that arrives in pieces. The stream must end with an error when it can not deliver
    /// all bytes.
    pub fn stream(
        pieces: impl futures_util::Stream<Item = Result<Bytes>> + Send + 'static,
    ) -> Self {
        Self(Repr::Stream(pieces.boxed()))
    }

    /// The next piece, never empty; `None` at the end.
    pub async fn next(&mut self) -> Option<Result<Bytes>> {
        match &mut self.0 {
            Repr::Whole(content) if content.is_empty() => None,
            Repr::Whole(content) => Some(Ok(std::mem::take(content))),
            Repr::Stream(pieces) => loop {
                match pieces.next().await {
                    Some(Ok(piece)) if piece.is_empty() => {}
                    other => return other,
                }
            },
        }
    }

    /// The content, when it is here already in one piece.
    #[must_use]
    pub fn as_whole(&self) -> Option<&Bytes> {
        match &self.0 {
            Repr::Whole(content) => Some(content),
            Repr::Stream(_) => None,
        }
    }

    /// All pieces in one, up to `limit` bytes of memory.
    ///
    /// # Errors
    /// `TooLarge` past the limit, and whatever the transfer fails with.
    pub async fn bytes(mut self, limit: usize) -> Result<Bytes> {
        let too_large =
            || Error::new(ErrorKind::TooLarge, format!("the content is larger than {limit} bytes"));
        let Some(first) = self.next().await.transpose()? else {
            return Ok(Bytes::new());
        };
        let mut whole: Option<BytesMut> = None;
        while let Some(piece) = self.next().await.transpose()? {
            let whole = whole.get_or_insert_with(|| BytesMut::from(&first[..]));
            if whole.len() + piece.len() > limit {
                return Err(too_large());
            }
            whole.extend_from_slice(&piece);
        }
        let content = whole.map_or(first, BytesMut::freeze);
        if content.len() > limit { Err(too_large()) } else { Ok(content) }
    }

    /// The pieces as a stream.
    pub fn into_stream(self) -> BoxStream<'static, Result<Bytes>> {
        match self.0 {
            Repr::Whole(content) => {
                futures_util::stream::iter((!content.is_empty()).then_some(Ok(content))).boxed()
            }
            Repr::Stream(pieces) => pieces,
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Whole(content) => write!(f, "Body({} bytes)", content.len()),
            Repr::Stream(_) => f.write_str("Body(stream)"),
        }
    }
}

/// What a read answers: the bytes asked for, and the metadata of the very object they are from.
#[derive(Debug)]
pub struct Object {
    /// Metadata of the whole object that the bytes belong to; `size` is that of the whole.
    pub metadata: Metadata,
    /// The bytes asked for.
    pub body: Body,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(parts: &[&'static str]) -> Body {
        let parts: Vec<_> = parts.iter().map(|p| Ok(Bytes::from_static(p.as_bytes()))).collect();
        Body::stream(futures_util::stream::iter(parts))
    }

    #[tokio::test]
    async fn bytes_joins_pieces_up_to_the_limit() {
        assert_eq!(pieces(&["ab", "", "c"]).bytes(3).await.unwrap(), "abc");
        assert_eq!(pieces(&["ab", "c"]).bytes(2).await.unwrap_err().kind(), ErrorKind::TooLarge);
        assert_eq!(Body::whole("abc").bytes(2).await.unwrap_err().kind(), ErrorKind::TooLarge);
        assert_eq!(Body::whole("").bytes(0).await.unwrap(), "");
    }

    #[tokio::test]
    async fn an_error_in_the_middle_is_not_an_early_end() {
        let broken = Body::stream(futures_util::stream::iter([
            Ok(Bytes::from_static(b"ab")),
            Err(Error::new(ErrorKind::Unavailable, "reset")),
        ]));
        assert_eq!(broken.bytes(9).await.unwrap_err().kind(), ErrorKind::Unavailable);
    }

    #[tokio::test]
    async fn next_never_yields_an_empty_piece() {
        let mut body = pieces(&["", "a", ""]);
        assert_eq!(body.next().await.unwrap().unwrap(), "a");
        assert!(body.next().await.is_none());
    }
}
