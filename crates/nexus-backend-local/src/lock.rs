//! Exclusion between writers of one directory, other processes included.
//!
//! Whoever changes what a name in a directory stands for holds a shared lock on the directory;
//! whoever compares a version first holds it alone. The lock is advisory (`flock`): programs that do
//! not use nexus-fs are not held up, and not excluded.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nexus_core::{Error, ErrorKind, Result};
use rustix::fs::{FlockOperation, flock, fstat};
use rustix::io::Errno;

use crate::error::from_io;

/// How long a writer waits for the others.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a writer shares a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hold {
    Shared,
    Alone,
}

/// Whether directories can be locked on this file system.
pub(crate) fn works(dir: &OwnedFd) -> bool {
    let free_or_held = |result| matches!(result, Ok(()) | Err(Errno::WOULDBLOCK));
    let locked = free_or_held(flock(dir, FlockOperation::NonBlockingLockShared));
    locked && flock(dir, FlockOperation::Unlock).is_ok()
}

/// Locks a directory until its handle is closed. The handle must not be shared with another
/// operation.
///
/// # Errors
/// `Timeout` when others hold it for 10 seconds.
pub(crate) fn hold(dir: &OwnedFd, hold: Hold) -> Result<()> {
    let operation = match hold {
        Hold::Shared => FlockOperation::NonBlockingLockShared,
        Hold::Alone => FlockOperation::NonBlockingLockExclusive,
    };
    let begin = Instant::now();
    let mut pause = Duration::from_micros(20);
    loop {
        match flock(dir, operation) {
            Ok(()) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) if begin.elapsed() < PATIENCE => {
                // `flock` has no deadline of its own; a lock is held for microseconds.
                #[expect(clippy::disallowed_methods, reason = "between two tries of a lock")]
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(5));
            }
            Err(Errno::WOULDBLOCK) => {
                return Err(Error::new(
                    ErrorKind::Timeout,
                    "another process holds a lock on the directory for too long",
                ));
            }
            // A file system without locks: mounted without the capabilities that need them.
            Err(Errno::OPNOTSUPP | Errno::NOLCK | Errno::BADF | Errno::INVAL)
                if hold == Hold::Shared =>
            {
                return Ok(());
            }
            Err(error) => return Err(from_io(error)),
        }
    }
}

/// Locks two directories, which may be one, in an order that all agree on.
pub(crate) fn hold_both(first: (&OwnedFd, Hold), second: (&OwnedFd, Hold)) -> Result<()> {
    let identity = |dir| fstat(dir).map(|stat| (stat.st_dev, stat.st_ino)).map_err(from_io);
    let (a, b) = (identity(first.0)?, identity(second.0)?);
    if a == b {
        return hold(first.0, first.1.max(second.1));
    }
    let (one, two) = if a < b { (first, second) } else { (second, first) };
    hold(one.0, one.1)?;
    hold(two.0, two.1)
}
