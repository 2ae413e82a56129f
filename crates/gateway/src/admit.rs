//! Stage two: may this request run? Policy, rate limits and budget say yes, or the request is refused with the reason.
//!
//! The result is a witness: an [`Admitted`] cannot be made elsewhere, holds the money, and names the only endpoints that
//! routing may look at. Residency is part of the verdict, so no later stage can reach a foreign replica.

use crate::allowance::{self, Length};
use crate::fields::Fields;
use crate::idempotency::{Answer, Claim, Guard};
use crate::receipt::Obligation;
use crate::receive::Received;
use crate::refusal::Refusal;
use crate::scope::RateView;
use crate::settle::{Hold, take_rates};
use crate::view::Verdict;
use bytes::Bytes;
use std::sync::Arc;
use types::{Code, DataClass};

/// A request that policy, limits and budget let through.
pub struct Admitted {
    pub(crate) obligation: Obligation,
    pub(crate) fields: Fields,
    pub(crate) body: Bytes,
    pub(crate) verdict: Arc<Verdict>,
    /// How long each choice of the answer may be.
    pub(crate) length: Length,
    pub(crate) rates: RateView,
    pub(crate) idempotency: Option<Guard>,
}

/// Not admitted.
pub enum Turned {
    Refused(Box<(Obligation, Refusal, RateView)>),
    /// Answered before, under the same idempotency key. No new receipt: it is the same request.
    Replayed(Answer),
}

pub fn admit(received: Received) -> Result<Admitted, Turned> {
    let Received { mut obligation, fields, body, idempotency_key } = received;
    match judge(&mut obligation, &fields, &body, idempotency_key.as_deref()) {
        Ok(Judged { verdict, length, rates, idempotency }) => {
            Ok(Admitted { obligation, fields, body, verdict, length, rates, idempotency })
        }
        Err(No::Refused(refusal, rates)) => Err(Turned::Refused(Box::new((obligation, refusal, rates)))),
        Err(No::Replayed(answer)) => {
            obligation.void();
            Err(Turned::Replayed(answer))
        }
    }
}

struct Judged {
    verdict: Arc<Verdict>,
    length: Length,
    rates: RateView,
    idempotency: Option<Guard>,
}

enum No {
    Refused(Refusal, RateView),
    Replayed(Answer),
}

impl From<Refusal> for No {
    fn from(refusal: Refusal) -> No {
        No::Refused(refusal, RateView::default())
    }
}

fn judge(
    obligation: &mut Obligation,
    fields: &Fields,
    body: &Bytes,
    idempotency_key: Option<&str>,
) -> Result<Judged, No> {
    let gateway = obligation.gateway().clone();
    let (view, key) = (obligation.view.clone(), obligation.key.clone());
    if !gateway.accepts_work() {
        return Err(Refusal::new(Code::NotReady, "this gateway takes no new requests now: try again shortly")
            .retry_after(1)
            .into());
    }
    let now = gateway.clock.monotonic_millis();
    let idempotency = match idempotency_key {
        None => None,
        Some(name) => {
            let mut digest = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
            digest.update(fields.operation.path().as_bytes());
            digest.update(body);
            let request = digest.finish().as_ref().try_into().unwrap_or([0; 32]);
            match gateway.idempotency.claim(key.tenant, name, request, now)? {
                Claim::First(guard) => Some(guard),
                Claim::Replay(answer) => return Err(No::Replayed(answer)),
            }
        }
    };
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
        return Err(policy_refusal(&verdict, obligation.class, &fields.model, &key.project.country).into());
    }
    let price = view.price(&fields.model).ok_or_else(|| {
        Refusal::new(
            Code::ReplicaUnavailable,
            "this model has no price yet: the operator sets one with `hoheit price set`",
        )
    })?;
    let (bounds, length) = allowance::bounds(fields, &verdict);
    let tokens = bounds.input_tokens.saturating_add(bounds.output_tokens);
    let (rates, [project_taken, key_taken]) =
        take_rates([&key.scope_project, &key.scope_key], tokens, now).map_err(|(r, view)| No::Refused(r, view))?;
    let month = obligation.received_at.month();
    let scopes = [&key.scope_tenant, &key.scope_project, &key.scope_key];
    match Hold::reserve(scopes, price, bounds, month) {
        Ok(mut hold) => {
            hold.took_tokens(&key.scope_project, project_taken);
            hold.took_tokens(&key.scope_key, key_taken);
            obligation.hold = Some(hold);
            obligation.meter = crate::meter::Meter::new(bounds.input_tokens, bounds.output_tokens);
        }
        Err(refusal) => {
            key.scope_project.give_back_tokens(project_taken, now);
            key.scope_key.give_back_tokens(key_taken, now);
            return Err(No::Refused(refusal, rates));
        }
    }
    Ok(Judged { verdict, length, rates, idempotency })
}

/// The receipt says which rules permitted, or which refused.
fn policy_claim(verdict: &Verdict) -> (bool, Vec<String>) {
    let permit = !verdict.permitted.is_empty() && !verdict.only_abroad();
    let mut rules: Vec<String> = if permit {
        verdict.permitted.iter().flat_map(|(_, rules)| rules.iter().cloned()).collect()
    } else {
        verdict.refused.iter().flat_map(|(_, decision)| decision.rules.iter().cloned()).collect()
    };
    rules.sort_unstable();
    rules.dedup();
    (permit, rules)
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
