//! The recorded digest of a whole body: the last piece is given out only when all of them together
//! are what was recorded.

use futures_util::stream::{self, Stream};
use nexus_core::{Bytes, Digest, Error, ErrorKind, Hasher, Result};

use super::download::Download;

/// The pieces of a download as a stream, the last of them after the verdict where a digest is
/// expected.
pub(crate) fn pieces(
    download: Download,
    expected: Option<Digest>,
) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
    let state = State { download, expected, hasher: Hasher::new(), held: None, over: false };
    stream::unfold(state, |mut state| async move {
        let piece = state.next().await.transpose()?;
        Some((piece, state))
    })
}

struct State {
    download: Download,
    expected: Option<Digest>,
    hasher: Hasher,
    held: Option<Bytes>,
    over: bool,
}

impl State {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let Some(expected) = self.expected else { return self.download.next().await };
        while !self.over {
            match self.download.next().await {
                Ok(Some(piece)) => {
                    self.hasher.update(&piece);
                    if let Some(held) = self.held.replace(piece) {
                        return Ok(Some(held));
                    }
                }
                Ok(None) => {
                    self.over = true;
                    if let Err(error) = check(self.hasher.finish(), expected) {
                        self.held = None;
                        return Err(error);
                    }
                }
                Err(error) => {
                    self.over = true;
                    self.held = None;
                    return Err(error);
                }
            }
        }
        Ok(self.held.take())
    }
}

/// Whether content is what was recorded for it.
///
/// # Errors
/// `IntegrityMismatch`.
pub(crate) fn check(found: Digest, expected: Digest) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::IntegrityMismatch,
        "the content does not match the digest that was recorded when it was written",
    ))
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use nexus_core::MemoryBudget;

    use super::super::download::Plan;
    use super::super::resume::Resuming;
    use super::super::resume::tests::{Breaking, content};
    use super::*;

    async fn read(expected: Option<Digest>) -> (Vec<u8>, Option<ErrorKind>) {
        let source = Breaking::new(content(5000), &[]);
        let plan = Plan { part: 5000, most: 1, budget: MemoryBudget::new(0) };
        let first = Resuming::new(source.clone(), 0..5000);
        let download = Download::new(source, plan, first, 5000..5000);
        let (mut bytes, mut failure) = (Vec::new(), None);
        let mut stream = std::pin::pin!(pieces(download, expected));
        while let Some(piece) = stream.next().await {
            match piece {
                Ok(piece) => bytes.extend_from_slice(&piece),
                Err(error) => failure = Some(error.kind()),
            }
        }
        (bytes, failure)
    }

    #[tokio::test]
    async fn the_last_piece_waits_for_the_verdict() {
        let whole = content(5000);
        assert_eq!(read(None).await, (whole.to_vec(), None));
        assert_eq!(read(Some(Digest::of(&whole))).await, (whole.to_vec(), None));
        let (bytes, failure) = read(Some(Digest::of(b"other"))).await;
        assert_eq!(failure, Some(ErrorKind::IntegrityMismatch));
        assert!(bytes.len() < 5000);
    }
}
