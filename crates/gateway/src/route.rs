//! Stage three: which replica. Only replicas of permitted endpoints are looked at; then health, then where the prompt's
//! prefix is, against load (`docs/routing.md`). The price does not depend on how many replicas there are.
//!
//! If all of them are full, or others wait for the same model already, the request waits its turn (`queue`) and gets the
//! slot that it was let go with. An attempt that follows a failed one has had its turn: it waits no more and may go past
//! an engine's slots; the retry budget keeps such attempts to a fifth.
//!
//! A [`Routed`] is made only here and only from an [`Admitted`], and it is the only thing that the engine client takes:
//! nothing is dispatched that policy did not permit.

use crate::admit::Admitted;
use crate::edit::EngineEdit;
use crate::fields::Operation;
use crate::gateway::Gateway;
use crate::queue::{self, Granted};
use crate::refusal::Refusal;
use crate::replica::{InFlight, Replica};
use crate::view::{EndpointEntry, Offer, Seat, Verdict, offer};
use bytes::Bytes;
use http::HeaderValue;
use routing::chain::BYTES_PER_TOKEN;
use routing::{Ask, Choice, Strategy};
use std::sync::Arc;
use std::time::Duration;
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
    /// In the queue, which counts as waiting for the first token.
    pub(crate) waited: Duration,
    gateway: Arc<Gateway>,
    place: Standing,
}

/// Where in the verdict its replica stands, or what stands for one that came after it.
enum Standing {
    At(Seat),
    Late(Box<Offer>),
}

/// Why there is no attempt at once.
enum Stop {
    /// Every replica that could serve it is full, or others wait.
    Full,
    End(Box<Refusal>),
}

/// What was tried so far, before the first token.
#[derive(Default)]
pub struct Attempts {
    tried: routing::Attempts<Seat>,
    /// The prompt's blocks, hashed once.
    chain: Option<Vec<u64>>,
    /// When the whole answer must be there, whichever attempt gives it.
    deadline: Option<Instant>,
    waited: Duration,
    /// The last failure, answered when nothing is left to try.
    pub last: Option<Refusal>,
}

impl Attempts {
    /// How many were sent so far.
    pub fn sent(&self) -> usize {
        self.tried.sent()
    }

    /// The next attempt, or the refusal that ends the request. The first waits for a slot if it must.
    pub async fn next(&mut self, admitted: &mut Admitted) -> Result<Routed, Refusal> {
        let gateway = admitted.obligation().gateway();
        let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + gateway.limits.total_timeout);
        match self.at_once(admitted, deadline) {
            Ok(routed) => Ok(routed),
            Err(Stop::End(refusal)) => Err(*refusal),
            Err(Stop::Full) => {
                let since = Instant::now();
                // In a box: requests that need not wait carry nothing of it.
                let Granted { in_flight, service } = Box::pin(queue::wait(admitted, deadline)).await?;
                self.waited = since.elapsed();
                // What was full a while ago may be tried again.
                self.tried = routing::Attempts::default();
                let routed = self.granted(admitted, in_flight, deadline);
                admitted.obligation_and_verdict().0.service = Some(service);
                routed
            }
        }
    }

    fn at_once(&mut self, admitted: &Admitted, deadline: Instant) -> Result<Routed, Stop> {
        let gateway = admitted.obligation().gateway();
        let verdict = admitted.verdict();
        let first = self.tried.sent() == 0;
        if first && verdict.permitted.iter().any(|(entry, _)| entry.queue.busy()) {
            return Err(Stop::Full);
        }
        let now = gateway.clock.monotonic_millis();
        let ask = ask(&mut self.chain, admitted);
        let mut random = [0; 8];
        gateway.clock.random(&mut random);
        let mut random = u64::from_le_bytes(random);
        let mut held = None;
        let next = self.tried.next(
            |out| {
                random = random.rotate_left(17);
                let best = choose(&verdict.permitted, &ask, out, first, now, random);
                if first { best } else { best.or_else(|| any(verdict, out, now)) }
            },
            || gateway.may_retry(now),
            |seat| {
                let take = |it: &Offer| if first { it.replica.try_take(now) } else { it.replica.take_for_retry(now) };
                held = verdict.offer(seat).and_then(take);
                held.is_some()
            },
        );
        let Some(((seat, choice), in_flight)) = next.zip(held) else {
            let mut replicas = verdict.permitted.iter().flat_map(|(entry, _)| &entry.replicas);
            return Err(match first && replicas.any(|replica| replica.serves(now)) {
                true => Stop::Full,
                false => Stop::End(Box::new(self.give_up(rests(verdict, now)))),
            });
        };
        let in_flight = in_flight.at(verdict.permitted[seat.0].0.fleet.send(&choice, &ask));
        gateway.metrics.routed(choice.cached_tokens, ask.tokens);
        Ok(self.routed(admitted, Standing::At(seat), in_flight, deadline))
    }

    /// The attempt with a slot that the queue handed over: of a replica of a permitted endpoint, and perhaps of one that
    /// came after this request's view was taken.
    fn granted(&mut self, admitted: &Admitted, in_flight: InFlight, deadline: Instant) -> Result<Routed, Refusal> {
        let engine = &in_flight.replica().engine;
        let verdict = admitted.verdict();
        let seat = verdict.seat_of(engine.id);
        self.tried.sent_to(seat);
        let Some(seat) = seat else {
            let found = verdict.permitted.iter().find(|(entry, _)| entry.endpoint.id == engine.endpoint);
            let Some((entry, rules)) = found else { return Err(self.give_up(None)) };
            let late = Standing::Late(Box::new(offer(entry, rules, in_flight.replica())));
            return Ok(self.routed(admitted, late, in_flight, deadline));
        };
        let ask = ask(&mut self.chain, admitted);
        // Where it goes was decided by whose turn it was, not by what the replica holds.
        let choice = Choice { slot: seat.1, cached_tokens: 0, cost: 0 };
        let in_flight = in_flight.at(verdict.permitted[seat.0].0.fleet.send(&choice, &ask));
        Ok(self.routed(admitted, Standing::At(seat), in_flight, deadline))
    }

    fn routed(&self, admitted: &Admitted, place: Standing, in_flight: InFlight, deadline: Instant) -> Routed {
        let gateway = admitted.obligation().gateway();
        let replica = in_flight.replica().clone();
        let engine = &replica.engine;
        let edit = EngineEdit {
            kind: engine.kind,
            model_alias: engine.model_alias.as_deref(),
            length: admitted.length(),
            cache_salt: &admitted.obligation().key.cache_salt,
        };
        Routed {
            body: admitted.fields().for_engine(admitted.body(), &edit),
            operation: admitted.fields().operation,
            receipt: admitted.obligation().id,
            traceparent: admitted
                .obligation()
                .trace
                .as_ref()
                .and_then(|it| it.for_engine(admitted.obligation().id, self.tried.sent())),
            in_flight,
            place,
            replica,
            deadline,
            waited: self.waited,
            gateway: gateway.clone(),
        }
    }

    /// `rests`: the least time for which a full replica wants to be left alone.
    fn give_up(&mut self, rests: Option<u64>) -> Refusal {
        if let Some(millis) = rests
            && self.last.as_ref().is_none_or(|last| last.code == Code::EngineOverloaded)
        {
            return full(millis.div_ceil(1_000));
        }
        self.last.take().unwrap_or_else(|| {
            Refusal::new(
                Code::ReplicaUnavailable,
                "policy permits an endpoint for this request, but none of its replicas can take it now: try again",
            )
            .retry_after(1)
        })
    }
}

/// Everybody is full, and the first of them takes work again after so many seconds.
pub(crate) fn full(seconds: u64) -> Refusal {
    Refusal::new(Code::EngineOverloaded, "every engine that may serve this request is full: try again later")
        .retry_after(seconds)
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
        if obligation.trace.is_some() {
            let now = obligation.gateway().clock.now();
            let notes = obligation.trace.iter_mut();
            notes.for_each(|notes| notes.attempt_begins(self.replica.engine.id, now));
        }
        let stands = match &self.place {
            Standing::At(seat) => verdict.offer(*seat),
            Standing::Late(offer) => Some(&**offer),
        };
        if let Some(offer) = stands {
            obligation.serve_at(offer);
        }
    }
}

/// The least time for which a full replica still wants to be left alone. Only asked when nobody can be sent to.
fn rests(verdict: &Verdict, now: u64) -> Option<u64> {
    let replicas = verdict.permitted.iter().flat_map(|(entry, _)| &entry.replicas);
    replicas.filter_map(|replica| replica.breaker().resting_millis(now)).min()
}

/// The least cost over the permitted endpoints, nearly always one. Each looks at few of its replicas, however many it has.
fn choose(
    permitted: &[(Arc<EndpointEntry>, Arc<[String]>)],
    ask: &Ask<'_>,
    out: &[Seat],
    slots_count: bool,
    now: u64,
    random: u64,
) -> Option<(Seat, Choice)> {
    let mut best: Option<(Seat, Choice)> = None;
    for (at, (entry, _)) in permitted.iter().enumerate() {
        // Nothing is allocated where nothing was tried.
        let tried: Vec<u32> = out.iter().filter(|(of, _)| *of == at).map(|(_, slot)| *slot).collect();
        let Some(choice) = entry.fleet.choose(&entry.seats, ask, &tried, slots_count, now, random) else { continue };
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

fn ask<'a>(chain: &'a mut Option<Vec<u64>>, admitted: &Admitted) -> Ask<'a> {
    let (gateway, key) = (admitted.obligation().gateway(), &admitted.obligation().key);
    let prompt = &admitted.body()[admitted.fields().prompt_at.clone()];
    let chain = chain.get_or_insert_with(|| match gateway.routing.strategy {
        Strategy::Prefix => routing::chain::of_bytes(key.prefix_seed, prompt),
        Strategy::RoundRobin | Strategy::LeastLoaded => Vec::new(),
    });
    Ask { chain, tokens: prompt.len() as u64 / BYTES_PER_TOKEN }
}

/// Any replica that serves, full or not: routing does not look at those that it found full.
fn any(verdict: &Verdict, out: &[Seat], now: u64) -> Option<(Seat, Choice)> {
    let replicas = verdict.permitted.iter().flat_map(|(entry, _)| &entry.replicas);
    let seats = replicas.filter(|replica| replica.serves(now)).filter_map(|it| verdict.seat_of(it.engine.id));
    let seat = seats.into_iter().find(|seat| !out.contains(seat))?;
    Some((seat, Choice { slot: seat.1, cached_tokens: 0, cost: 0 }))
}
