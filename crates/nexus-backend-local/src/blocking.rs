//! One hop to the threads that may block.

use nexus_core::{Error, ErrorKind, Result};

/// Runs `work` where it may block. It goes on to its end when the future is dropped: what must stop
/// earlier watches a flag of its own.
pub(crate) async fn run<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(if error.is_panic() {
            Error::new(ErrorKind::Internal, "a task of the local backend failed").with_source(error)
        } else {
            Error::new(ErrorKind::Closed, "the runtime is shutting down")
        })
    })
}
