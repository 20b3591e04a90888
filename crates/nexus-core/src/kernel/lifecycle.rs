//! The life of a mount: five states, passed in order, each once.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};

use serde::Serialize;

use crate::{Error, ErrorKind, Result, VfsPath};

/// Where a mount is in its life. It only ever moves to the next state, or from any to `Closed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MountState {
    /// Built from its URI; no I/O was done.
    Created,
    /// Credentials were found, or none are needed.
    CredentialsChecked,
    /// In the mount table; its mount point is taken.
    Registered,
    /// Operations are routed to it.
    Active,
    /// New operations answer `Closed`.
    Closed,
}

impl MountState {
    const ORDER: [Self; 5] =
        [Self::Created, Self::CredentialsChecked, Self::Registered, Self::Active, Self::Closed];

    /// The state in lower-case words joined by hyphens, as JSON output has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::CredentialsChecked => "credentials-checked",
            Self::Registered => "registered",
            Self::Active => "active",
            Self::Closed => "closed",
        }
    }
}

impl fmt::Display for MountState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The state of one mount, shared between all who look at it.
#[derive(Debug)]
pub(super) struct Lifecycle(AtomicU8);

impl Lifecycle {
    pub(super) fn new() -> Self {
        Self(AtomicU8::new(MountState::Created as u8))
    }

    pub(super) fn state(&self) -> MountState {
        MountState::ORDER[usize::from(self.0.load(Ordering::Acquire))]
    }

    /// Moves to `next`, which must be the successor of the present state.
    pub(super) fn advance(&self, next: MountState, at: &VfsPath) -> Result<()> {
        let from = (next as u8).wrapping_sub(1);
        match self.0.compare_exchange(from, next as u8, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                tracing::debug!(mount = %at, state = %next, "mount advanced");
                Ok(())
            }
            Err(found) if found == MountState::Closed as u8 => {
                Err(Error::new(ErrorKind::Closed, "the mount was closed"))
            }
            Err(_) => Err(Error::new(
                ErrorKind::Internal,
                format!("a mount can not go from {} to {next}", self.state()),
            )),
        }
    }

    /// Moves to `Closed` from any state; answers whether this call did it.
    pub(super) fn close(&self, at: &VfsPath) -> bool {
        let closed = MountState::Closed as u8;
        let first = self.0.swap(closed, Ordering::AcqRel) != closed;
        if first {
            tracing::debug!(mount = %at, state = %MountState::Closed, "mount advanced");
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_go_in_order_and_once() {
        let (life, at) = (Lifecycle::new(), VfsPath::root());
        assert_eq!(life.state(), MountState::Created);
        assert_eq!(life.advance(MountState::Active, &at).unwrap_err().kind(), ErrorKind::Internal);
        for next in &MountState::ORDER[1..4] {
            life.advance(*next, &at).unwrap();
            assert_eq!(life.state(), *next);
            assert_eq!(life.advance(*next, &at).unwrap_err().kind(), ErrorKind::Internal);
        }
    }

    #[test]
    fn closed_is_final() {
        let (life, at) = (Lifecycle::new(), VfsPath::root());
        assert!(life.close(&at));
        assert!(!life.close(&at));
        let error = life.advance(MountState::CredentialsChecked, &at).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
    }
}
