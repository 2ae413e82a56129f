//! What a person may decide about a held machine. Drains and retirement are wishes in the spec, not here.

use super::{enter, legal};
use crate::machine::{Finding, Lifecycle, Machine, Release};
use types::UnixMillis;

/// Why a person's wish was not followed; theirs to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the machine is not held; there is nothing to release")]
    NotHeld,
    #[error("a machine in {0} cannot be sent to repair; an accepted one is drained instead")]
    NotRepairable(Lifecycle),
}

/// Findings that end with a new order: its stay begins anew.
const ORDER_ENDED: [&str; 2] = ["order_held", "order_cancelled"];

/// Lets a held machine go on: its clocks start anew, its work is begun anew. What is still wrong then holds it again.
pub fn release(machine: &Machine, by: &str, reason: &str, now: UnixMillis) -> Result<Machine, Refusal> {
    let hold = machine.hold.as_ref().ok_or(Refusal::NotHeld)?;
    let mut next = machine.clone();
    if ORDER_ENDED.contains(&hold.code.as_str()) {
        // Orders are unique under the entry: a new order needs a new one.
        next.entry += 1;
        next.since = now;
        next.attempt = 0;
    } else {
        next.attempt += 1;
    }
    next.released = Some(Release { code: hold.code.clone(), by: by.to_owned(), reason: reason.to_owned(), at: now });
    next.reason = format!("released from {} by {by}: {reason}", hold.code);
    next.hold = None;
    Ok(next)
}

/// Has a machine repaired that is not in service yet, for what holds it or for what the person says about a part.
pub fn send_to_repair(
    machine: &Machine,
    about: &str,
    by: &str,
    reason: &str,
    now: UnixMillis,
) -> Result<Machine, Refusal> {
    if machine.lifecycle == Lifecycle::Accepted || !legal(machine.lifecycle, Lifecycle::Repair) {
        return Err(Refusal::NotRepairable(machine.lifecycle));
    }
    let mut next = machine.clone();
    // A person who names a part has looked: it is exchanged. Else somebody looks at what holds it.
    let (code, about) = match &machine.hold {
        Some(hold) if about.is_empty() => (hold.code.as_str(), hold.about.as_str()),
        _ => ("by_person", about),
    };
    next.repair = Some(Finding::new(code, about, format!("sent to repair by {by}: {reason}"), now));
    let why = next.repair.as_ref().map_or_else(String::new, |repair| repair.text.clone());
    enter(&mut next, Lifecycle::Repair, why, false, now);
    Ok(next)
}
