//! Stage three: which replica. Only replicas of permitted endpoints are looked at; then health, then where the prompt's
//! prefix is, against load (`docs/routing.md`). The price does not depend on how many replicas there are.
//!
//! A [`Routed`] is made only here and only from an [`Admitted`], and it is the only thing that the engine client takes:
//! nothing is dispatched that policy did not permit.

use crate::admit::Admitted;
use crate::edit::EngineEdit;
use crate::fields::Operation;
use crate::gateway::Gateway;
use crate::refusal::Refusal;
use crate::replica::{InFlight, Replica};
use crate::view::{EndpointEntry, Offer, Seat};
use bytes::Bytes;
use http::HeaderValue;
use routing::chain::BYTES_PER_TOKEN;
use routing::{Ask, Choice, Strategy};
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
    gateway: Arc<Gateway>,
    /// Its place in the verdict.
    place: Seat,
}

/// What was tried so far, before the first token.
#[derive(Default)]
pub struct Attempts {
    tried: routing::Attempts<Seat>,
    /// The prompt's blocks, hashed once.
    chain: Option<Vec<u64>>,
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
        let verdict = admitted.verdict();
        let prompt = &admitted.body()[admitted.fields().prompt_at.clone()];
        let seed = admitted.obligation().key.prefix_seed;
        let chain = self.chain.get_or_insert_with(|| match gateway.routing {
            Strategy::Prefix => routing::chain::of_bytes(seed, prompt),
            Strategy::RoundRobin | Strategy::LeastLoaded => Vec::new(),
        });
        let ask = Ask { chain, tokens: prompt.len() as u64 / BYTES_PER_TOKEN };
        let mut random = [0; 8];
        gateway.clock.random(&mut random);
        let mut random = u64::from_le_bytes(random);
        let next = self.tried.next(
            |out| {
                random = random.rotate_left(17);
                choose(&verdict.permitted, &ask, out, now, random)
            },
            || gateway.may_retry(now),
            |place| verdict.offer(place).is_some_and(|it| it.replica.breaker().try_pass(now)),
        );
        let Some((place, choice)) = next else { return Err(self.give_up()) };
        let Some(Offer { replica, .. }) = verdict.offer(place) else { return Err(self.give_up()) };
        let in_flight = replica.enter().at(verdict.permitted[place.0].0.fleet.send(&choice, &ask));
        gateway.metrics.routed(choice.cached_tokens, ask.tokens);
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
            in_flight,
            place,
            replica: replica.clone(),
            deadline,
            gateway: gateway.clone(),
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
        self.gateway.metrics.engine_misfit(status);
        self.replica.warn_of_misfit(status);
    }

    /// Names the place and the rules in the receipt that is being written.
    pub fn note(&self, admitted: &mut Admitted) {
        let (obligation, verdict) = admitted.obligation_and_verdict();
        if let Some(notes) = &mut obligation.trace {
            notes.attempts += 1;
        }
        if let Some(offer) = verdict.offer(self.place) {
            obligation.serve_at(offer);
        }
    }
}

/// The least cost over the permitted endpoints, nearly always one. Each looks at few of its replicas, however many it has.
fn choose(
    permitted: &[(Arc<EndpointEntry>, Arc<[String]>)],
    ask: &Ask<'_>,
    out: &[Seat],
    now: u64,
    random: u64,
) -> Option<(Seat, Choice)> {
    let mut best: Option<(Seat, Choice)> = None;
    for (at, (entry, _)) in permitted.iter().enumerate() {
        // Nothing is allocated where nothing was tried.
        let tried: Vec<u32> = out.iter().filter(|(of, _)| *of == at).map(|(_, slot)| *slot).collect();
        let Some(choice) = entry.fleet.choose(&entry.seats, ask, &tried, now, random) else { continue };
        // Among equals a coin: several gateways must not all begin with the same endpoint.
        let less = best.is_none_or(|(_, best)| {
            choice.cost < best.cost || choice.cost == best.cost && random >> (at % 64) & 1 == 1
        });
        if less {
            best = Some(((at, choice.slot), choice));
        }
    }
    best
}
