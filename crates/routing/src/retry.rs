//! Retries: how many attempts one request has, and how many retries a gateway may add to its traffic in all.
//!
//! Why a budget besides the limit of attempts: when everything fails, three attempts a request treble the load on
//! engines that are already failing. With the budget, retries add at most a fifth, plus a floor that lets a quiet
//! gateway retry at all.
//!
//! What it is not: it does not decide what may be retried (nothing after the first token; the gateway knows).

/// Attempts before the first token, each on another replica. With a replica failing one request in 10, three attempts
/// fail one in 1,000; a fourth would mostly lengthen the wait of requests that fail anyway.
pub const ATTEMPTS_MAX: usize = 3;

/// Retries per 100 requests: load on failing engines grows by at most a fifth.
pub const RETRY_PERCENT: u64 = 20;

/// Retries a second that are always allowed: below 50 requests a second 20 % would be fewer, and a single
/// user's one request could not be retried.
pub const RETRIES_PER_SECOND_MIN: u64 = 10;

/// Ten seconds of the floor may gather; a quiet night must not pay for a storm in the morning.
pub const RETRIES_GATHERED_MAX: u64 = 10 * RETRIES_PER_SECOND_MIN;

/// Credit is counted in thousandths of a retry: a request brings 200, a millisecond of floor 10, a retry costs 1,000.
const RETRY_COST: u64 = 1_000;
const REQUEST_CREDIT: u64 = RETRY_COST * RETRY_PERCENT / 100;
const MILLI_CREDIT: u64 = RETRY_COST * RETRIES_PER_SECOND_MIN / 1_000;
const CREDIT_MAX: u64 = RETRY_COST * RETRIES_GATHERED_MAX;

/// One gateway's budget of retries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryBudget {
    credit: u64,
    at_millis: u64,
}

impl RetryBudget {
    /// Starts with one second's floor.
    pub fn new(now_millis: u64) -> RetryBudget {
        RetryBudget { credit: RETRIES_PER_SECOND_MIN * RETRY_COST, at_millis: now_millis }
    }

    /// A request's first attempt brings credit.
    pub fn on_request(&mut self) {
        self.credit = self.credit.saturating_add(REQUEST_CREDIT).min(CREDIT_MAX);
    }

    /// Takes one retry, if there is one.
    #[must_use = "a retry may only be made if this is true"]
    pub fn try_retry(&mut self, now_millis: u64) -> bool {
        let elapsed = now_millis.saturating_sub(self.at_millis);
        self.at_millis = self.at_millis.max(now_millis);
        self.credit = self.credit.saturating_add(elapsed.saturating_mul(MILLI_CREDIT)).min(CREDIT_MAX);
        let left = self.credit.checked_sub(RETRY_COST);
        self.credit = left.unwrap_or(self.credit);
        left.is_some()
    }
}

/// What one request has tried so far. A place is whatever names a replica to the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempts<P> {
    /// Places that are not chosen again: sent to, or found shut.
    out: Vec<P>,
    sent: usize,
}

impl<P> Default for Attempts<P> {
    fn default() -> Attempts<P> {
        Attempts { out: Vec::new(), sent: 0 }
    }
}

impl<P: Copy> Attempts<P> {
    /// How many were sent so far.
    pub fn sent(&self) -> usize {
        self.sent
    }

    /// The first attempt was made at a place that was not chosen here, if it has one.
    pub fn sent_to(&mut self, place: Option<P>) {
        self.out.extend(place);
        self.sent += 1;
    }

    /// The replica of the next attempt, if there is one.
    ///
    /// `choose` names a place that is not among those it is given. `may_retry` takes one retry from the gateway's budget and
    /// is asked once, for a second or third attempt. `try_pass` asks the chosen replica's breaker, which another request
    /// may have shut meanwhile: such a replica is out, but nothing was sent, so it costs neither an attempt nor a retry.
    pub fn next<C>(
        &mut self,
        mut choose: impl FnMut(&[P]) -> Option<(P, C)>,
        may_retry: impl FnOnce() -> bool,
        mut try_pass: impl FnMut(P) -> bool,
    ) -> Option<(P, C)> {
        if self.sent >= ATTEMPTS_MAX {
            return None;
        }
        let (mut place, mut choice) = choose(&self.out)?;
        if self.sent > 0 && !may_retry() {
            return None;
        }
        loop {
            self.out.push(place);
            if try_pass(place) {
                self.sent += 1;
                return Some((place, choice));
            }
            (place, choice) = choose(&self.out)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn retries(budget: &mut RetryBudget, now: u64) -> u64 {
        (0..10_000).take_while(|_| budget.try_retry(now)).count() as u64
    }

    #[test]
    fn floor_and_ratio() {
        let mut budget = RetryBudget::new(0);
        assert_eq!(retries(&mut budget, 0), RETRIES_PER_SECOND_MIN);
        assert_eq!((retries(&mut budget, 99), retries(&mut budget, 100)), (0, 1), "one each 100 ms");
        (0..5).for_each(|_| budget.on_request());
        assert_eq!(retries(&mut budget, 100), 1, "one for five requests");
        (0..4).for_each(|_| budget.on_request());
        assert_eq!(retries(&mut budget, 100), 0);
        assert_eq!(retries(&mut budget, u64::MAX), RETRIES_GATHERED_MAX, "what gathers has an end");
        assert_eq!(retries(&mut budget, 0), 0, "time that goes back brings nothing");
    }

    /// The first of so many places that is not out.
    fn first_of(count: usize) -> impl FnMut(&[usize]) -> Option<(usize, ())> {
        move |out| (0..count).find(|place| !out.contains(place)).map(|place| (place, ()))
    }

    #[test]
    fn a_replica_found_shut_costs_neither_an_attempt_nor_a_retry() {
        let (mut attempts, mut retries) = (Attempts::default(), 0);
        // Places 0, 1 and 2 were shut after they were chosen.
        let mut sent = Vec::new();
        for _ in 0..8 {
            let mut retry = || {
                retries += 1;
                true
            };
            sent.extend(attempts.next(first_of(6), &mut retry, |place| place > 2).map(|(place, ())| place));
        }
        assert_eq!((sent, retries), (vec![3, 4, 5], ATTEMPTS_MAX - 1));
    }

    #[test]
    fn without_a_replica_left_no_retry_is_taken() {
        let mut attempts = Attempts::default();
        let no_retry = || unreachable!("the first attempt is no retry");
        assert_eq!(attempts.next(first_of(1), no_retry, |_| true), Some((0, ())));
        assert_eq!(attempts.next(first_of(1), || unreachable!("there is nothing to retry with"), |_| true), None);
    }

    proptest! {
        /// When every attempt fails, retries stay below a fifth of the requests plus the floor.
        #[test]
        fn a_storm_adds_a_fifth(pauses in prop::collection::vec(0..20u64, 1..2_000)) {
            let (mut budget, mut now, mut made) = (RetryBudget::new(0), 0, 0);
            for (sent, pause) in pauses.iter().enumerate() {
                now += pause;
                budget.on_request();
                made += (1..ATTEMPTS_MAX).filter(|_| budget.try_retry(now)).count() as u64;
                let requests = sent as u64 + 1;
                let allowed = requests * RETRY_PERCENT / 100 + RETRIES_PER_SECOND_MIN * now / 1_000
                    + RETRIES_PER_SECOND_MIN + 1;
                prop_assert!(made <= allowed, "{made} > {allowed}");
            }
        }
    }
}
