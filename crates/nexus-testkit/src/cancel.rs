//! Cancellation: a future that is dropped after a given number of polls, so that a test can drop it
//! at each of its awaits.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

/// Polls `future` until it is ready, but at most `polls` times; then drops it and answers `None`.
///
/// Between two polls it waits for the future's own wake-up, so that every poll makes progress.
pub async fn after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            // The last poll is spent: nothing is left to wait for.
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn three_awaits() -> u8 {
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        7
    }

    #[tokio::test]
    async fn drops_after_so_many_polls() {
        for polls in 0..4 {
            assert_eq!(after(polls, three_awaits()).await, None, "{polls}");
        }
        assert_eq!(after(4, three_awaits()).await, Some(7));
        assert_eq!(after(0, async { 7 }).await, None);
    }
}
