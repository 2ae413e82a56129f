//! A binding: a key of the instance's project. Made and ended at once, so it has no operations of its own.
//!
//! Stored is how the key's secret is derived, not the secret: a repeated PUT and a GET answer the same credentials, and the
//! database alone opens nothing.

use crate::instance::{Instance, State, state};
use crate::slot::{Act, Next, Slot, Step};
use crate::{Answer, Bind, BindingParameters, Named, Refusal, Which};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use types::{KeyId, UnixMillis};

/// Bindings of one instance: an application each, and rotations of them.
pub const BINDINGS_MAX: u64 = 200;

/// Credentials should be renewed when a tenth of their life is left.
const RENEW_PART: i64 = 10;

/// What a step may make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreshBinding {
    pub key: KeyId,
    /// 32 random bytes, hex: goes into the key's secret.
    pub salt: String,
}

/// As it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    pub key: KeyId,
    pub salt: String,
    /// As the platform gave them, for comparison; and as they hold.
    asked: Option<BindingParameters>,
    pub parameters: BindingParameters,
    pub app: Option<String>,
    pub predecessor: Option<String>,
    pub made_at: UnixMillis,
    pub expires_at: Option<UnixMillis>,
}

impl Binding {
    fn is_what(&self, ask: &Bind) -> bool {
        let none = BindingParameters::default();
        let same = self.asked.as_ref().unwrap_or(&none) == ask.parameters.as_ref().unwrap_or(&none);
        same && self.app == ask.app && self.predecessor == ask.predecessor
    }

    /// The answer's body.
    pub fn body(&self, credentials: Value) -> Value {
        let mut body = json!({ "credentials": credentials });
        if let Some(expires_at) = self.expires_at {
            let renew = expires_at.0 - (expires_at.0 - self.made_at.0) / RENEW_PART;
            body["metadata"] = json!({ "expires_at": expires(expires_at), "renew_before": expires(UnixMillis(renew)) });
        }
        body
    }
}

/// A time as the specification writes it.
fn expires(at: UnixMillis) -> String {
    // `types::time` knows the month; its first day is found by going back to where the month changes, 30 steps at most.
    let month = at.month();
    let mut day = at.0.div_euclid(86_400_000);
    let start = |day: i64| UnixMillis(day * 86_400_000).month();
    let today = day;
    while start(day - 1) == month {
        day -= 1;
    }
    let secs = at.seconds().rem_euclid(86_400);
    format!("{month}-{:02}T{:02}:{:02}:{:02}.0Z", today - day + 1, secs / 3_600, secs / 60 % 60, secs % 60)
}

/// PUT. `predecessor` is what is stored under the id that the call names; `count` the instance's bindings.
pub fn bind(
    instance: &Slot<Instance>,
    slot: &Slot<Binding>,
    predecessor: Option<&Slot<Binding>>,
    count: u64,
    ask: &Bind,
    fresh: FreshBinding,
    now: UnixMillis,
) -> Result<Step<Binding>, Refusal> {
    let Slot::Held(instance) = instance.at(now) else {
        return Err(Refusal::bad("There is no such instance (any more)."));
    };
    let instance = instance.at(now);
    if instance.asked.plan != ask.plan {
        return Err(Refusal::bad("plan_id: the instance is of another plan."));
    }
    if ask.subaccount.as_ref().is_some_and(|subaccount| *subaccount != instance.subaccount) {
        return Err(Refusal::bad("context: the instance belongs to another customer."));
    }
    match &instance.state {
        State::Ordered { .. } => {
            return Err(Refusal::concurrent("The instance is still being made. Bind it when it is ready."));
        }
        State::Ending => return Err(Refusal::concurrent("The instance is being deleted.")),
        State::Refused { why, .. } => return Err(Refusal::bad(format!("The instance was never made: {why}"))),
        State::Ready { .. } | State::Changing { .. } => {}
    }
    match slot.at(now) {
        Slot::Held(held) if held.is_what(ask) => return Ok(Step::same(Answer::empty(200))),
        Slot::Held(_) => return Err(Refusal::conflict("a binding")),
        Slot::Gone { .. } => return Err(Refusal::deleted_just_now()),
        Slot::Free => {}
    }
    let inherited = match (&ask.predecessor, predecessor.map(|slot| slot.at(now))) {
        (None, _) => None,
        (Some(_), Some(Slot::Held(predecessor))) => Some(predecessor.parameters.clone()),
        (Some(_), _) => return Err(Refusal::bad("predecessor_binding_id: the instance has no such binding.")),
    };
    if count >= BINDINGS_MAX {
        return Err(Refusal::bad(format!("An instance has at most {BINDINGS_MAX} bindings. Delete some.")));
    }
    let parameters = ask.parameters.clone().or(inherited).unwrap_or_default();
    let made = Binding {
        key: fresh.key,
        salt: fresh.salt,
        asked: ask.parameters.clone(),
        expires_at: parameters.expires_at(now),
        parameters,
        app: ask.app.clone(),
        predecessor: ask.predecessor.clone(),
        made_at: now,
    };
    Ok(Step { next: Next::Held(made), act: Act::Make, answer: Ok(Answer::empty(201)) })
}

/// DELETE: the key ends, whatever the instance is doing.
pub fn unbind(slot: &Slot<Binding>, _named: &Named, now: UnixMillis) -> Step<Binding> {
    match slot.at(now) {
        Slot::Held(_) => Step { next: Next::gone(now, None), act: Act::End, answer: Ok(Answer::empty(200)) },
        Slot::Free | Slot::Gone { .. } => {
            Step { next: Next::gone(now, None), act: Act::Nothing, answer: Err(Refusal::gone()) }
        }
    }
}

/// GET: the binding to show.
pub fn fetch_binding<'a>(
    instance: &Slot<Instance>,
    slot: &'a Slot<Binding>,
    which: &Which,
    now: UnixMillis,
) -> Result<&'a Binding, Refusal> {
    match (instance.at(now), slot.at(now)) {
        (Slot::Held(instance), Slot::Held(held)) if which.is(instance.asked.plan) => Ok(held),
        _ => Err(Refusal::not_found()),
    }
}

/// GET last_operation: what was done at once is done.
pub fn last_operation_binding(slot: &Slot<Binding>, which: &Which, now: UnixMillis) -> Result<Answer, Refusal> {
    if which.operation.as_deref().is_some_and(|operation| !operation.is_empty()) {
        return Err(Refusal::bad("operation: bindings are made at once and have none."));
    }
    match slot.at(now) {
        Slot::Held(_) => Ok(state("succeeded", "The binding is there.")),
        Slot::Gone { .. } => Err(Refusal::gone()),
        Slot::Free => Err(Refusal::new(404, "There is no such binding.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.0Z"),
            (1_794_700_800_000, "2026-11-15T00:00:00.0Z"),
            (951_782_399_999, "2000-02-28T23:59:59.0Z"),
            (951_868_800_000, "2000-03-01T00:00:00.0Z"),
            (1_798_761_599_000, "2026-12-31T23:59:59.0Z"),
        ] {
            assert_eq!(expires(UnixMillis(millis)), text);
        }
    }
}
