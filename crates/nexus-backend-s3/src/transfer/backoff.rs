//! How long to wait before the same request is sent again: exponential, with full jitter, so that
//! many clients of one store do not come back together.

use std::time::Duration;

use nexus_core::{Error, Retry};

/// The wait after the first failure is at most this.
const FIRST: Duration = Duration::from_millis(100);

/// No wait is longer, unless the store asks for it.
const LONGEST: Duration = Duration::from_secs(10);

/// What a store may ask for at most.
const MOST_ASKED: Duration = Duration::from_secs(60);

/// The wait before the attempt after `failures` failures, the last of which is `error`; `None` when
/// the same request would fail the same way.
pub(crate) fn wait(error: &Error, failures: u32) -> Option<Duration> {
    let Retry::After(asked) = error.retry() else { return None };
    let ceiling = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(LONGEST);
    Some(ceiling.mul_f64(fastrand::f64()).max(asked.min(MOST_ASKED)))
}

#[cfg(test)]
mod tests {
    use nexus_core::ErrorKind;

    use super::*;

    fn error(retry: Retry) -> Error {
        Error::new(ErrorKind::Unavailable, "reset").with_retry(retry)
    }

    #[test]
    fn waits_grow_and_stay_below_the_longest() {
        let soon = error(Retry::After(Duration::ZERO));
        for (failures, most) in [(1, 100), (2, 200), (5, 1600), (30, 10_000), (u32::MAX, 10_000)] {
            for _ in 0..100 {
                assert!(wait(&soon, failures).unwrap() <= Duration::from_millis(most));
            }
        }
    }

    #[test]
    fn what_the_store_asks_for_is_kept_within_bounds() {
        let asked = |seconds| wait(&error(Retry::After(Duration::from_secs(seconds))), 1).unwrap();
        assert_eq!(asked(7), Duration::from_secs(7));
        assert_eq!(asked(1 << 40), MOST_ASKED);
    }

    #[test]
    fn nothing_is_sent_again_in_vain() {
        assert_eq!(wait(&error(Retry::No), 1), None);
    }
}
