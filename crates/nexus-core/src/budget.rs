//! The memory that transfers of one kernel may use together for read-ahead and write-behind.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A shared allowance of bytes in flight.
///
/// Every transfer may hold one piece without asking, so that none can starve; a further piece is
/// taken only when [`MemoryBudget::try_reserve`] grants it. Nothing ever waits for the budget, so
/// it can not deadlock.
#[derive(Clone, Debug)]
pub struct MemoryBudget {
    kibibytes: Arc<Semaphore>,
}

impl MemoryBudget {
    /// The default: 256 MiB.
    pub const DEFAULT_BYTES: u64 = 256 << 20;

    /// A budget of `bytes`, counted in whole KiB.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let kibibytes = usize::try_from(bytes / 1024).unwrap_or(usize::MAX);
        Self { kibibytes: Arc::new(Semaphore::new(kibibytes.min(Semaphore::MAX_PERMITS))) }
    }

    /// Takes `bytes` (rounded up to KiB) until the reservation is dropped, or answers `None` at
    /// once when they are not free.
    #[must_use]
    pub fn try_reserve(&self, bytes: usize) -> Option<Reservation> {
        let kibibytes = u32::try_from(bytes.div_ceil(1024)).ok()?;
        let permit = Arc::clone(&self.kibibytes).try_acquire_many_owned(kibibytes).ok()?;
        Some(Reservation { _permit: permit })
    }

    /// Bytes that are free now.
    #[must_use]
    pub fn available(&self) -> u64 {
        self.kibibytes.available_permits() as u64 * 1024
    }
}

impl Default for MemoryBudget {
    fn default() -> Self {
        Self::new(Self::DEFAULT_BYTES)
    }
}

/// Bytes of a [`MemoryBudget`], given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    _permit: OwnedSemaphorePermit,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_what_is_free_and_takes_it_back() {
        let budget = MemoryBudget::new(4096);
        let held = budget.try_reserve(3000).unwrap();
        assert_eq!(budget.available(), 1024);
        assert!(budget.try_reserve(2000).is_none());
        drop(held);
        assert!(budget.try_reserve(4096).is_some());
    }
}
