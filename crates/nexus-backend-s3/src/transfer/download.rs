//! A large range as many smaller ones, several at once and given in order. How many are in flight
//! follows from who waits: while the reader waits for bytes there are more of them, up to a limit;
//! the memory for those ahead of the reader comes from the kernel's budget.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use nexus_core::{Bytes, Error, ErrorKind, MemoryBudget, Reservation, Result};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::Ranges;
use super::resume::Resuming;

/// How a range is cut.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Bytes of one request.
    pub(crate) part: u64,
    /// The most requests at once, the one that is read from included.
    pub(crate) most: usize,
    /// The memory of those ahead.
    pub(crate) budget: MemoryBudget,
}

/// A range that is being read.
pub(crate) struct Download {
    source: Arc<dyn Ranges>,
    plan: Plan,
    current: Part,
    ahead: VecDeque<Ahead>,
    /// What no request was sent for.
    rest: Range<u64>,
    window: usize,
    failed: bool,
}

/// Where bytes come from now.
enum Part {
    /// Straight from the store, at the pace of the reader. Needs no memory.
    Direct(Resuming),
    /// From memory, which a task fills.
    Ahead(Ahead),
}

/// A part that is fetched ahead of the reader.
struct Ahead {
    pieces: mpsc::UnboundedReceiver<Result<Bytes>>,
    left: u64,
    task: JoinHandle<()>,
    /// Room for all of the part, so that the channel needs no bound of its own.
    _memory: Reservation,
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Download {
    /// A download whose first part has begun to arrive; `rest` follows it.
    pub(crate) fn new(
        source: Arc<dyn Ranges>,
        plan: Plan,
        first: Resuming,
        rest: Range<u64>,
    ) -> Self {
        let window = 2.min(plan.most);
        let ahead = VecDeque::new();
        Self { source, plan, current: Part::Direct(first), ahead, rest, window, failed: false }
    }

    /// The next piece, never empty; `None` at the end. After an error there is nothing more.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>> {
        if self.failed {
            return Ok(None);
        }
        let piece = self.piece().await;
        self.failed = piece.is_err();
        piece
    }

    async fn piece(&mut self) -> Result<Option<Bytes>> {
        loop {
            self.fetch_ahead();
            let piece = match &mut self.current {
                Part::Direct(resuming) => resuming.next().await?,
                Part::Ahead(ahead) => ahead.next(&mut self.window, self.plan.most).await?,
            };
            if piece.is_some() {
                return Ok(piece);
            }
            self.current = match self.ahead.pop_front() {
                Some(ahead) => Part::Ahead(ahead),
                None if self.rest.is_empty() => return Ok(None),
                // No memory for more than one part: from the store, as it is read.
                None => Part::Direct(Resuming::new(Arc::clone(&self.source), self.cut())),
            };
        }
    }

    /// The next part that no request was sent for.
    fn cut(&mut self) -> Range<u64> {
        let end = self.rest.end.min(self.rest.start.saturating_add(self.plan.part));
        let part = self.rest.start..end;
        self.rest.start = end;
        part
    }

    fn fetch_ahead(&mut self) {
        while !self.rest.is_empty() && self.ahead.len() + 1 < self.window {
            let bytes = self.plan.part.min(self.rest.end - self.rest.start);
            let Ok(bytes) = usize::try_from(bytes) else { return };
            let Some(memory) = self.plan.budget.try_reserve(bytes) else { return };
            let part = self.cut();
            self.ahead.push_back(Ahead::begin(Arc::clone(&self.source), part, memory));
        }
    }
}

impl Ahead {
    fn begin(source: Arc<dyn Ranges>, part: Range<u64>, memory: Reservation) -> Self {
        let left = part.end - part.start;
        let (sender, pieces) = mpsc::unbounded_channel();
        let mut resuming = Resuming::new(source, part);
        let task = tokio::spawn(async move {
            loop {
                let piece = resuming.next().await.transpose();
                let Some(piece) = piece else { return };
                let failed = piece.is_err();
                if sender.send(piece).is_err() || failed {
                    return;
                }
            }
        });
        Self { pieces, left, task, _memory: memory }
    }

    /// The next piece; a reader that has to wait for one widens the window.
    async fn next(&mut self, window: &mut usize, most: usize) -> Result<Option<Bytes>> {
        if self.left == 0 {
            return Ok(None);
        }
        let piece = match self.pieces.try_recv() {
            Ok(piece) => piece,
            Err(_) => {
                *window = (*window + 1).min(most);
                self.pieces.recv().await.unwrap_or_else(|| Err(shut_down()))
            }
        }?;
        self.left -= piece.len() as u64;
        Ok(Some(piece))
    }
}

fn shut_down() -> Error {
    Error::new(ErrorKind::Closed, "the runtime is shutting down")
}

#[cfg(test)]
mod tests {
    use super::super::resume::tests::{Breaking, content};
    use super::*;

    const PART: u64 = 10_000;

    fn download(source: Arc<Breaking>, size: u64, budget: u64) -> Download {
        let plan = Plan { part: PART, most: 4, budget: MemoryBudget::new(budget) };
        let first = Resuming::new(source.clone(), 0..PART.min(size));
        Download::new(source, plan, first, PART.min(size)..size)
    }

    async fn collect(mut download: Download) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(piece) = download.next().await? {
            all.extend_from_slice(&piece);
        }
        Ok(all)
    }

    #[tokio::test(start_paused = true)]
    async fn parts_come_in_order_whatever_breaks() {
        for (size, budget) in
            [(5, 0), (10_000, 0), (95_001, 0), (95_001, 25_000), (95_001, 1 << 20)]
        {
            let whole = content(size);
            let source = Breaking::new(whole.clone(), &[100, 9_999, 0, 3_000]);
            let all = collect(download(source, size as u64, budget)).await.unwrap();
            assert!(all == whole, "{size} bytes with a budget of {budget}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_the_last_thing_that_comes() {
        let source = Breaking::new(content(50_000), &[10; 100]);
        let mut download = download(source, 50_000, 1 << 20);
        let error = loop {
            match download.next().await {
                Ok(piece) => assert!(piece.is_some(), "an early end"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(download.next().await.unwrap().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_given_back() {
        let budget = MemoryBudget::new(64 << 10);
        let whole = content(95_001);
        let source = Breaking::new(whole.clone(), &[]);
        let plan = Plan { part: PART, most: 4, budget: budget.clone() };
        let first = Resuming::new(source.clone(), 0..PART);
        let mut download = Download::new(source, plan, first, PART..95_001);
        download.next().await.unwrap();
        assert!(budget.available() < 64 << 10, "nothing is fetched ahead");
        drop(download);
        tokio::task::yield_now().await;
        assert_eq!(budget.available(), 64 << 10);
    }
}
