//! When a BMC that failed is asked again: later each time, never all at once. Pure: time and dice come in.

use crate::error::Retry;
use types::UnixMillis;

/// After the first failure.
pub const FIRST_MILLIS: u64 = 10_000;

/// Between two tries of a BMC that does not answer at all: 1,250 silent ones cost four tries a second then.
pub const LONGEST_MILLIS: u64 = 300_000;

/// After what a person must set right. A DGX locks an account after 5 wrong passwords for 30 s and resets the count after 30 s:
/// one try in half an hour locks nothing, and finds what was set right without being told.
pub const HOPELESS_MILLIS: u64 = 1_800_000;

/// What is remembered of one BMC between sweeps. It may be lost: then everybody is asked once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backoff {
    pub failures: u32,
    /// Not to be asked before.
    pub not_before: UnixMillis,
}

impl Backoff {
    pub fn is_due(&self, now: UnixMillis) -> bool {
        now >= self.not_before
    }

    pub fn succeeded() -> Backoff {
        Backoff::default()
    }

    /// `dice` is any number; half of the wait depends on it, so that those that failed together do not come back together.
    pub fn failed(self, now: UnixMillis, retry: Retry, dice: u64) -> Backoff {
        let failures = self.failures.saturating_add(1);
        let longest = match retry {
            Retry::Later => (FIRST_MILLIS << (failures - 1).min(16)).min(LONGEST_MILLIS),
            Retry::No => HOPELESS_MILLIS,
        };
        let wait = longest / 2 + dice % (longest / 2 + 1);
        Backoff { failures, not_before: UnixMillis(now.0.saturating_add_unsigned(wait)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit() {
        let wait = |failures: u32, retry: Retry, dice: u64| {
            let backoff = Backoff { failures, not_before: UnixMillis(0) };
            backoff.failed(UnixMillis(1_000), retry, dice).not_before.0 - 1_000
        };
        for (failures, shortest, longest) in [
            (0, 5_000, 10_000),
            (1, 10_000, 20_000),
            (4, 80_000, 160_000),
            (5, 150_000, 300_000),
            (u32::MAX, 150_000, 300_000),
        ] {
            assert_eq!(wait(failures, Retry::Later, 0), shortest);
            assert_eq!(wait(failures, Retry::Later, shortest as u64), longest);
            assert!((shortest..=longest).contains(&wait(failures, Retry::Later, u64::MAX)));
        }
        assert_eq!(wait(0, Retry::No, 0), 900_000);
        assert_eq!(wait(7, Retry::No, 900_000), 1_800_000);
    }

    #[test]
    fn a_success_forgets() {
        assert!(Backoff::succeeded().is_due(UnixMillis(0)));
        let failed = Backoff::default().failed(UnixMillis(0), Retry::Later, 0);
        assert!(!failed.is_due(UnixMillis(4_999)));
        assert!(failed.is_due(UnixMillis(5_000)));
    }
}
