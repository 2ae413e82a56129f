//! What becomes of an attempt that gave no answer: its replica learns from it, its request may be held back, and it is
//! told apart from its request, with which it shares the receipt's id: a line in the log, a span of its own, and what the
//! engine spent on it in the operator's count. The tenant pays for the attempt that answered, and for no other.
//!
//! Lines are for debugging (`HOHEIT_LOG=gateway::attempt=debug`): what an engine answers a client can provoke, and nobody
//! may fill our disk with it.

use crate::admit::Admitted;
use crate::dispatch::Failure;
use crate::refusal::Refusal;
use crate::route::Routed;
use types::Code;

/// What is next.
pub enum Next {
    /// Another replica may do better.
    Again(Refusal),
    Enough(Refusal),
}

/// An attempt ended without an answer.
pub fn failed(admitted: &mut Admitted, routed: Routed, number: usize, failure: Failure) -> Next {
    let gateway = admitted.obligation().gateway().clone();
    let now = gateway.clock.monotonic_millis();
    let Failure { refusal, report, retry, rest_seconds, breaks, spent, .. } = failure;
    let Routed { in_flight, replica, .. } = routed;
    tracing::debug!(
        receipt = %admitted.obligation().id,
        attempt = number,
        engine = %replica.engine.id,
        code = refusal.code.as_str(),
        "an attempt gave no answer"
    );
    if let Some(notes) = &mut admitted.obligation_and_verdict().0.trace {
        notes.attempt_fails(refusal.code, gateway.clock.now());
    }
    gateway.metrics.attempt_wasted(spent);
    if let Some(seconds) = rest_seconds {
        replica.breaker().rest(seconds.saturating_mul(1_000), now);
    }
    let obligation = admitted.obligation();
    if breaks && in_flight.was_steady() {
        gateway.quarantine.strike(obligation);
    }
    match refusal.code {
        // We hang up on an engine that may still be at work.
        Code::EngineTimeout => in_flight.cut(report, now),
        _ => in_flight.report(report, now),
    }
    match gateway.quarantine.held(obligation) {
        Some(held) if breaks => Next::Enough(held),
        _ if retry => Next::Again(*refusal),
        _ => Next::Enough(*refusal),
    }
}

/// An engine begins to answer.
pub fn answered(admitted: &Admitted, routed: &Routed, number: usize) {
    tracing::debug!(
        receipt = %admitted.obligation().id,
        attempt = number,
        engine = %routed.replica.engine.id,
        "an attempt answers"
    );
}
