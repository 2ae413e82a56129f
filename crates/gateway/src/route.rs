//! Stage three: which replica. Only replicas of permitted endpoints are looked at; then health, then load.
//!
//! A [`Routed`] is made only here and only from an [`Admitted`], and it is the only thing that the engine client takes:
//! nothing is dispatched that policy did not permit.

use crate::admit::Admitted;
use crate::edit::EngineEdit;
use crate::fields::Operation;
use crate::metrics::Metrics;
use crate::refusal::Refusal;
use crate::replica::{InFlight, Replica};
use bytes::Bytes;
use http::HeaderValue;
use routing::ReplicaView;
use std::sync::Arc;
use tokio::time::Instant;
use types::{Code, ReceiptId};

/// One attempt at one replica.
pub struct Routed {
    pub(crate) replica: Arc<Replica>,
    pub(crate) body: Bytes,
    pub(crate) operation: Operation,
    /// Sent along, so that an operator finds the request of a receipt in the engine's log.
    pub(crate) receipt: ReceiptId,
    /// The same for its traces, if anybody asked for them.
    pub(crate) traceparent: Option<HeaderValue>,
    pub(crate) in_flight: InFlight,
    /// The request's, not the attempt's.
    pub(crate) deadline: Instant,
    metrics: Metrics,
    /// Its place in the verdict.
    place: usize,
}

/// What was tried so far, before the first token.
#[derive(Default)]
pub struct Attempts {
    tried: routing::Attempts,
    /// When the whole answer must be there, whichever attempt gives it.
    deadline: Option<Instant>,
    /// The last failure, answered when nothing is left to try.
    pub last: Option<Refusal>,
}

impl Attempts {
    /// The next attempt, or the refusal that ends the request.
    pub fn next(&mut self, admitted: &Admitted) -> Result<Routed, Refusal> {
        let gateway = admitted.obligation().gateway();
        let now = gateway.clock.monotonic_millis();
        let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + gateway.limits.total_timeout);
        let places = &admitted.verdict().places;
        let views: Vec<ReplicaView> = places
            .iter()
            .map(|place| ReplicaView {
                in_flight: place.replica.in_flight(),
                available: place.replica.breaker().available(now),
            })
            .collect();
        let mut random = [0; 8];
        gateway.clock.random(&mut random);
        let chosen = self.tried.next(
            &views,
            u64::from_le_bytes(random),
            || gateway.may_retry(now),
            |at| places[at].replica.breaker().try_pass(now),
        );
        let Some(place) = chosen else { return Err(self.give_up()) };
        let replica = &places[place].replica;
        let engine = &replica.engine;
        let edit = EngineEdit {
            kind: engine.kind,
            model_alias: engine.model_alias.as_deref(),
            length: admitted.length(),
            cache_salt: &admitted.obligation().key.cache_salt,
        };
        Ok(Routed {
            body: admitted.fields().for_engine(admitted.body(), &edit),
            operation: admitted.fields().operation,
            receipt: admitted.obligation().id,
            traceparent: admitted.obligation().trace.as_ref().and_then(|it| it.for_engine(admitted.obligation().id)),
            in_flight: replica.enter(),
            place,
            replica: replica.clone(),
            deadline,
            metrics: gateway.metrics.clone(),
        })
    }

    fn give_up(&mut self) -> Refusal {
        self.last.take().unwrap_or_else(|| {
            Refusal::new(
                Code::ReplicaUnavailable,
                "policy permits an endpoint for this request, but none of its replicas can take it now: try again",
            )
            .retry_after(1)
        })
    }
}

impl Routed {
    /// The engine turns this gateway away: counted, and said to the operator.
    pub(crate) fn note_misfit(&self, status: u16) {
        self.metrics.engine_misfit(status);
        self.replica.warn_of_misfit(status);
    }

    /// Names the place and the rules in the receipt that is being written.
    pub fn note(&self, admitted: &mut Admitted) {
        let (obligation, verdict) = admitted.obligation_and_verdict();
        if let Some(notes) = &mut obligation.trace {
            notes.attempts += 1;
        }
        obligation.serve_at(&verdict.places[self.place]);
    }
}
