//! Stage five: what was held for a request is settled exactly once, whatever happened to it.
//!
//! A [`Hold`] is made only here, takes money in tenant, project and key or in none, and tokens per minute in project and
//! key. It ends in [`Hold::settle`]; dropped otherwise it gives both back, so that no path can leak a reservation.

use crate::refusal::Refusal;
use crate::scope::{RateView, Scope, tighter};
use metering::bucket::{Remaining, Wait};
use metering::budget::Reservation;
use std::sync::Arc;
use types::snapshot::Price;
use types::{Code, MicroEur, Month, Usage};

pub struct Hold {
    price: Price,
    amount: MicroEur,
    money: Vec<(Arc<Scope>, Reservation)>,
    /// Tokens per minute taken, by scope.
    tokens: Vec<(Arc<Scope>, u64)>,
}

/// The upper bounds of one request.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub input_tokens: u64,
    /// All choices together.
    pub output_tokens: u64,
}

/// A scope holds less than a request could cost.
pub struct Shortage {
    pub scope: Arc<Scope>,
    pub amount: MicroEur,
}

impl Shortage {
    /// The whole budget has not enough left, as far as is known.
    pub fn refusal(&self, month: Month) -> Refusal {
        let Shortage { scope, amount } = self;
        let left = scope.budget(month).map_or(MicroEur::ZERO, |(_, left)| left);
        Refusal::new(
            Code::BudgetExhausted,
            format!(
                "the budget of this {} for {month} has {left} left, and this request could cost {amount}: \
                 ask for fewer tokens (max_tokens), or have the budget raised",
                scope.id.noun(),
            ),
        )
    }
}

impl Hold {
    /// Reserves money in every scope (tenant, project, key), or says which one holds too little.
    pub fn reserve(scopes: [&Arc<Scope>; 3], price: &Price, bounds: Bounds, month: Month) -> Result<Hold, Shortage> {
        let amount = metering::bound(price, bounds.input_tokens, bounds.output_tokens);
        let mut hold = Hold { price: price.clone(), amount, money: Vec::with_capacity(3), tokens: Vec::new() };
        for scope in scopes {
            match scope.reserve(month, amount) {
                Ok(reservation) => hold.money.push((scope.clone(), reservation)),
                Err(_) => return Err(Shortage { scope: scope.clone(), amount }),
            }
        }
        Ok(hold)
    }

    /// Remembers tokens per minute that were taken, to settle them with what was used.
    pub fn took_tokens(&mut self, scope: &Arc<Scope>, tokens: u64) {
        self.tokens.push((scope.clone(), tokens));
    }

    pub fn amount(&self) -> MicroEur {
        self.amount
    }

    pub fn price(&self) -> &Price {
        &self.price
    }

    /// Books what was used, never more than was held, and returns what it cost.
    pub fn settle(mut self, usage: &Usage, now: u64) -> MicroEur {
        let cost = cost(&self.price, usage, self.amount);
        for (scope, reservation) in self.money.drain(..) {
            scope.settle(reservation, cost);
        }
        let used = usage.input.saturating_add(usage.output);
        for (scope, taken) in self.tokens.drain(..) {
            scope.settle_tokens(taken, used, now);
        }
        cost
    }
}

/// What a usage costs, clamped to what was reserved.
pub fn cost(price: &Price, usage: &Usage, reserved: MicroEur) -> MicroEur {
    metering::rate(price, usage).min(reserved)
}

impl Drop for Hold {
    fn drop(&mut self) {
        for (scope, reservation) in self.money.drain(..) {
            scope.release(reservation);
        }
        for (scope, taken) in self.tokens.drain(..) {
            // At time 0, which is never later than what a bucket has seen: nothing refills, what was taken comes back.
            scope.settle_tokens(taken, 0, 0);
        }
    }
}

/// Takes one of the requests per minute in project and key, or in neither.
#[expect(clippy::result_large_err, reason = "a refusal and what its headers show; nobody passes it far")]
pub fn take_request(scopes: [&Arc<Scope>; 2], now: u64) -> Result<RateView, (Refusal, RateView)> {
    let [outer, inner] = scopes;
    let refused = |scope: &Scope, wait: Wait| {
        (refuse(scope, "requests", "", wait), RateView { requests: Some(wait.remaining), tokens: None })
    };
    let outer_left = outer.take_request(now).map_err(|wait| refused(outer, wait))?;
    let inner_left = inner.take_request(now).map_err(|wait| {
        outer.give_back_request(now);
        refused(inner, wait)
    })?;
    Ok(RateView { requests: tighter(inner_left, outer_left), tokens: None })
}

/// Takes tokens per minute in project and key, or in neither, and says how many in each.
pub fn take_tokens(
    scopes: [&Arc<Scope>; 2],
    tokens: u64,
    now: u64,
) -> Result<(Option<Remaining>, [u64; 2]), (Refusal, Remaining)> {
    let [outer, inner] = scopes;
    let refused = |scope: &Scope, wait: Wait| {
        let hint = ", or set a smaller max_tokens: what a request could use is counted";
        (refuse(scope, "tokens", hint, wait), wait.remaining)
    };
    let (outer_left, outer_taken) = outer.take_tokens(tokens, now).map_err(|wait| refused(outer, wait))?;
    let (inner_left, inner_taken) = inner.take_tokens(tokens, now).map_err(|wait| {
        outer.settle_tokens(outer_taken, 0, now);
        refused(inner, wait)
    })?;
    Ok((tighter(inner_left, outer_left), [outer_taken, inner_taken]))
}

fn refuse(scope: &Scope, what: &str, hint: &str, wait: Wait) -> Refusal {
    let seconds = wait.seconds().max(1);
    Refusal::new(
        Code::RateLimited,
        format!(
            "this {} may use {} {what} a minute and has {} left: wait {seconds} s{hint}",
            scope.id.noun(),
            wait.remaining.limit,
            wait.remaining.remaining,
        ),
    )
    .retry_after(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scope::{ScopeId, Scopes};
    use types::snapshot::Limits;
    use types::{KeyId, ProjectId, TenantId};

    const MONTH: Month = Month { year: 2026, month: 11 };

    fn scope(id: ScopeId, budget: i64, requests: u32, tokens: u64) -> Arc<Scope> {
        let scope = Scopes::default().get(id, MONTH, || MicroEur::ZERO);
        let limits = Limits { requests_per_minute: Some(requests), tokens_per_minute: Some(tokens) };
        scope.set_limits(Some(MicroEur(budget)), limits, 0);
        let ask = scope.top_up().unwrap();
        let all = metering::lease::Grant { granted: MicroEur(budget), left: MicroEur::ZERO };
        scope.granted(&ask, all, 0);
        scope
    }

    fn price() -> Price {
        let rate = MicroEur(1_000_000);
        Price { model: "*".to_owned(), input: rate, cached_input: rate, output: rate }
    }

    fn left(scope: &Arc<Scope>) -> MicroEur {
        match scope.reserve(MONTH, MicroEur(i64::MAX)) {
            Err(short) => short.left,
            Ok(_) => panic!("a limit was set"),
        }
    }

    #[test]
    fn money_is_held_in_all_scopes_or_in_none_and_everything_comes_back() {
        let tenant = scope(ScopeId::Tenant(TenantId(1)), 100, 9, 1_000);
        let project = scope(ScopeId::Project(ProjectId(1)), 100, 9, 1_000);
        let key = scope(ScopeId::Key(KeyId(1)), 50, 9, 1_000);
        let lefts = || [left(&tenant), left(&project), left(&key)].map(|left| left.0);
        let bounds = |tokens| Bounds { input_tokens: tokens, output_tokens: 0 };
        let shortage = Hold::reserve([&tenant, &project, &key], &price(), bounds(51), MONTH).err().unwrap();
        let refusal = shortage.refusal(MONTH);
        assert!(refusal.message.contains("this key"), "{}", refusal.message);
        assert_eq!(lefts(), [100, 100, 50]);

        let (_, [of_project, of_key]) = take_tokens([&project, &key], 50, 0).map_err(|_| ()).unwrap();
        let mut hold = Hold::reserve([&tenant, &project, &key], &price(), bounds(50), MONTH).map_err(|_| ()).unwrap();
        hold.took_tokens(&project, of_project);
        hold.took_tokens(&key, of_key);
        assert_eq!(lefts(), [50, 50, 0]);
        drop(hold);
        assert_eq!(lefts(), [100, 100, 50]);
        let (remaining, _) = take_tokens([&project, &key], 0, 0).map_err(|_| ()).unwrap();
        assert_eq!(remaining.unwrap().remaining, 1_000, "tokens leaked");

        let hold = Hold::reserve([&tenant, &project, &key], &price(), bounds(50), MONTH).map_err(|_| ()).unwrap();
        assert_eq!(hold.settle(&Usage { input: 20, ..Usage::default() }, 0), MicroEur(20));
        assert_eq!(lefts(), [80, 80, 30]);
    }

    #[test]
    fn a_key_that_is_short_takes_nothing_of_its_project() {
        let project = scope(ScopeId::Project(ProjectId(1)), 0, 5, 500);
        let key = scope(ScopeId::Key(KeyId(1)), 0, 1, 100);
        assert!(take_tokens([&project, &key], 60, 0).is_ok());
        assert!(take_tokens([&project, &key], 60, 0).is_err());
        let (remaining, _) = project.take_tokens(0, 0).unwrap();
        assert_eq!(remaining.unwrap().remaining, 440);
        // The key's limit is the tighter one until it says no.
        let shown = take_request([&project, &key], 0).map_err(|_| ()).unwrap();
        assert_eq!(shown.requests.map(|it| (it.limit, it.remaining)), Some((1, 0)));
        assert!(take_request([&project, &key], 0).is_err());
        assert_eq!(project.take_request(0).unwrap().unwrap().remaining, 3);
    }
}
