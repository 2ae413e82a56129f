//! An instance: a project, once it is there.
//!
//! ```text
//! free ── PUT ──► ready ◄── fulfilled ── changing ◄── PATCH (by order) ── ready
//!   └──── PUT (by order) ──► ordered ── fulfilled ──► ready
//!                               └────── refused, or nobody came for a week ──► refused
//! any ── DELETE ──► ending (keys revoked, documents being destroyed) ──► tombstone
//! ```

use crate::slot::{Act, Next, Slot, Step};
use crate::{
    Answer, Change, InstanceParameters, MAINTENANCE, Named, POLLING_SECS_MAX, Plan, Provision, Refusal, SERVICE, Which,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use types::{OperationId, ProjectId, UnixMillis};

/// Ids for what a step may make; what it does not need is thrown away.
#[derive(Debug, Clone, Copy)]
pub struct Fresh {
    pub project: ProjectId,
    pub operation: OperationId,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    pub plan: Plan,
    pub parameters: InstanceParameters,
    /// What people call it.
    pub name: Option<String>,
}

/// As it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    pub asked: Asked,
    pub subaccount: String,
    pub organization: String,
    pub space: String,
    /// There once it is ready.
    pub project: Option<ProjectId>,
    pub state: State,
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum State {
    Ordered {
        operation: OperationId,
        at: UnixMillis,
    },
    /// The order came to nothing; a DELETE clears it away.
    Refused {
        operation: OperationId,
        why: String,
    },
    /// `operation` is the last that was by order, `failed` why it came to nothing.
    Ready {
        operation: Option<OperationId>,
        failed: Option<String>,
    },
    Changing {
        operation: OperationId,
        at: UnixMillis,
        to: Box<Asked>,
    },
    Ending,
}

impl State {
    pub const fn as_str(&self) -> &'static str {
        match self {
            State::Ordered { .. } => "ordered",
            State::Refused { .. } => "refused",
            State::Ready { .. } => "ready",
            State::Changing { .. } => "changing",
            State::Ending => "ending",
        }
    }
}

const LATE: &str = "Nobody fulfilled the order within a week. Ask the operator, and order again.";

impl Instance {
    /// What it is now: an order that nobody fulfilled in time has failed.
    pub fn at(&self, now: UnixMillis) -> Instance {
        let late = |at: UnixMillis| now.0.saturating_sub(at.0) >= POLLING_SECS_MAX * 1_000;
        let state = match &self.state {
            State::Ordered { operation, at } if late(*at) => {
                State::Refused { operation: *operation, why: LATE.to_owned() }
            }
            State::Changing { operation, at, .. } if late(*at) => {
                State::Ready { operation: Some(*operation), failed: Some(LATE.to_owned()) }
            }
            state => state.clone(),
        };
        Instance { state, ..self.clone() }
    }

    /// The order that runs.
    pub fn order(&self) -> Option<OperationId> {
        match &self.state {
            State::Ordered { operation, .. } | State::Changing { operation, .. } => Some(*operation),
            State::Refused { .. } | State::Ready { .. } | State::Ending => None,
        }
    }

    fn is_what(&self, ask: &Provision) -> bool {
        self.asked.plan == ask.plan
            && self.asked.parameters == ask.parameters
            && self.subaccount == ask.subaccount
            && self.organization == ask.organization
            && self.space == ask.space
    }

    fn become_(self, state: State) -> Instance {
        Instance { state, ..self }
    }
}

const ENDING: &str = "The instance is being deleted. Wait for the end of it.";

/// PUT.
pub fn provision(
    slot: &Slot<Instance>,
    ask: &Provision,
    fresh: Fresh,
    now: UnixMillis,
) -> Result<Step<Instance>, Refusal> {
    match slot.at(now) {
        Slot::Gone { .. } => Err(Refusal::deleted_just_now()),
        Slot::Held(held) => {
            let held = held.at(now);
            match &held.state {
                State::Ending => Err(Refusal::concurrent(ENDING)),
                _ if !held.is_what(ask) => Err(Refusal::conflict("an instance")),
                State::Ordered { operation, .. } => Ok(Step::same(Answer::accepted(*operation))),
                State::Refused { why, .. } => {
                    Err(Refusal::new(409, format!("{why} Delete the instance and order again under a new id.")))
                }
                State::Ready { .. } | State::Changing { .. } => Ok(Step::same(Answer::empty(200))),
            }
        }
        Slot::Free => {
            if ask.plan.by_order() && !ask.incomplete {
                return Err(Refusal::async_required());
            }
            let asked = Asked { plan: ask.plan, parameters: ask.parameters.clone(), name: ask.name.clone() };
            let (state, project, act, answer) = if ask.plan.by_order() {
                let state = State::Ordered { operation: fresh.operation, at: now };
                (state, None, Act::Nothing, Answer::accepted(fresh.operation))
            } else {
                let state = State::Ready { operation: None, failed: None };
                (state, Some(fresh.project), Act::Make, Answer::empty(201))
            };
            let made = Instance {
                asked,
                subaccount: ask.subaccount.clone(),
                organization: ask.organization.clone(),
                space: ask.space.clone(),
                project,
                state,
            };
            Ok(Step { next: Next::Held(made), act, answer: Ok(answer) })
        }
    }
}

/// PATCH.
pub fn update(
    slot: &Slot<Instance>,
    change: &Change,
    fresh: Fresh,
    now: UnixMillis,
) -> Result<Step<Instance>, Refusal> {
    let Slot::Held(held) = slot.at(now) else {
        return Err(Refusal::bad("There is no such instance (any more)."));
    };
    let held = held.at(now);
    if change.subaccount.as_ref().is_some_and(|subaccount| *subaccount != held.subaccount) {
        return Err(Refusal::bad("context: the instance belongs to another customer."));
    }
    let plan = change.plan.unwrap_or(held.asked.plan);
    let to = Asked {
        plan,
        parameters: held.asked.parameters.changed(plan, change.parameters.as_ref())?,
        name: change.name.clone().or(held.asked.name.clone()),
    };
    let operation = match &held.state {
        State::Ordered { .. } => return Err(Refusal::concurrent("The instance is still being made.")),
        State::Refused { why, .. } => return Err(Refusal::bad(format!("The instance was never made: {why}"))),
        State::Ending => return Err(Refusal::concurrent(ENDING)),
        State::Changing { operation, to: before, .. } => {
            return if **before == to {
                Ok(Step::same(Answer::accepted(*operation)))
            } else {
                Err(Refusal::concurrent("Another change of the instance waits for the operator."))
            };
        }
        State::Ready { operation, .. } => *operation,
    };
    if held.asked == to {
        return Ok(Step::same(Answer::empty(200)));
    }
    // Capacity is what needs a hand: another model, other replicas, or dedicated capacity at all.
    let capacity = |asked: &Asked| (asked.parameters.model.clone(), asked.parameters.replicas);
    if to.plan.by_order() && (held.asked.plan != to.plan || capacity(&held.asked) != capacity(&to)) {
        if !change.incomplete {
            return Err(Refusal::async_required());
        }
        let state = State::Changing { operation: fresh.operation, at: now, to: Box::new(to) };
        let answer = Answer::accepted(fresh.operation);
        return Ok(Step { next: Next::Held(held.become_(state)), act: Act::Nothing, answer: Ok(answer) });
    }
    let changed = Instance { asked: to, state: State::Ready { operation, failed: None }, ..held };
    Ok(Step { next: Next::Held(changed), act: Act::Change, answer: Ok(Answer::empty(200)) })
}

/// DELETE, the first half: after it no key works. Where `next` is held, [`ended`] follows once nothing of the project is left.
pub fn deprovision(slot: &Slot<Instance>, _named: &Named, now: UnixMillis) -> Step<Instance> {
    let held = match slot.at(now) {
        Slot::Held(held) => held,
        // Whatever comes late for this id comes to nothing.
        Slot::Free => return Step { next: Next::gone(now, None), act: Act::Nothing, answer: Err(Refusal::gone()) },
        Slot::Gone { operation, .. } => {
            return Step { next: Next::gone(now, operation), act: Act::Nothing, answer: Err(Refusal::gone()) };
        }
    };
    match held.project {
        None => Step { next: Next::gone(now, held.order()), act: Act::Nothing, answer: Ok(Answer::empty(200)) },
        Some(_) => {
            let ending = held.clone().become_(State::Ending);
            Step { next: Next::Held(ending), act: Act::End, answer: Ok(Answer::empty(200)) }
        }
    }
}

/// DELETE, the second half.
pub fn ended(slot: &Slot<Instance>, now: UnixMillis) -> Step<Instance> {
    match slot.at(now) {
        Slot::Held(Instance { state: State::Ending, .. }) => {
            Step { next: Next::gone(now, None), act: Act::Nothing, answer: Ok(Answer::empty(200)) }
        }
        // Somebody else did it, and nobody makes an instance before the tombstone's time is over.
        _ => Step::same(Answer::empty(200)),
    }
}

/// The operator did what was ordered. None: this order does not run (any more).
pub fn fulfil(slot: &Slot<Instance>, operation: OperationId, fresh: Fresh, now: UnixMillis) -> Option<Step<Instance>> {
    let Slot::Held(held) = slot.at(now) else { return None };
    let held = held.at(now);
    if held.order() != Some(operation) {
        return None;
    }
    let done = State::Ready { operation: Some(operation), failed: None };
    let (next, act) = match held.state.clone() {
        State::Ordered { .. } => (Instance { project: Some(fresh.project), state: done, ..held }, Act::Make),
        State::Changing { to, .. } => (Instance { asked: *to, state: done, ..held }, Act::Change),
        State::Refused { .. } | State::Ready { .. } | State::Ending => return None,
    };
    Some(Step { next: Next::Held(next), act, answer: Ok(Answer::empty(200)) })
}

/// The operator will not do what was ordered. None: this order does not run (any more).
pub fn refuse(slot: &Slot<Instance>, operation: OperationId, why: &str, now: UnixMillis) -> Option<Step<Instance>> {
    let Slot::Held(held) = slot.at(now) else { return None };
    let held = held.at(now);
    if held.order() != Some(operation) {
        return None;
    }
    let state = match held.state {
        State::Ordered { .. } => State::Refused { operation, why: why.to_owned() },
        _ => State::Ready { operation: Some(operation), failed: Some(why.to_owned()) },
    };
    Some(Step { next: Next::Held(held.become_(state)), act: Act::Nothing, answer: Ok(Answer::empty(200)) })
}

/// GET.
pub fn fetch(slot: &Slot<Instance>, which: &Which, now: UnixMillis) -> Result<Answer, Refusal> {
    let Slot::Held(held) = slot.at(now) else { return Err(Refusal::not_found()) };
    let held = held.at(now);
    match held.state {
        State::Changing { .. } => return Err(Refusal::concurrent("The instance is being changed.")),
        State::Ready { .. } if which.is(held.asked.plan) => {}
        _ => return Err(Refusal::not_found()),
    }
    Ok(Answer::new(
        200,
        json!({
            "service_id": SERVICE,
            "plan_id": held.asked.plan.id(),
            "parameters": held.asked.parameters,
            "maintenance_info": { "version": MAINTENANCE },
        }),
    ))
}

/// GET last_operation.
pub fn last_operation(slot: &Slot<Instance>, which: &Which, now: UnixMillis) -> Result<Answer, Refusal> {
    let named = which.operation.as_deref().filter(|operation| !operation.is_empty());
    let held = match slot.at(now) {
        Slot::Held(held) => held.at(now),
        // What the DELETE put an end to has failed; a DELETE that is polled has succeeded.
        Slot::Gone { operation: Some(operation), .. } if named == Some(operation.to_string().as_str()) => {
            return Ok(state("failed", "The instance was deleted meanwhile."));
        }
        Slot::Gone { .. } => return Err(Refusal::gone()),
        Slot::Free => return Err(Refusal::new(404, "There is no such instance.")),
    };
    let own = match &held.state {
        State::Ordered { operation, .. } | State::Refused { operation, .. } | State::Changing { operation, .. } => {
            Some(*operation)
        }
        State::Ready { operation, .. } => *operation,
        State::Ending => None,
    };
    if named.is_some() && named != own.map(|own| own.to_string()).as_deref() {
        return Err(Refusal::bad("operation: not the last one of this instance."));
    }
    Ok(match &held.state {
        State::Ordered { .. } => state("in progress", "Ordered; the operator reserves the capacity by hand."),
        State::Changing { .. } => {
            state("in progress", "The change is ordered; the instance goes on as it is until then.")
        }
        State::Ending => state("in progress", "The instance is being deleted."),
        State::Refused { why, .. } => state("failed", why),
        State::Ready { failed: None, .. } => state("succeeded", "The instance is there."),
        State::Ready { failed: Some(why), .. } => {
            let mut answer = state("failed", why);
            answer.body["instance_usable"] = json!(true);
            answer.body["update_repeatable"] = json!(true);
            answer
        }
    })
}

pub(crate) fn state(state: &str, description: &str) -> Answer {
    Answer::new(200, json!({ "state": state, "description": description }))
}
