//! Who is served next, when engines are full: fair between tenants by virtual token counters (VTC; Sheng et al., OSDI
//! 2024), interactive before batch, nobody starved.
//!
//! Each tenant has a counter of the service that it got: tokens read plus twice the tokens written. The next request is
//! the oldest of the waiting tenant with the smallest counter. A tenant that begins to wait is lifted to the smallest
//! counter of those that wait already (or of the last that waited), so nobody saves up credit by being idle. Between
//! two tenants that both wait, service differs by at most 2 x max(input weight x longest input, output weight x tokens
//! that engines hold at once), whatever they send.
//!
//! Service is charged when it is known: the input when a request is let go ([`FairQueue::pop`]), the output as it is
//! produced ([`FairQueue::charge`]) or at its end ([`FairQueue::settle`], which also corrects an input that was only
//! estimated). Charging a guess of the output beforehand would be wrong by the guess: whoever is lifted to an inflated
//! counter is passed by until the correction has been served away.
//!
//! Interactive requests go before batch requests, across tenants, but for one tenth of the service: while both wait,
//! what interactive requests get is counted, and batch is owed a ninth of it. So a batch request at the head waits for
//! nine times its own input in interactive service, and not for ever.
//!
//! What it is not: it knows no engines and no slots. The caller says which requests a slot fits, by their *group*: a
//! group is any name for the set of places that may serve a request, and there are few of them. No clock either: how
//! long a request may wait is the caller's matter, who takes it out again ([`FairQueue::leave`]).
//!
//! Every operation costs O(log tenants + log waiting) for each group that waits. A tenant is forgotten as soon as it is
//! idle and no longer ahead of anybody who waits; when nobody waits and nobody is served, all are.
//!
//! If we crash here: whoever waited has no connection any more. Counters begin at nothing for all.

use std::collections::{BTreeMap, BTreeSet};

/// What a token read costs, and
pub const INPUT_WEIGHT: u64 = 1;
/// what a token written costs: the prices of reading and writing differ by two to four, and so do the times.
pub const OUTPUT_WEIGHT: u64 = 2;

/// While both classes wait, one part in so many of the service is batch's: a tenth slows interactive requests by a tenth
/// at worst, and a nightly job of a million tokens ends the same night.
pub const BATCH_ONE_IN: i64 = 10;

/// The shares of a tenant that nobody gave more or fewer. Counters are in hundredths of a token at this many.
pub const SHARES_USUAL: u32 = 100;

/// Weighted tokens.
pub fn cost(input: u64, output: u64) -> u64 {
    input.saturating_mul(INPUT_WEIGHT).saturating_add(output.saturating_mul(OUTPUT_WEIGHT))
}

/// How urgent a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Class {
    /// Somebody waits for it.
    #[default]
    Interactive,
    /// It may wait for whoever waits.
    Batch,
}

impl Class {
    pub const ALL: [Class; 2] = [Class::Interactive, Class::Batch];

    pub fn as_str(self) -> &'static str {
        match self {
            Class::Interactive => "interactive",
            Class::Batch => "batch",
        }
    }
}

/// How many may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub waiting_max: usize,
    pub waiting_tenant_max: usize,
}

/// Why there is no place to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    #[error("this tenant has as many requests waiting as it may")]
    Tenant,
    #[error("as many requests wait as may")]
    All,
}

/// Names a waiting request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket<K, G> {
    tenant: K,
    place: (Class, G),
    number: u64,
}

/// What a request that was let go has been charged so far; settled once, at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "the service that a request gets is charged with it"]
pub struct Charge<K> {
    pub tenant: K,
    shares: u32,
    cost: u64,
    debt: Debt,
}

/// What a request's service means to the class that it passed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Debt {
    None,
    /// Interactive, let go before a batch request that could have gone: batch is owed its part.
    Grows,
    /// Batch, let go before an interactive request because it was owed.
    Shrinks,
}

#[derive(Debug)]
struct Waiting<T> {
    /// Charged when it is let go.
    cost: u64,
    item: T,
}

#[derive(Debug)]
struct Tenant<G, T> {
    /// Hundredths of weighted tokens, for a tenant of the usual shares.
    counter: u64,
    /// When it began to wait, in arrivals: among equals the first.
    since: u64,
    shares: u32,
    waiting: usize,
    /// Requests let go and not settled.
    served: usize,
    places: BTreeMap<(Class, G), BTreeMap<u64, Waiting<T>>>,
}

type Order<K> = BTreeSet<(u64, u64, K)>;

/// Requests that wait, by tenant (`K`), class and group (`G`).
#[derive(Debug)]
pub struct FairQueue<K, G, T> {
    limits: Limits,
    tenants: BTreeMap<K, Tenant<G, T>>,
    /// Tenants with a request in this place, the least served first.
    order: BTreeMap<(Class, G), Order<K>>,
    /// Tenants with no request waiting or being served, the least served first.
    idle: BTreeSet<(u64, K)>,
    /// Whose request was the last to leave the queue empty.
    last: Option<K>,
    /// What batch is owed, times [`BATCH_ONE_IN`] less one, so that no division loses a token; below nothing when it got
    /// more than its part.
    owed: i64,
    waiting: [usize; Class::ALL.len()],
    /// Requests let go and not settled.
    served: usize,
    arrivals: u64,
}

fn hundredths(cost: u64, shares: u32) -> u64 {
    let shared = u128::from(cost) * u128::from(SHARES_USUAL) * 100 / u128::from(shares.max(1));
    u64::try_from(shared).unwrap_or(u64::MAX)
}

fn signed(cost: u64) -> i64 {
    i64::try_from(cost).unwrap_or(i64::MAX)
}

/// What batch must be owed to get this: as much beside every `BATCH_ONE_IN - 1` of interactive service.
fn part_of_batch(cost: u64) -> i64 {
    signed(cost).saturating_mul(BATCH_ONE_IN - 1)
}

impl<K: Ord + Copy, G: Ord + Clone, T> FairQueue<K, G, T> {
    pub fn new(limits: Limits) -> Self {
        FairQueue {
            limits,
            tenants: BTreeMap::new(),
            order: BTreeMap::new(),
            idle: BTreeSet::new(),
            last: None,
            owed: 0,
            waiting: [0; 2],
            served: 0,
            arrivals: 0,
        }
    }

    /// Requests that wait.
    pub fn len(&self) -> usize {
        self.waiting.iter().sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn waiting(&self, class: Class) -> usize {
        self.waiting[class as usize]
    }

    /// Tenants that are remembered.
    pub fn tenants(&self) -> usize {
        self.tenants.len()
    }

    /// Lets a request wait. `cost` is what it will be charged when it is let go: its input, as far as that is known.
    pub fn push(
        &mut self,
        tenant: K,
        shares: u32,
        class: Class,
        group: G,
        cost: u64,
        item: T,
    ) -> Result<Ticket<K, G>, (Full, T)> {
        if self.len() >= self.limits.waiting_max {
            return Err((Full::All, item));
        }
        let waits = self.tenants.get(&tenant).map_or(0, |known| known.waiting);
        if waits >= self.limits.waiting_tenant_max {
            return Err((Full::Tenant, item));
        }
        let number = self.arrivals;
        self.arrivals += 1;
        if waits == 0 {
            self.begin(tenant, number);
        }
        let place = (class, group);
        let Some(known) = self.tenants.get_mut(&tenant) else { return Err((Full::All, item)) };
        known.shares = shares;
        known.waiting += 1;
        self.waiting[class as usize] += 1;
        known.places.entry(place.clone()).or_default().insert(number, Waiting { cost, item });
        self.order.entry(place.clone()).or_default().insert((known.counter, known.since, tenant));
        Ok(Ticket { tenant, place, number })
    }

    /// A tenant begins to wait: it is lifted to the least served of those that do.
    fn begin(&mut self, tenant: K, since: u64) {
        let floor = self.floor();
        let known = self.tenants.entry(tenant).or_insert_with(|| Tenant {
            counter: 0,
            since,
            shares: SHARES_USUAL,
            waiting: 0,
            served: 0,
            places: BTreeMap::new(),
        });
        self.idle.remove(&(known.counter, tenant));
        known.counter = known.counter.max(floor);
        known.since = since;
    }

    /// The smallest counter of those that wait, or that of the last that waited.
    fn floor(&self) -> u64 {
        let least = self.order.values().filter_map(|order| order.first()).map(|(counter, ..)| *counter).min();
        let last = || self.last.and_then(|last| self.tenants.get(&last)).map_or(0, |last| last.counter);
        least.unwrap_or_else(last)
    }

    /// Whether somebody waits whose group fits.
    pub fn fits(&self, fits: impl Fn(&G) -> bool) -> bool {
        self.order.keys().any(|(_, group)| fits(group))
    }

    /// The next request of those whose group fits, charged with what it brought.
    pub fn pop(&mut self, fits: impl Fn(&G) -> bool) -> Option<(Charge<K>, T)> {
        let interactive = self.least_served(Class::Interactive, &fits);
        let batch = self.least_served(Class::Batch, &fits);
        let (next, debt) = match (interactive, batch) {
            (None, None) => return None,
            (Some(next), None) | (None, Some(next)) => (next, Debt::None),
            (Some(_), Some(batch)) if self.owed >= part_of_batch(self.head_cost(&batch)) => (batch, Debt::Shrinks),
            (Some(interactive), Some(_)) => (interactive, Debt::Grows),
        };
        let (tenant, place) = next;
        let known = self.tenants.get_mut(&tenant)?;
        let number = *known.places.get(&place)?.first_key_value()?.0;
        known.served += 1;
        self.served += 1;
        let shares = known.shares;
        let Waiting { cost, item } = self.take(tenant, &place, number)?;
        let mut charge = Charge { tenant, shares, cost: 0, debt };
        self.charge(&mut charge, cost);
        Some((charge, item))
    }

    fn least_served(&self, class: Class, fits: impl Fn(&G) -> bool) -> Option<(K, (Class, G))> {
        let places = self.order.iter().filter(|((of, group), _)| *of == class && fits(group));
        let firsts = places.filter_map(|(place, order)| order.first().map(|first| (first, place)));
        firsts.min_by(|(one, _), (other, _)| one.cmp(other)).map(|((_, _, tenant), place)| (*tenant, place.clone()))
    }

    fn head_cost(&self, (tenant, place): &(K, (Class, G))) -> u64 {
        let place = self.tenants.get(tenant).and_then(|known| known.places.get(place));
        place.and_then(|place| place.first_key_value()).map_or(0, |(_, waiting)| waiting.cost)
    }

    /// Takes a request out that will not be served: whoever sent it left, or waited long enough. None if it was let go.
    pub fn leave(&mut self, ticket: &Ticket<K, G>) -> Option<T> {
        let taken = self.take(ticket.tenant, &ticket.place, ticket.number)?;
        self.forget();
        Some(taken.item)
    }

    fn take(&mut self, tenant: K, place: &(Class, G), number: u64) -> Option<Waiting<T>> {
        let known = self.tenants.get_mut(&tenant)?;
        let requests = known.places.get_mut(place)?;
        let taken = requests.remove(&number)?;
        if requests.is_empty() {
            known.places.remove(place);
            if let Some(order) = self.order.get_mut(place) {
                order.remove(&(known.counter, known.since, tenant));
                if order.is_empty() {
                    self.order.remove(place);
                }
            }
        }
        known.waiting -= 1;
        if known.waiting == 0 && known.served == 0 {
            self.idle.insert((known.counter, tenant));
        }
        self.waiting[place.0 as usize] -= 1;
        if self.waiting[Class::Batch as usize] == 0 {
            self.owed = 0;
        }
        if self.is_empty() {
            self.last = Some(tenant);
        }
        Some(taken)
    }

    /// More service for a request that was let go.
    pub fn charge(&mut self, charge: &mut Charge<K>, more: u64) {
        let before = hundredths(charge.cost, charge.shares);
        charge.cost = charge.cost.saturating_add(more);
        let after = hundredths(charge.cost, charge.shares);
        self.owe(charge.debt, 0, more);
        self.count(charge.tenant, |counter| counter.saturating_add(after - before));
    }

    /// The end of a request that was let go: what it cost in all takes the place of what it was charged so far.
    pub fn settle(&mut self, charge: Charge<K>, cost: u64) {
        let (charged, real) = (hundredths(charge.cost, charge.shares), hundredths(cost, charge.shares));
        self.owe(charge.debt, charge.cost, cost);
        self.count(charge.tenant, |counter| counter.saturating_sub(charged).saturating_add(real));
        self.served = self.served.saturating_sub(1);
        if let Some(known) = self.tenants.get_mut(&charge.tenant) {
            known.served = known.served.saturating_sub(1);
            if known.waiting == 0 && known.served == 0 {
                self.idle.insert((known.counter, charge.tenant));
            }
        }
        self.forget();
    }

    /// Service that a tenant got past the queue, when nobody waited. Counts if somebody waits now.
    pub fn note(&mut self, tenant: K, shares: u32, cost: u64) {
        if self.is_empty() {
            return;
        }
        if !self.tenants.contains_key(&tenant) {
            self.begin(tenant, self.arrivals);
            self.tenants.entry(tenant).and_modify(|known| known.shares = shares);
            self.idle.extend(self.tenants.get(&tenant).map(|known| (known.counter, tenant)));
        }
        self.count(tenant, |counter| counter.saturating_add(hundredths(cost, shares)));
        self.forget();
    }

    /// A request's service was counted as `before` and is `now`.
    fn owe(&mut self, debt: Debt, before: u64, now: u64) {
        if self.waiting[Class::Batch as usize] == 0 {
            return;
        }
        self.owed = match debt {
            Debt::None => self.owed,
            Debt::Grows => self.owed.saturating_add(signed(now)).saturating_sub(signed(before)),
            Debt::Shrinks => self.owed.saturating_sub(part_of_batch(now)).saturating_add(part_of_batch(before)),
        };
    }

    /// Gives a tenant another counter, and its place among the others.
    fn count(&mut self, tenant: K, new: impl FnOnce(u64) -> u64) {
        let Some(known) = self.tenants.get_mut(&tenant) else { return };
        let old = known.counter;
        known.counter = new(old);
        for place in known.places.keys() {
            if let Some(order) = self.order.get_mut(place) {
                order.remove(&(old, known.since, tenant));
                order.insert((known.counter, known.since, tenant));
            }
        }
        if self.idle.remove(&(old, tenant)) {
            self.idle.insert((known.counter, tenant));
        }
    }

    /// Forgets who is idle and not ahead of anybody: lifted as everybody, it would come back where it is now.
    fn forget(&mut self) {
        if self.is_empty() && self.served == 0 {
            self.tenants.clear();
            self.idle.clear();
            (self.last, self.owed) = (None, 0);
            return;
        }
        let floor = self.floor();
        // With nobody waiting, the next is lifted to the last.
        let last = self.last.filter(|_| self.waiting == [0; 2]);
        let last = last.and_then(|last| self.tenants.get(&last).map(|known| (known.counter, last)));
        let last = last.filter(|last| self.idle.remove(last));
        while let Some(&(counter, tenant)) = self.idle.first()
            && counter <= floor
        {
            self.idle.pop_first();
            self.tenants.remove(&tenant);
        }
        self.idle.extend(last);
    }
}

#[cfg(test)]
mod tests;
