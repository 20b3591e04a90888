//! One range of one object, over as many requests as it takes: a transfer that breaks goes on where
//! it stopped, with bytes of the very same state, or ends with an error.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use nexus_core::{Bytes, Error, ErrorKind, Result, Retry};

use super::{Pieces, Ranges, backoff};

/// How often a transfer may break before it has moved on by [`PROGRESS`].
const FAILURES: u32 = 5;

/// Bytes after which earlier failures are forgotten.
const PROGRESS: u64 = 1 << 20;

/// The pieces of a range that are still to come.
pub(crate) struct Resuming {
    source: Arc<dyn Ranges>,
    rest: Range<u64>,
    pieces: Option<Pieces>,
    failures: u32,
    since_failure: u64,
}

impl Resuming {
    /// A range that is asked for when its first piece is.
    pub(crate) fn new(source: Arc<dyn Ranges>, range: Range<u64>) -> Self {
        Self { source, rest: range, pieces: None, failures: 0, since_failure: 0 }
    }

    /// A range whose pieces have begun to arrive.
    pub(crate) fn begun(source: Arc<dyn Ranges>, range: Range<u64>, pieces: Pieces) -> Self {
        Self { pieces: Some(pieces), ..Self::new(source, range) }
    }

    /// The next piece, never empty; `None` when the whole range has been given.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>> {
        while !self.rest.is_empty() {
            match self.attempt().await {
                Ok(piece) => {
                    self.rest.start += piece.len() as u64;
                    self.since_failure += piece.len() as u64;
                    return Ok(Some(piece));
                }
                Err(error) => self.recover(error).await?,
            }
        }
        self.pieces = None;
        Ok(None)
    }

    async fn attempt(&mut self) -> Result<Bytes> {
        if self.pieces.is_none() {
            self.pieces = Some(self.source.open(self.rest.clone()).await?);
        }
        while let Some(pieces) = &mut self.pieces {
            let piece = pieces.next().await.unwrap_or_else(|| Err(ended_early()))?;
            if piece.len() as u64 > self.rest.end - self.rest.start {
                return Err(Error::new(
                    ErrorKind::Unavailable,
                    "the store sent more bytes than the range has",
                ));
            }
            if !piece.is_empty() {
                return Ok(piece);
            }
        }
        Err(ended_early())
    }

    /// Lets go of what broke, and waits; the error when it must not go on.
    async fn recover(&mut self, error: Error) -> Result<()> {
        self.pieces = None;
        if self.since_failure >= PROGRESS {
            self.failures = 0;
        }
        self.since_failure = 0;
        self.failures += 1;
        let wait = backoff::wait(&error, self.failures).filter(|_| self.failures <= FAILURES);
        let Some(wait) = wait else { return Err(error) };
        tracing::debug!(%error, at = self.rest.start, "a transfer broke and goes on");
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

fn ended_early() -> Error {
    Error::new(ErrorKind::Unavailable, "the transfer ended before the object did")
        .with_retry(Retry::After(Duration::ZERO))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Mutex;

    use futures_util::stream;
    use nexus_core::async_trait;

    use super::*;

    /// An object in memory whose transfers break after so many bytes, as long as there are any.
    pub(crate) struct Breaking {
        pub(crate) content: Bytes,
        pub(crate) breaks: Mutex<Vec<u64>>,
        pub(crate) kind: ErrorKind,
    }

    impl Breaking {
        pub(crate) fn new(content: Bytes, breaks: &[u64]) -> Arc<Self> {
            let breaks = Mutex::new(breaks.iter().rev().copied().collect());
            Arc::new(Self { content, breaks, kind: ErrorKind::Unavailable })
        }
    }

    #[async_trait]
    impl Ranges for Breaking {
        async fn open(&self, range: Range<u64>) -> Result<Pieces> {
            let part = self.content.slice(range.start as usize..range.end as usize);
            let broken = self.breaks.lock().unwrap().pop();
            let sent = broken.map_or(part.len(), |bytes| part.len().min(bytes as usize));
            let chunks: Vec<_> =
                part.slice(..sent).chunks(1000).map(Bytes::copy_from_slice).map(Ok).collect();
            let retry = Retry::After(Duration::ZERO);
            let end = broken.map(|_| Err(Error::new(self.kind, "reset").with_retry(retry)));
            Ok(stream::iter(chunks.into_iter().chain(end)).boxed())
        }
    }

    pub(crate) fn content(size: usize) -> Bytes {
        (0..size).map(|at| (at % 251) as u8).collect()
    }

    async fn collect(mut resuming: Resuming) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(piece) = resuming.next().await? {
            all.extend_from_slice(&piece);
        }
        Ok(all)
    }

    #[tokio::test(start_paused = true)]
    async fn goes_on_where_it_stopped() {
        let whole = content(10_000);
        let source = Breaking::new(whole.clone(), &[0, 1, 2500, 0]);
        let all = collect(Resuming::new(source, 7..9_999)).await.unwrap();
        assert!(all == whole[7..9_999]);
    }

    #[tokio::test(start_paused = true)]
    async fn gives_up_when_it_does_not_move_on() {
        let source = Breaking::new(content(10_000), &[10; 20]);
        let error = collect(Resuming::new(source, 0..10_000)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_forgotten_after_progress() {
        let whole = content(9 << 20);
        let source = Breaking::new(whole.clone(), &[1 << 20; 8]);
        let all = collect(Resuming::new(source, 0..9 << 20)).await.unwrap();
        assert!(all == whole);
    }

    #[tokio::test(start_paused = true)]
    async fn an_early_end_is_never_silent() {
        struct Short;
        #[async_trait]
        impl Ranges for Short {
            async fn open(&self, _: Range<u64>) -> Result<Pieces> {
                Ok(stream::iter([Ok(Bytes::from_static(b"x"))]).boxed())
            }
        }
        let error = collect(Resuming::new(Arc::new(Short), 0..100)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }

    #[tokio::test]
    async fn more_bytes_than_asked_for_are_refused() {
        struct Long;
        #[async_trait]
        impl Ranges for Long {
            async fn open(&self, _: Range<u64>) -> Result<Pieces> {
                Ok(stream::iter([Ok(Bytes::from_static(b"xyz"))]).boxed())
            }
        }
        let error = collect(Resuming::new(Arc::new(Long), 0..2)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }
}
