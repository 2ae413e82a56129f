//! Stage two: may this request run? Policy, rate limits and budget say yes, or the request is refused with the reason.
//!
//! The result is a witness: an [`Admitted`] cannot be made elsewhere, holds the money, and names the only endpoints that
//! routing may look at. Residency is part of the verdict, so no later stage can reach a foreign replica.

use crate::allowance::{self, Length};
use crate::fields::Fields;
use crate::gateway::Gateway;
use crate::idempotency::{Answer, Claim, Guard, Named};
use crate::lease;
use crate::receipt::Obligation;
use crate::receive::{Held, Received};
use crate::refusal::Refusal;
use crate::scope::{RateView, Scope};
use crate::settle::{Bounds, Hold, take_tokens};
use crate::view::Verdict;
use bytes::Bytes;
use std::sync::Arc;
use types::snapshot::Price;
use types::{Code, DataClass, Month};

/// A request that policy, limits and budget let through.
pub struct Admitted {
    obligation: Obligation,
    fields: Fields,
    body: Held,
    verdict: Arc<Verdict>,
    /// How long each choice of the answer may be.
    length: Length,
    rates: RateView,
    idempotency: Option<Guard>,
}

impl Admitted {
    pub fn obligation(&self) -> &Obligation {
        &self.obligation
    }

    pub fn obligation_and_verdict(&mut self) -> (&mut Obligation, &Verdict) {
        (&mut self.obligation, &self.verdict)
    }

    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    pub fn body(&self) -> &Bytes {
        &self.body.bytes
    }

    /// What the prompt is billed as if its engine never counts it.
    pub fn estimate_input(&mut self) {
        self.obligation.meter.estimate_input(&self.body.bytes[self.fields.prompt_at.clone()]);
    }

    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    pub fn length(&self) -> Length {
        self.length
    }

    /// The place of its idempotency key, if it names one.
    pub fn idempotency(&self) -> Option<&Guard> {
        self.idempotency.as_ref()
    }

    /// Another body in place of the one that it was admitted with: what a shell found is in it now. What it could cost is held
    /// anew, and what was held before goes back first, so that a budget which has room for one of the two suffices. Verdict, place
    /// among the rates and idempotency key stay.
    pub async fn grow(&mut self, body: Held) -> Result<(), Refusal> {
        let mut fields = Fields::parse(self.fields.operation, &body.bytes)?;
        if fields.model != self.fields.model {
            return Err(Refusal::new(Code::Internal, "a request changed its model on the way: it was not sent"));
        }
        fields.priority = self.fields.priority;
        self.obligation.hold = None;
        self.length = hold(&mut self.obligation, &fields, &self.verdict, &mut self.rates).await?;
        (self.fields, self.body) = (fields, body);
        Ok(())
    }

    /// What the answer still needs; the body is no longer held.
    pub fn into_rest(self) -> Rest {
        let Admitted { obligation, fields, rates, idempotency, .. } = self;
        Rest { obligation, fields, rates, idempotency }
    }
}

/// What is left of an [`Admitted`] when nothing more will be dispatched.
pub struct Rest {
    pub obligation: Obligation,
    pub fields: Fields,
    pub rates: RateView,
    pub idempotency: Option<Guard>,
}

/// Not admitted.
pub enum Turned {
    Refused(Box<(Obligation, Refusal, RateView)>),
    /// Answered before, under the same idempotency key. No new receipt: it is the same request.
    Replayed(Answer),
}

pub async fn admit(received: Received) -> Result<Admitted, Turned> {
    let Received { mut obligation, fields, body, idempotency, mut rates } = received;
    let (verdict, idempotency) = match judge(&mut obligation, &fields, idempotency) {
        Ok(judged) => judged,
        Err(No::Refused(refusal)) => return Err(Turned::Refused(Box::new((obligation, refusal, rates)))),
        Err(No::Replayed(answer)) => {
            obligation.void();
            return Err(Turned::Replayed(answer));
        }
    };
    match hold(&mut obligation, &fields, &verdict, &mut rates).await {
        Ok(length) => Ok(Admitted { obligation, fields, body, verdict, length, rates, idempotency }),
        Err(refusal) => Err(Turned::Refused(Box::new((obligation, refusal, rates)))),
    }
}

enum No {
    Refused(Refusal),
    Replayed(Answer),
}

impl From<Refusal> for No {
    fn from(refusal: Refusal) -> No {
        No::Refused(refusal)
    }
}

/// Policy first, then whether it was asked before.
fn judge(
    obligation: &mut Obligation,
    fields: &Fields,
    named: Option<Box<Named>>,
) -> Result<(Arc<Verdict>, Option<Guard>), No> {
    let gateway = obligation.gateway().clone();
    let (view, key) = (obligation.view.clone(), obligation.key.clone());
    let Some(model) = view.model(&fields.model) else {
        return Err(Refusal::new(
            Code::ModelNotFound,
            "there is no model of this name here: GET /v1/models lists those that this key may use",
        )
        .param("model")
        .into());
    };
    let verdict = view.verdict(&key, obligation.class, model);
    obligation.policy = Some(policy_claim(&verdict));
    if verdict.permitted.is_empty() || verdict.only_abroad() {
        gateway.metrics.refused_by(obligation.policy.as_ref().map_or(&[], |(_, rules)| rules));
        return Err(policy_refusal(&verdict, obligation.class, &fields.model, &key.project.country).into());
    }
    if let Some(refusal) = gateway.quarantine.held(obligation) {
        return Err(refusal.into());
    }
    // Behind the verdict: what policy refuses today is not answered from yesterday.
    let idempotency = match named {
        None => None,
        Some(named) => {
            let Named { key: name, request } = *named;
            match gateway.idempotency.claim(key.project.id, &name, request, gateway.clock.monotonic_millis())? {
                Claim::First(guard) => Some(guard),
                Claim::Replay(answer) => return Err(No::Replayed(answer)),
            }
        }
    };
    Ok((verdict, idempotency))
}

/// Holds tokens and money for what the request could use, and says how long its answer may be.
async fn hold(
    obligation: &mut Obligation,
    fields: &Fields,
    verdict: &Verdict,
    rates: &mut RateView,
) -> Result<Length, Refusal> {
    let gateway = obligation.gateway().clone();
    let (view, key) = (obligation.view.clone(), obligation.key.clone());
    let now = gateway.clock.monotonic_millis();
    let price = view.price(&fields.model).ok_or_else(|| {
        Refusal::new(
            Code::ReplicaUnavailable,
            "this model has no price yet: the operator sets one with `hoheit price set`",
        )
    })?;
    let (bounds, length) = allowance::bounds(fields, verdict);
    let tokens = bounds.input_tokens.saturating_add(bounds.output_tokens);
    let limited = [&key.scope_project, &key.scope_key];
    let (tokens_left, taken) = take_tokens(limited, tokens, now).map_err(|(refusal, left)| {
        rates.tokens = Some(left);
        refusal
    })?;
    rates.tokens = tokens_left;
    let scopes = [&key.scope_tenant, &key.scope_project, &key.scope_key];
    match reserve(&gateway, scopes, price, bounds, obligation.received_at.month()).await {
        Ok(mut hold) => {
            limited.into_iter().zip(taken).for_each(|(scope, taken)| hold.took_tokens(scope, taken));
            obligation.hold = Some(hold);
            obligation.meter = crate::meter::Meter::new(bounds.input_tokens, bounds.output_tokens);
        }
        Err(refusal) => {
            limited.into_iter().zip(taken).for_each(|(scope, taken)| scope.settle_tokens(taken, 0, now));
            return Err(refusal);
        }
    }
    Ok(length)
}

/// Holds the money. Where a scope's lease has too little the store is asked once; of three scopes each can be short.
async fn reserve(
    gateway: &Gateway,
    scopes: [&Arc<Scope>; 3],
    price: &Price,
    bounds: Bounds,
    month: Month,
) -> Result<Hold, Refusal> {
    for _ in scopes {
        match Hold::reserve(scopes, price, bounds, month) {
            Ok(hold) => return Ok(hold),
            Err(shortage) => lease::fetch(gateway, &shortage, month).await?,
        }
    }
    Hold::reserve(scopes, price, bounds, month).map_err(|shortage| shortage.refusal(month))
}

/// The receipt says which rules permitted, or which refused.
fn policy_claim(verdict: &Verdict) -> (bool, Arc<[String]>) {
    let permit = !verdict.permitted.is_empty() && !verdict.only_abroad();
    // One endpoint, as nearly always: its rules are sorted and shared.
    if let ([(_, rules)], true) = (verdict.permitted.as_slice(), permit) {
        return (permit, rules.clone());
    }
    let mut rules: Vec<String> = if permit {
        verdict.permitted.iter().flat_map(|(_, rules)| rules.iter().cloned()).collect()
    } else {
        verdict.refused.iter().flat_map(|(_, decision)| decision.rules.iter().cloned()).collect()
    };
    rules.sort_unstable();
    rules.dedup();
    (permit, rules.into())
}

/// Residency has no fallback: where every replica stands outside the project's country the answer is a typed 503, since
/// capacity is missing, not permission. Otherwise rules refused, and repeating does not help.
fn policy_refusal(verdict: &Verdict, class: DataClass, model: &str, country: &Option<types::Country>) -> Refusal {
    if let Some(country) = country
        && verdict.only_abroad()
    {
        return Refusal::new(
            Code::ResidencyUnavailable,
            format!(
                "this project's data stays in {country}, and no replica of this model stands there now: \
                 nothing was sent anywhere else"
            ),
        );
    }
    let mut rules: Vec<&str> =
        verdict.refused.iter().flat_map(|(_, decision)| decision.rules.iter().map(String::as_str)).collect();
    rules.sort_unstable();
    rules.dedup();
    Refusal::new(
        Code::PolicyRefused,
        format!(
            "no endpoint of {} may see {class} data of this project (decided by: {}): use another model, or see \
             `hoheit policy explain`",
            if model.len() > 64 { "this model" } else { model },
            rules.join(", "),
        ),
    )
}
