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

/// Which of the two limits per minute said no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateShort {
    Requests(Wait),
    Tokens(Wait),
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

    pub fn release(&self, reservation: Reservation) {
        lock(&self.money).release(reservation);
    }

    pub fn settle(&self, reservation: Reservation, actual: MicroEur) {
        let settled = lock(&self.money).settle(reservation, actual);
        debug_assert!(settled.excess == MicroEur::ZERO, "the caller clamps the cost to what it reserved");
    }

    /// Takes one request and up to `tokens` tokens; all or nothing. A request that could use more than a whole minute's
    /// tokens takes the whole minute: it may run, alone.
    pub fn take_rates(&self, tokens: u64, now: u64) -> Result<(RateView, u64), RateShort> {
        let mut rates = lock(&self.rates);
        let requests = match &mut rates.requests {
            Some(bucket) => Some(bucket.try_take(1, now).map_err(RateShort::Requests)?),
            None => None,
        };
        let Some(bucket) = &mut rates.tokens else { return Ok((RateView { requests, tokens: None }, 0)) };
        let amount = tokens.min(bucket.limit());
        match bucket.try_take(amount, now) {
            Ok(remaining) => Ok((RateView { requests, tokens: Some(remaining) }, amount)),
            Err(wait) => {
                if let Some(bucket) = &mut rates.requests {
                    bucket.give_back(1, now);
                }
                Err(RateShort::Tokens(wait))
            }
        }
    }

    pub fn give_back_tokens(&self, tokens: u64, now: u64) {
        if tokens > 0
            && let Some(bucket) = &mut lock(&self.rates).tokens
        {
            bucket.give_back(tokens, now);
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
    fn a_refused_token_take_gives_the_request_back() {
        let scope = scope(Some(2), Some(100));
        assert!(scope.take_rates(60, 0).is_ok());
        assert!(matches!(scope.take_rates(60, 0), Err(RateShort::Tokens(_))));
        assert!(scope.take_rates(40, 0).is_ok());
        assert!(matches!(scope.take_rates(0, 0), Err(RateShort::Requests(_))));
    }

    #[test]
    fn a_request_beyond_the_whole_minute_runs_alone() {
        let scope = scope(None, Some(100));
        let (_, taken) = scope.take_rates(5_000, 0).unwrap();
        assert_eq!(taken, 100);
        assert!(scope.take_rates(1, 0).is_err());
        scope.give_back_tokens(70, 0);
        assert!(scope.take_rates(70, 0).is_ok());
    }
}
