//! Budgets and rate limits of a tenant, a project or a key: the state that moves with every request and therefore lives
//! outside the snapshot. One scope per id for the life of the process; a new snapshot only changes its limits.
//!
//! Money is strict: reserved before dispatch in all three scopes or in none. Rates are local buckets.

use metering::bucket::{Remaining, TokenBucket, Wait};
use metering::budget::{Monthly, Reservation, Short};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use types::snapshot::Limits;
use types::{KeyId, MicroEur, Month, ProjectId, TenantId};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ScopeId {
    Tenant(TenantId),
    Project(ProjectId),
    Key(KeyId),
}

impl ScopeId {
    /// As in error messages.
    pub fn noun(self) -> &'static str {
        match self {
            ScopeId::Tenant(_) => "tenant",
            ScopeId::Project(_) => "project",
            ScopeId::Key(_) => "key",
        }
    }
}

pub struct Scope {
    pub id: ScopeId,
    money: Mutex<Monthly>,
    rates: Mutex<Rates>,
}

#[derive(Default)]
struct Rates {
    requests: Option<TokenBucket>,
    tokens: Option<TokenBucket>,
}

/// What the buckets show after a take: the source of `x-ratelimit-*`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RateView {
    pub requests: Option<Remaining>,
    pub tokens: Option<Remaining>,
}

/// Of two limits the one that ends first.
pub fn tighter(one: Option<Remaining>, other: Option<Remaining>) -> Option<Remaining> {
    one.into_iter().chain(other).min_by_key(|remaining| remaining.remaining)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Scope {
    fn new(id: ScopeId, month: Month, spent: MicroEur) -> Self {
        Scope { id, money: Mutex::new(Monthly::new(month, None, spent)), rates: Mutex::default() }
    }

    pub fn set_limits(&self, budget: Option<MicroEur>, limits: Limits, now: u64) {
        lock(&self.money).set_limit(budget);
        let mut rates = lock(&self.rates);
        set_bucket(&mut rates.requests, limits.requests_per_minute.map(u64::from), now);
        set_bucket(&mut rates.tokens, limits.tokens_per_minute, now);
    }

    pub fn reserve(&self, month: Month, amount: MicroEur) -> Result<Reservation, Short> {
        lock(&self.money).try_reserve(month, amount)
    }

    /// A month's limit and what is left of it; none without a limit. Nothing is spent of a month that has just begun.
    pub fn budget(&self, month: Month) -> Option<(MicroEur, MicroEur)> {
        let money = lock(&self.money);
        let left = if month > money.month() { money.present().limit() } else { money.present().left() };
        money.present().limit().zip(left)
    }

    pub fn release(&self, reservation: Reservation) {
        lock(&self.money).release(reservation);
    }

    pub fn settle(&self, reservation: Reservation, actual: MicroEur) {
        let settled = lock(&self.money).settle(reservation, actual);
        debug_assert!(settled.excess == MicroEur::ZERO, "the caller clamps the cost to what it reserved");
    }

    /// Takes one request.
    pub fn take_request(&self, now: u64) -> Result<Option<Remaining>, Wait> {
        lock(&self.rates).requests.as_mut().map(|bucket| bucket.try_take(1, now)).transpose()
    }

    /// Takes tokens and says how many. A request that could use more than a whole minute's tokens takes the whole minute:
    /// it may run, alone, and what it uses beyond that becomes a debt in [`Scope::settle_tokens`].
    pub fn take_tokens(&self, tokens: u64, now: u64) -> Result<(Option<Remaining>, u64), Wait> {
        let mut rates = lock(&self.rates);
        let Some(bucket) = &mut rates.tokens else { return Ok((None, 0)) };
        let amount = tokens.min(bucket.limit());
        bucket.try_take(amount, now).map(|remaining| (Some(remaining), amount))
    }

    /// Makes of what was taken what was used: gives back the rest, or debits what is missing.
    pub fn settle_tokens(&self, taken: u64, used: u64, now: u64) {
        if let Some(bucket) = &mut lock(&self.rates).tokens {
            bucket.give_back(taken.saturating_sub(used), now);
            bucket.debit(used.saturating_sub(taken), now);
        }
    }

    pub fn give_back_request(&self, now: u64) {
        if let Some(bucket) = &mut lock(&self.rates).requests {
            bucket.give_back(1, now);
        }
    }
}

fn set_bucket(bucket: &mut Option<TokenBucket>, limit: Option<u64>, now: u64) {
    match (bucket.as_mut(), limit) {
        (Some(present), Some(limit)) => present.set_limit(limit, now),
        (None, Some(limit)) => *bucket = Some(TokenBucket::new(limit, now)),
        (_, None) => *bucket = None,
    }
}

/// All scopes by id. Ids are only ever those of the snapshot, so the map is as large as the site's customers.
#[derive(Default)]
pub struct Scopes {
    by_id: Mutex<HashMap<ScopeId, Arc<Scope>>>,
}

impl Scopes {
    /// The scope of an id; at first use it starts with what was spent before.
    pub fn get(&self, id: ScopeId, month: Month, spent: impl FnOnce() -> MicroEur) -> Arc<Scope> {
        lock(&self.by_id).entry(id).or_insert_with(|| Arc::new(Scope::new(id, month, spent()))).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MONTH: Month = Month { year: 2026, month: 11 };

    fn scope(requests: Option<u32>, tokens: Option<u64>) -> Arc<Scope> {
        let scope = Scopes::default().get(ScopeId::Key(KeyId(1)), MONTH, || MicroEur(10));
        scope.set_limits(Some(MicroEur(100)), Limits { requests_per_minute: requests, tokens_per_minute: tokens }, 0);
        scope
    }

    #[test]
    fn what_was_spent_before_counts() {
        let scope = scope(None, None);
        assert!(scope.reserve(MONTH, MicroEur(91)).is_err());
        let held = scope.reserve(MONTH, MicroEur(90)).unwrap();
        assert!(scope.reserve(MONTH, MicroEur(1)).is_err());
        scope.settle(held, MicroEur(40));
        assert!(scope.reserve(MONTH, MicroEur(50)).is_ok());
    }

    #[test]
    fn a_request_beyond_the_whole_minute_runs_alone_and_is_paid_for() {
        let scope = scope(None, Some(100));
        let (_, taken) = scope.take_tokens(5_000, 0).unwrap();
        assert_eq!(taken, 100);
        assert!(scope.take_tokens(1, 0).is_err());
        scope.settle_tokens(taken, 30, 0);
        assert_eq!(scope.take_tokens(70, 0).unwrap().1, 70);
        scope.settle_tokens(70, 70, 0);
        // Another uses 1,000 tokens, ten minutes' worth: nothing passes until they are over.
        let (_, taken) = scope.take_tokens(5_000, 60_000).unwrap();
        scope.settle_tokens(taken, 1_000, 60_000);
        assert_eq!(scope.take_tokens(1, 60_000).unwrap_err().remaining.remaining, 0);
        assert!(scope.take_tokens(1, 60_000 + 540_000).is_err());
        assert!(scope.take_tokens(1, 60_000 + 540_600).is_ok());
    }

    #[test]
    fn the_tighter_limit_is_shown() {
        let left = |limit, remaining| Some(Remaining { limit, remaining, reset_millis: 0 });
        assert_eq!(tighter(left(10, 3), left(100, 2)), left(100, 2));
        assert_eq!(tighter(left(10, 1), left(100, 2)), left(10, 1));
        assert_eq!(tighter(None, left(100, 2)), left(100, 2));
        assert_eq!(tighter(None, None), None);
    }
}
