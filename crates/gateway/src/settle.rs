//! Stage five: what was held for a request is settled exactly once, whatever happened to it.
//!
//! A [`Hold`] is made only here, takes money in tenant, project and key or in none, and tokens per minute in project and
//! key. It ends in [`Hold::settle`]; dropped otherwise it gives everything back, so that no path can leak a reservation.

use crate::refusal::Refusal;
use crate::scope::{RateShort, RateView, Scope};
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

impl Hold {
    /// Reserves money in every scope (tenant, project, key), or says which one has too little.
    pub fn reserve(scopes: [&Arc<Scope>; 3], price: &Price, bounds: Bounds, month: Month) -> Result<Hold, Refusal> {
        let amount = metering::bound(price, bounds.input_tokens, bounds.output_tokens);
        let mut hold = Hold { price: price.clone(), amount, money: Vec::with_capacity(3), tokens: Vec::new() };
        for scope in scopes {
            match scope.reserve(month, amount) {
                Ok(reservation) => hold.money.push((scope.clone(), reservation)),
                Err(short) => {
                    return Err(Refusal::new(
                        Code::BudgetExhausted,
                        format!(
                            "the budget of this {} for {month} has {} left, and this request could cost {amount}: \
                             ask for fewer tokens (max_tokens), or have the budget raised",
                            scope.id.noun(),
                            short.left,
                        ),
                    ));
                }
            }
        }
        Ok(hold)
    }

    /// Remembers tokens per minute that were taken, to give back what was not used.
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
            scope.give_back_tokens(taken.saturating_sub(used), now);
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
    }
}

/// Takes requests and tokens per minute in project and key.
pub fn take_rates(
    scopes: [&Arc<Scope>; 2],
    tokens: u64,
    now: u64,
) -> Result<(RateView, [u64; 2]), (Refusal, RateView)> {
    let [outer, inner] = scopes;
    let (outer_view, outer_taken) = outer.take_rates(tokens, now).map_err(|short| refuse(outer, short))?;
    match inner.take_rates(tokens, now) {
        Ok((inner_view, inner_taken)) => {
            let view = RateView {
                requests: inner_view.requests.or(outer_view.requests),
                tokens: inner_view.tokens.or(outer_view.tokens),
            };
            Ok((view, [outer_taken, inner_taken]))
        }
        Err(short) => {
            outer.give_back_request(now);
            outer.give_back_tokens(outer_taken, now);
            Err(refuse(inner, short))
        }
    }
}

fn refuse(scope: &Scope, short: RateShort) -> (Refusal, RateView) {
    let (what, hint, wait, view) = match short {
        RateShort::Requests(wait) => ("requests", "", wait, RateView { requests: Some(wait.remaining), tokens: None }),
        RateShort::Tokens(wait) => {
            let view = RateView { requests: None, tokens: Some(wait.remaining) };
            ("tokens", ", or set a smaller max_tokens: what a request could use is counted", wait, view)
        }
    };
    let refusal = Refusal::new(
        Code::RateLimited,
        format!(
            "this {} may use {} {what} a minute and has {} left: wait {} s{hint}",
            scope.id.noun(),
            wait.remaining.limit,
            wait.remaining.remaining,
            wait.seconds().max(1),
        ),
    )
    .retry_after(wait.seconds().max(1));
    (refusal, view)
}
