//! Rate limits: a token bucket per limit, in integers.
//!
//! A limit of N per minute is a bucket of N that refills evenly, N in 60 seconds. A caller may therefore burst N at
//! once and take at most 2 N in any 60 seconds. For a tokens limit the caller takes the bound of the request before
//! dispatch and gives back what was not used. One that used more than the bucket holds leaves a debt
//! ([`TokenBucket::debit`]): nothing passes until it is refilled, so that large requests too average at N a minute.
//!
//! What it is not: no clock (`now` is monotonic milliseconds) and not shared between gateways: each enforces its own.
//! Speed is approximate by nature; money is not, see `budget`.
//!
//! If we crash here: buckets start full, so a restart gives each caller at most one extra burst.

/// A minute in milliseconds: the level is kept in 1/60,000ths, so that one millisecond adds exactly `per_minute` parts
/// and no fraction is ever lost. 2^64 tokens x 60,000 parts is below 2^80: i128 holds it, and 2^47 such debts.
const MINUTE_MILLIS: i128 = 60_000;

/// What to tell a caller about a limit: `x-ratelimit-limit-*`, `-remaining-*`, `-reset-*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remaining {
    pub limit: u64,
    /// Whole units that could be taken now.
    pub remaining: u64,
    /// Until the bucket is full again.
    pub reset_millis: u64,
}

/// Not now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", if *never { "the request is larger than the limit per minute" } else { "the limit per minute is used up" })]
pub struct Wait {
    /// After this long the same take succeeds if nobody else takes; at least 1. If `never`, until the bucket is full.
    pub millis: u64,
    /// More was asked for than the bucket can ever hold: only a smaller request or a higher limit helps.
    pub never: bool,
    /// How the bucket stands, for the headers of the refusal.
    pub remaining: Remaining,
}

impl Wait {
    /// `Retry-After` knows whole seconds; rounded up, so that who obeys is not refused again.
    pub fn seconds(&self) -> u64 {
        self.millis.div_ceil(1_000)
    }
}

/// One limit of one key or project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenBucket {
    per_minute: u64,
    /// In parts (see [`MINUTE_MILLIS`]); never above `per_minute` x 60,000, below zero while there is a debt.
    level: i128,
    /// The latest time seen. Time that goes back adds nothing and takes nothing away.
    at_millis: u64,
}

impl TokenBucket {
    /// Starts full. A limit of zero lets nothing pass.
    pub fn new(per_minute: u64, now_millis: u64) -> TokenBucket {
        TokenBucket { per_minute, level: i128::from(per_minute) * MINUTE_MILLIS, at_millis: now_millis }
    }

    pub fn limit(&self) -> u64 {
        self.per_minute
    }

    /// Takes all of `amount` or nothing.
    pub fn try_take(&mut self, amount: u64, now_millis: u64) -> Result<Remaining, Wait> {
        self.refill(now_millis);
        let wanted = i128::from(amount) * MINUTE_MILLIS;
        // What costs nothing passes, in debt or not.
        if wanted == 0 || wanted <= self.level {
            self.level -= wanted;
            return Ok(self.view());
        }
        let remaining = self.view();
        let never = amount > self.per_minute;
        let millis = if never { remaining.reset_millis.max(1) } else { self.millis_until(wanted) };
        Err(Wait { millis, never, remaining })
    }

    /// Returns what was taken and not used; never fills above the limit.
    pub fn give_back(&mut self, amount: u64, now_millis: u64) {
        self.refill(now_millis);
        self.level = (self.level + i128::from(amount) * MINUTE_MILLIS).min(self.capacity());
    }

    /// Takes what was used already, whether it is there or not: what is missing is a debt.
    pub fn debit(&mut self, amount: u64, now_millis: u64) {
        self.refill(now_millis);
        self.level = self.level.saturating_sub(i128::from(amount) * MINUTE_MILLIS);
    }

    /// How the bucket stands, without taking.
    pub fn remaining(&mut self, now_millis: u64) -> Remaining {
        self.refill(now_millis);
        self.view()
    }

    /// A changed limit keeps what was taken: raising it gives the difference at once, lowering it takes the difference, but
    /// makes no debt of it.
    pub fn set_limit(&mut self, per_minute: u64, now_millis: u64) {
        if per_minute == self.per_minute {
            return;
        }
        self.refill(now_millis);
        let (level, taken) = (self.level, self.capacity() - self.level);
        self.per_minute = per_minute;
        self.level = (self.capacity() - taken).max(level.min(0)).min(self.capacity());
    }

    fn capacity(&self) -> i128 {
        i128::from(self.per_minute) * MINUTE_MILLIS
    }

    fn refill(&mut self, now_millis: u64) {
        let elapsed = now_millis.saturating_sub(self.at_millis);
        // 2^64 milliseconds x 2^64 per minute is beyond i128: such a time fills any bucket.
        let gained = i128::from(elapsed).saturating_mul(i128::from(self.per_minute));
        self.level = self.level.saturating_add(gained).min(self.capacity());
        self.at_millis = self.at_millis.max(now_millis);
    }

    /// Milliseconds until the level reaches `target`: at most a minute if there is no debt. A limit of zero never refills;
    /// then it is as if it did one a minute.
    fn millis_until(&self, target: i128) -> u64 {
        let missing = target.saturating_sub(self.level).max(0).unsigned_abs();
        u64::try_from(missing.div_ceil(u128::from(self.per_minute).max(1))).unwrap_or(u64::MAX)
    }

    fn view(&self) -> Remaining {
        Remaining {
            limit: self.per_minute,
            remaining: u64::try_from(self.level.max(0) / MINUTE_MILLIS).unwrap_or(u64::MAX),
            reset_millis: self.millis_until(self.capacity()),
        }
    }
}

/// A duration as OpenAI writes it in `x-ratelimit-reset-*`: `120ms`, `1s`, `1.5s`, `6m0s`.
pub fn reset_text(millis: u64) -> String {
    let (minutes, rest) = (millis / 60_000, millis % 60_000);
    let (seconds, fraction) = (rest / 1_000, rest % 1_000);
    let decimals = if fraction == 0 { String::new() } else { format!(".{fraction:03}").trim_end_matches('0').into() };
    match (minutes, seconds) {
        (0, 0) => format!("{fraction}ms"),
        (0, _) => format!("{seconds}{decimals}s"),
        _ => format!("{minutes}m{seconds}{decimals}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_exact_limit() {
        let mut bucket = TokenBucket::new(3, 1_000);
        for left in [2, 1, 0] {
            assert_eq!(bucket.try_take(1, 1_000).map(|r| r.remaining), Ok(left));
        }
        // 3 a minute: one comes back after exactly 20 seconds, not a millisecond earlier.
        let wait = bucket.try_take(1, 1_000).unwrap_err();
        assert_eq!((wait.millis, wait.seconds(), wait.never, wait.remaining.reset_millis), (20_000, 20, false, 60_000));
        assert_eq!(bucket.try_take(1, 20_999).unwrap_err().millis, 1);
        assert_eq!(bucket.try_take(1, 21_000), Ok(Remaining { limit: 3, remaining: 0, reset_millis: 60_000 }));
        assert!(bucket.try_take(1, 21_000).is_err());
    }

    #[test]
    fn uneven_limits_lose_no_fraction() {
        // 7 a minute is one per 8571.43 ms; polled every millisecond the minute still yields exactly 7.
        let mut bucket = TokenBucket::new(7, 0);
        assert!(bucket.try_take(7, 0).is_ok());
        let taken = (1..=60_000).filter(|&now| bucket.try_take(1, now).is_ok()).count();
        assert_eq!(taken, 7);
    }

    #[test]
    fn bound_taken_and_unused_given_back() {
        let mut bucket = TokenBucket::new(1_000, 0);
        assert_eq!(bucket.try_take(1_000, 0).map(|r| r.remaining), Ok(0));
        bucket.give_back(900, 0);
        assert_eq!(bucket.remaining(0).remaining, 900);
        bucket.give_back(u64::MAX, 0);
        assert_eq!(bucket.remaining(0), Remaining { limit: 1_000, remaining: 1_000, reset_millis: 0 });
    }

    #[test]
    fn larger_than_the_limit_never_fits() {
        let mut bucket = TokenBucket::new(10, 0);
        let wait = bucket.try_take(11, 0).unwrap_err();
        assert!(wait.never && wait.to_string().contains("larger than the limit"));
        assert_eq!(bucket.remaining(0).remaining, 10, "a refused take takes nothing");
        let mut closed = TokenBucket::new(0, 0);
        assert!(closed.try_take(1, u64::MAX).unwrap_err().never);
        assert!(closed.try_take(0, 0).is_ok());
    }

    #[test]
    fn time_that_goes_back_gives_nothing() {
        let mut bucket = TokenBucket::new(60, 10_000);
        assert!(bucket.try_take(60, 10_000).is_ok());
        assert!(bucket.try_take(1, 0).is_err());
        assert!(bucket.try_take(1, 10_999).is_err(), "the second counts from the latest time seen");
        assert!(bucket.try_take(1, 11_000).is_ok());
    }

    #[test]
    fn a_changed_limit_keeps_what_was_taken() {
        let mut bucket = TokenBucket::new(10, 0);
        assert!(bucket.try_take(8, 0).is_ok());
        bucket.set_limit(20, 0);
        assert_eq!(bucket.remaining(0).remaining, 12);
        bucket.set_limit(5, 0);
        assert_eq!(bucket.remaining(0).remaining, 0);
        assert_eq!(bucket.limit(), 5);
    }

    #[test]
    fn a_debt_is_paid_before_anything_passes() {
        let mut bucket = TokenBucket::new(60, 0);
        assert!(bucket.try_take(60, 0).is_ok());
        // Two minutes' worth beyond the bucket.
        bucket.debit(120, 0);
        assert!(bucket.try_take(0, 0).is_ok(), "what costs nothing passes");
        let wait = bucket.try_take(1, 0).unwrap_err();
        assert_eq!((wait.millis, wait.never), (121_000, false));
        assert_eq!(wait.remaining, Remaining { limit: 60, remaining: 0, reset_millis: 180_000 });
        assert!(bucket.try_take(1, 120_999).is_err());
        assert!(bucket.try_take(1, 121_000).is_ok());
        bucket.debit(10, 121_000);
        bucket.give_back(30, 121_000);
        assert_eq!(bucket.remaining(121_000).remaining, 20);
        // A debt outlives a changed limit; a lowered limit makes none.
        bucket.debit(50, 121_000);
        bucket.set_limit(10, 121_000);
        assert_eq!(bucket.try_take(1, 121_000).unwrap_err().millis, 31 * 6_000);
    }

    #[test]
    fn resets_read_like_openais() {
        let check = |millis, expect| assert_eq!(reset_text(millis), expect);
        check(0, "0ms");
        check(120, "120ms");
        check(1_000, "1s");
        check(1_500, "1.5s");
        check(8_571, "8.571s");
        check(360_000, "6m0s");
        check(61_050, "1m1.05s");
    }

    proptest! {
        /// Whatever is debited, over any time no more is used than a burst, the refill and the last request's excess.
        #[test]
        fn large_requests_average_at_the_limit(
            limit in 1..100u64,
            steps in prop::collection::vec((0..200_000u64, 0..1_000u64), 1..60),
        ) {
            let mut bucket = TokenBucket::new(limit, 0);
            let (mut now, mut used, mut last) = (0, 0, 0);
            for (pause, wanted) in steps {
                now += pause;
                let taken = wanted.clamp(1, limit);
                if bucket.try_take(taken, now).is_ok() {
                    bucket.debit(wanted.saturating_sub(taken), now);
                    (used, last) = (used + wanted, wanted);
                }
                prop_assert!(used <= limit + limit * now / 60_000 + last);
            }
        }

        /// In any window of a minute no more than a burst and a refill pass; a wait that is obeyed is enough.
        #[test]
        fn never_more_than_burst_and_refill(
            limit in 0..2_000u64,
            steps in prop::collection::vec((0..5_000u64, 0..300u64, any::<bool>()), 1..60),
        ) {
            let mut bucket = TokenBucket::new(limit, 0);
            let (mut now, mut taken) = (0, 0u64);
            for (pause, amount, obey) in steps {
                now += pause;
                match bucket.try_take(amount, now) {
                    Ok(_) => taken += amount,
                    Err(wait) if obey && !wait.never => {
                        prop_assert!(bucket.clone().try_take(amount, now + wait.millis - 1).is_err());
                        now += wait.millis;
                        prop_assert!(bucket.try_take(amount, now).is_ok());
                        taken += amount;
                    }
                    Err(wait) => prop_assert!(wait.millis > 0),
                }
                let allowed = i128::from(limit) + i128::from(limit) * i128::from(now) / MINUTE_MILLIS;
                prop_assert!(i128::from(taken) <= allowed, "{taken} of {allowed} at {now}");
            }
        }

        #[test]
        fn no_value_overflows(limit: u64, amount: u64, now: u64, back: u64, new_limit: u64) {
            let mut bucket = TokenBucket::new(limit, 0);
            let _ = bucket.try_take(amount, now);
            bucket.give_back(back, now);
            bucket.debit(amount, now);
            bucket.debit(back, now);
            bucket.set_limit(new_limit, now);
            prop_assert!(bucket.remaining(u64::MAX).remaining <= new_limit);
        }
    }
}
