//! One hop to the threads that may block, and what becomes of the work when its caller goes away.

use std::sync::{Arc, Mutex, PoisonError};

use nexus_core::{Error, ErrorKind, Result};

/// Runs `work` that changes nothing where it may block. It goes on to its end, unheard, when the
/// future is dropped.
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

/// Runs `work` that changes something, each change through the gate. Once the future is dropped
/// nothing is changed any more: a write that was given up never lands on top of a later one.
pub(crate) async fn change<T: Send + 'static>(
    work: impl FnOnce(&Gate) -> Result<T> + Send + 'static,
) -> Result<T> {
    let gate = Gate(Arc::default());
    let _closes_when_dropped = Closes(gate.clone());
    run(move || work(&gate)).await
}

/// What every change passes on its way to the disk.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Mutex<bool>>);

impl Gate {
    /// Makes a change, if the caller still waits for it. Dropping the caller's future waits for a
    /// change that has begun, so it must be short.
    pub(crate) fn pass<T, E: From<GivenUp>>(
        &self,
        change: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let closed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *closed { Err(GivenUp.into()) } else { change() }
    }

    /// Whether the caller is gone; long work looks now and then.
    pub(crate) fn is_closed(&self) -> bool {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The caller is gone. Nobody is left to see this error.
pub(crate) struct GivenUp;

impl From<GivenUp> for Error {
    fn from(_: GivenUp) -> Self {
        Self::new(ErrorKind::Closed, "the operation was given up")
    }
}

impl From<GivenUp> for rustix::io::Errno {
    fn from(_: GivenUp) -> Self {
        Self::CANCELED
    }
}

struct Closes(Gate);

impl Drop for Closes {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn nothing_is_changed_once_the_future_is_dropped() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (begun, is_begun) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let (ended, is_ended) = mpsc::channel();
        let changed = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&changed);
        runtime.block_on(async {
            let mut work = Box::pin(change(move |gate| {
                begun.send(()).unwrap();
                may_go_on.recv().unwrap();
                let done = gate.pass(|| {
                    changed.store(true, Ordering::SeqCst);
                    Ok::<_, Error>(())
                });
                ended.send(done.is_err()).unwrap();
                done
            }));
            assert!(futures_util::poll!(&mut work).is_pending());
            is_begun.recv().unwrap();
            drop(work);
            go_on.send(()).unwrap();
            assert!(is_ended.recv().unwrap());
        });
        assert!(!seen.load(Ordering::SeqCst));
    }
}
