//! Budgets and rate limits of a tenant, a project or a key: the state that moves with every request and therefore lives
//! outside the snapshot. One scope per id for the life of the process; a new snapshot only changes its limits.
//!
//! Money is strict: reserved before dispatch in all three scopes or in none, and only from what this boot leases of the
//! budget; `lease` fetches more. Rates are local buckets.

use metering::bucket::{Remaining, TokenBucket, Wait};
use metering::budget::{Monthly, Reservation, Short};
use metering::lease::{Ask, Grant};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::{BudgetOf, LeaseAsk};
use tokio::sync::Notify;
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
    money: Mutex<Money>,
    rates: Mutex<Rates>,
    /// One ask of a scope at a time.
    pub(crate) asking: tokio::sync::Mutex<()>,
    low: Arc<Low>,
}

/// How long a gateway that heard "there is no more" believes it: under a flood of requests that do not fit, the store is
/// asked once a second, not once a request.
const SHORT_MILLIS: u64 = 1_000;

/// A lease is low when less than this part of what was free after the last grant is still free.
const LOW_PART: i64 = 4;

/// An account whose limit is a lease.
struct Money {
    /// Its limit is what this boot may spend in all; none without a budget.
    monthly: Monthly,
    budget: Option<MicroEur>,
    /// What was left in the budget for anybody when the store was last heard.
    left: MicroEur,
    /// When that was, if it was since budget or month changed.
    heard: Option<u64>,
    /// Grows with each ask.
    turn: u64,
    /// Below this it is time to ask for more; zero while more is on its way.
    low: MicroEur,
}

/// Scopes that run low on their leases.
#[derive(Default)]
pub struct Low {
    ids: Mutex<Vec<ScopeId>>,
    pub some: Notify,
}

impl Low {
    pub fn take(&self) -> Vec<ScopeId> {
        std::mem::take(&mut lock(&self.ids))
    }
}

/// What to do for a request that does not fit.
pub enum Fit {
    /// It fits by now.
    Fits,
    /// The budget has not enough left.
    No,
    Ask(LeaseAsk),
}

impl Money {
    fn present(&self) -> &metering::budget::Account {
        self.monthly.present()
    }

    fn used(&self) -> MicroEur {
        self.present().used()
    }

    fn free(&self) -> MicroEur {
        self.present().left().unwrap_or(MicroEur(i64::MAX))
    }

    /// A month begins without a lease.
    fn turn_to(&mut self, month: Month) {
        if month > self.monthly.month() {
            self.monthly.begin(month, self.budget.map(|_| MicroEur::ZERO));
            (self.left, self.heard, self.low) = (self.budget.unwrap_or_default(), None, MicroEur::ZERO);
        }
    }

    fn set_budget(&mut self, budget: Option<MicroEur>) {
        let limit = match (self.budget, budget) {
            (old, new) if old == new => return,
            (_, None) => None,
            (None, Some(new)) => {
                self.left = new;
                Some(self.used())
            }
            (Some(old), Some(new)) => {
                // What others had when we last heard, they have at least.
                let granted = self.present().limit().unwrap_or_default();
                let others = old.saturating_sub(granted).saturating_sub(self.left).max(MicroEur::ZERO);
                let may = new.saturating_sub(others).max(MicroEur::ZERO);
                let limit = granted.min(may).max(self.used());
                self.left = may.saturating_sub(limit).max(MicroEur::ZERO);
                Some(limit)
            }
        };
        (self.budget, self.heard) = (budget, None);
        self.monthly.set_limit(limit);
    }

    fn ask(&mut self, of: BudgetOf, limit: MicroEur, need: Option<MicroEur>) -> LeaseAsk {
        self.turn += 1;
        let held = self.present().limit().unwrap_or_default().max(self.used());
        LeaseAsk { of, month: self.monthly.month(), limit, ask: Ask { held, need }, turn: self.turn }
    }
}

impl From<ScopeId> for BudgetOf {
    fn from(id: ScopeId) -> BudgetOf {
        match id {
            ScopeId::Tenant(id) => BudgetOf::Tenant(id),
            ScopeId::Project(id) => BudgetOf::Project(id),
            ScopeId::Key(id) => BudgetOf::Key(id),
        }
    }
}

impl From<BudgetOf> for ScopeId {
    fn from(of: BudgetOf) -> ScopeId {
        match of {
            BudgetOf::Tenant(id) => ScopeId::Tenant(id),
            BudgetOf::Project(id) => ScopeId::Project(id),
            BudgetOf::Key(id) => ScopeId::Key(id),
        }
    }
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
    fn new(id: ScopeId, month: Month, spent: MicroEur, low: Arc<Low>) -> Self {
        let money = Money {
            monthly: Monthly::new(month, None, spent),
            budget: None,
            left: MicroEur::ZERO,
            heard: None,
            turn: 0,
            low: MicroEur::ZERO,
        };
        Scope { id, money: Mutex::new(money), rates: Mutex::default(), asking: Default::default(), low }
    }

    pub fn set_limits(&self, budget: Option<MicroEur>, limits: Limits, now: u64) {
        lock(&self.money).set_budget(budget);
        let mut rates = lock(&self.rates);
        set_bucket(&mut rates.requests, limits.requests_per_minute.map(u64::from), now);
        set_bucket(&mut rates.tokens, limits.tokens_per_minute, now);
    }

    pub fn reserve(&self, month: Month, amount: MicroEur) -> Result<Reservation, Short> {
        let mut money = lock(&self.money);
        money.turn_to(month);
        let reserved = money.monthly.try_reserve(month, amount)?;
        if money.low > MicroEur::ZERO && money.free() < money.low {
            money.low = MicroEur::ZERO;
            lock(&self.low.ids).push(self.id);
            self.low.some.notify_one();
        }
        Ok(reserved)
    }

    /// For a request of a month that does not fit: whether asking the store can help.
    pub fn fit(&self, month: Month, amount: MicroEur, now: u64) -> Fit {
        let mut money = lock(&self.money);
        money.turn_to(month);
        let (Some(budget), free) = (money.budget, money.free()) else { return Fit::Fits };
        let need = amount.saturating_sub(free);
        if need <= MicroEur::ZERO {
            return Fit::Fits;
        }
        if money.heard.is_some_and(|at| now.saturating_sub(at) < SHORT_MILLIS) && need > money.left {
            return Fit::No;
        }
        Fit::Ask(money.ask(self.id.into(), budget, Some(need)))
    }

    /// An ask for more than is free, whatever that will be; none without a budget.
    pub fn top_up(&self) -> Option<LeaseAsk> {
        let mut money = lock(&self.money);
        let budget = money.budget?;
        Some(money.ask(self.id.into(), budget, Some(MicroEur::ZERO)))
    }

    /// Lets go of all that is free in a month, for others; what it says must reach the store.
    pub fn let_go(&self, month: Month) -> Option<LeaseAsk> {
        let mut money = lock(&self.money);
        let budget = money.budget.filter(|_| month == money.monthly.month())?;
        let used = money.used();
        money.monthly.set_limit(Some(used));
        money.low = MicroEur::ZERO;
        Some(money.ask(self.id.into(), budget, None))
    }

    /// An ask that takes nothing, to hear what is left; none if that is known, or without a budget.
    pub fn unheard(&self) -> Option<LeaseAsk> {
        let mut money = lock(&self.money);
        let budget = money.budget.filter(|_| money.heard.is_none())?;
        Some(money.ask(self.id.into(), budget, None))
    }

    /// The store has answered the newest ask.
    pub fn granted(&self, ask: &LeaseAsk, grant: Grant, now: u64) {
        let mut money = lock(&self.money);
        if money.budget != Some(ask.limit) || money.monthly.month() != ask.month || money.turn != ask.turn {
            // The budget or the month changed meanwhile: the store counts more than we use, until the next ask.
            return;
        }
        let granted = grant.granted.max(money.used());
        money.monthly.set_limit(Some(granted));
        (money.left, money.heard) = (grant.left, Some(now));
        let free = money.free();
        money.low = if grant.left > MicroEur::ZERO { MicroEur(free.0 / LOW_PART) } else { MicroEur::ZERO };
    }

    /// A month's limit and what is left of it, here and for anybody, as far as is known; none without a limit. Nothing is
    /// spent of a month that has just begun.
    pub fn budget(&self, month: Month) -> Option<(MicroEur, MicroEur)> {
        let money = lock(&self.money);
        let budget = money.budget?;
        let left = money.left.saturating_add(money.present().left().unwrap_or_default());
        Some((budget, if month > money.monthly.month() { budget } else { left.min(budget) }))
    }

    pub fn release(&self, reservation: Reservation) {
        lock(&self.money).monthly.release(reservation);
    }

    pub fn settle(&self, reservation: Reservation, actual: MicroEur) {
        let settled = lock(&self.money).monthly.settle(reservation, actual);
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
    /// In order: what is asked of the store is asked in the same order each time, which the simulation counts on.
    by_id: Mutex<BTreeMap<ScopeId, Arc<Scope>>>,
    pub low: Arc<Low>,
}

impl Scopes {
    /// The scope of an id; at first use it starts with what this boot took over of the ones before.
    pub fn get(&self, id: ScopeId, month: Month, spent: impl FnOnce() -> MicroEur) -> Arc<Scope> {
        let new = || Arc::new(Scope::new(id, month, spent(), self.low.clone()));
        lock(&self.by_id).entry(id).or_insert_with(new).clone()
    }

    pub fn known(&self, id: ScopeId) -> Option<Arc<Scope>> {
        lock(&self.by_id).get(&id).cloned()
    }

    /// Those of which nobody has heard yet what is left, at most so many.
    pub fn unheard(&self, most: usize) -> Vec<ScopeId> {
        let scopes = lock(&self.by_id);
        let unheard = |scope: &&Arc<Scope>| {
            let money = lock(&scope.money);
            money.budget.is_some() && money.heard.is_none()
        };
        scopes.values().filter(unheard).map(|scope| scope.id).take(most).collect()
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

    /// As the store answers if nobody else has anything of it.
    fn lease_all(scope: &Scope, budget: i64) {
        let ask = scope.top_up().unwrap();
        scope.granted(&ask, Grant { granted: MicroEur(budget), left: MicroEur::ZERO }, 0);
    }

    #[test]
    fn f19_without_a_lease_nothing_is_reserved() {
        let scope = scope(None, None);
        assert!(scope.reserve(MONTH, MicroEur(1)).is_err());
        let Fit::Ask(ask) = scope.fit(MONTH, MicroEur(30), 0) else { panic!("nobody was asked") };
        assert_eq!((ask.ask.held, ask.ask.need), (MicroEur(10), Some(MicroEur(30))));
        scope.granted(&ask, Grant { granted: MicroEur(60), left: MicroEur(40) }, 0);
        let _held = scope.reserve(MONTH, MicroEur(50)).unwrap();
        assert!(matches!(scope.fit(MONTH, MicroEur(41), 0), Fit::No), "it was told that 40 are left");
        assert!(matches!(scope.fit(MONTH, MicroEur(41), SHORT_MILLIS), Fit::Ask(_)), "a second later it asks again");
        assert!(matches!(scope.fit(MONTH, MicroEur(40), 0), Fit::Ask(_)));
        // A new month begins without a lease.
        let next = Month { year: 2026, month: 12 };
        assert!(scope.reserve(next, MicroEur(1)).is_err());
        // An answer to an ask of the old one is none for the new one.
        scope.granted(&ask, Grant { granted: MicroEur(60), left: MicroEur(40) }, 0);
        assert!(scope.reserve(next, MicroEur(1)).is_err());
    }

    #[test]
    fn f19_what_is_let_go_of_is_not_spent() {
        let scope = scope(None, None);
        lease_all(&scope, 100);
        let held = scope.reserve(MONTH, MicroEur(20)).unwrap();
        let told = scope.let_go(MONTH).unwrap();
        assert_eq!((told.ask.held, told.ask.need), (MicroEur(30), None));
        assert!(scope.reserve(MONTH, MicroEur(1)).is_err());
        scope.settle(held, MicroEur(5));
        assert_eq!(scope.budget(MONTH), Some((MicroEur(100), MicroEur(15))));
    }

    #[test]
    fn f19_a_budget_that_is_lowered_holds_at_once_and_one_that_is_raised_is_asked_for() {
        let scope = scope(None, None);
        lease_all(&scope, 100);
        let set = |budget| scope.set_limits(Some(MicroEur(budget)), Limits::default(), 0);
        set(40);
        assert!(scope.reserve(MONTH, MicroEur(31)).is_err());
        let held = scope.reserve(MONTH, MicroEur(30)).unwrap();
        set(20);
        assert!(scope.reserve(MONTH, MicroEur(1)).is_err());
        scope.settle(held, MicroEur(0));
        set(100);
        assert!(matches!(scope.fit(MONTH, MicroEur(90), 0), Fit::Ask(_)));
    }

    #[test]
    fn what_was_spent_before_counts() {
        let scope = scope(None, None);
        lease_all(&scope, 100);
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
