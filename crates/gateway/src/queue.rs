//! Between admit and route: where a request waits while every replica that may serve it is full.
//!
//! One queue per model, fair between tenants and interactive before batch (`routing::fair`). A request comes here only
//! when no slot is free, or when others wait already, whom it would pass by. It is let go in the queue's order when a slot
//! frees, with that slot: whoever frees one hands it to the next that it fits, so a freed slot wakes one waiting request
//! and no other request can take it meanwhile. It waits no longer than [`crate::limits::Limits::queue_wait_max`], its own
//! deadline and, for a stream, the time to its first token.
//!
//! No wake-up is lost: a request is counted as waiting before it looks at the slots once more, and a slot is free before
//! its giver looks at the count. Whoever leaves while it is let go gives the slot on in its destructor. Breakers close by
//! time, without anybody who would give a slot: so whoever waits looks again once in [`LOOK_EVERY`]. A look goes only to
//! replicas where something may have changed (`Fleet::with_room`): it costs the same at one full replica and at 2,000.
//!
//! What it is not: it limits no engine to less than its slots, and it knows of no other gateway: two of them have a queue
//! and the slots each.
//!
//! If we crash here: whoever waited has no intent and no answer, and its connection breaks. Nothing was reserved that
//! outlives the process.

use crate::admit::Admitted;
use crate::clock::Clock;
use crate::fleet::{Fleet, Seats};
use crate::limits::Limits;
use crate::receipt::Obligation;
use crate::refusal::Refusal;
use crate::replica::{InFlight, Replica};
use crate::times::Times;
use routing::fair::{self, Charge, Class, FairQueue, Full, SHARES_USUAL, Ticket, cost};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;
use types::{Code, EndpointId, TenantId, Usage};

/// A breaker that opens stays open for a second at least.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What a prompt's tokens are taken for until the engine has counted them: 4 bytes of English are a token.
const BYTES_PER_TOKEN: u64 = 4;

/// Who is turned away comes back after so many seconds: a slot of an engine with 256 that answers in ten seconds frees 25
/// times a second, so five seconds are 128 requests ahead.
const RETRY_AFTER_SECONDS: u64 = 5;

/// Endpoints that may serve a request: what a freed slot is compared with.
type Group = Arc<[EndpointId]>;
type Line = FairQueue<TenantId, Group, oneshot::Sender<Granted>>;

/// What all queues share.
struct Shared {
    clock: Arc<dyn Clock>,
    limits: fair::Limits,
    /// Requests that wait, in all queues: the one number that a request looks at that never waited.
    waiting: AtomicUsize,
    waits: Times,
}

/// The queues of all models.
pub struct Queues {
    shared: Arc<Shared>,
    /// In order, because they are gone through: who is let go first must not depend on a hash.
    by_model: Mutex<BTreeMap<String, Arc<Queue>>>,
}

/// The queue of one model.
pub struct Queue {
    shared: Arc<Shared>,
    line: Mutex<Line>,
    waiting: AtomicUsize,
}

/// A slot, handed over.
pub struct Granted {
    pub in_flight: InFlight,
    pub service: Service,
}

/// What a tenant is charged for a request that waited. Settled once; dropped otherwise, the request cost nothing.
pub struct Service {
    queue: Arc<Queue>,
    charge: Option<Charge<TenantId>>,
}

impl Queues {
    pub fn new(clock: Arc<dyn Clock>, limits: &Limits, waits: Times) -> Queues {
        let limits =
            fair::Limits { waiting_max: limits.queue_waiting_max, waiting_tenant_max: limits.queue_waiting_tenant_max };
        let shared = Arc::new(Shared { clock, limits, waiting: AtomicUsize::new(0), waits });
        Queues { shared, by_model: Mutex::default() }
    }

    /// The queue of a model, for the life of the process or until no view and no request knows it any more.
    pub fn get(&self, model: &str) -> Arc<Queue> {
        let mut by_model = self.by_model();
        if let Some(queue) = by_model.get(model) {
            return queue.clone();
        }
        by_model.retain(|_, queue| Arc::strong_count(queue) > 1);
        let queue = Arc::new(Queue {
            shared: self.shared.clone(),
            line: Mutex::new(FairQueue::new(self.shared.limits)),
            waiting: AtomicUsize::new(0),
        });
        by_model.insert(model.to_owned(), queue.clone());
        queue
    }

    fn by_model(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Queue>>> {
        self.by_model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests that wait, by class. For `/metrics`.
    pub fn waiting(&self) -> [usize; Class::ALL.len()] {
        let queues: Vec<_> = self.by_model().values().cloned().collect();
        let mut waiting = [0; 2];
        for queue in queues.iter().filter(|queue| queue.busy()) {
            let line = queue.line();
            Class::ALL.into_iter().for_each(|class| waiting[class as usize] += line.waiting(class));
        }
        waiting
    }

    /// Service of a request that never waited: counts against its tenant while others wait for the same model.
    pub fn note(&self, obligation: &Obligation, usage: &Usage) {
        if self.shared.waiting.load(Ordering::Relaxed) == 0 || !obligation.was_sent() {
            return;
        }
        let queue = self.by_model().get(&*obligation.model).cloned();
        if let Some(queue) = queue.filter(|queue| queue.busy()) {
            queue.line().note(obligation.key.tenant, SHARES_USUAL, cost(usage.input, usage.output));
        }
    }
}

impl Queue {
    /// Whether somebody waits, whom a newcomer would pass by.
    pub fn busy(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place. Whoever does looks at the slots once more then ([`Seat::look`]).
    fn sit(self: &Arc<Self>, tenant: TenantId, class: Class, group: Group, cost: u64) -> Result<Seat, Full> {
        let (sender, granted) = oneshot::channel();
        let mut line = self.line();
        let ticket = line.push(tenant, SHARES_USUAL, class, group, cost, sender).map_err(|(full, _)| full)?;
        self.count(&line);
        Ok(Seat { queue: self.clone(), ticket, since: Instant::now(), granted })
    }

    /// Under the lock, after each change.
    fn count(&self, line: &Line) {
        let (now, before) = (line.len(), self.waiting.load(Ordering::Relaxed));
        self.waiting.store(now, Ordering::SeqCst);
        match now >= before {
            true => self.shared.waiting.fetch_add(now - before, Ordering::SeqCst),
            false => self.shared.waiting.fetch_sub(before - now, Ordering::SeqCst),
        };
    }

    /// Hands the free slots of a replica to those that they fit, in the queue's order.
    pub fn fill(self: &Arc<Self>, replica: &Arc<Replica>) {
        if !self.busy() {
            return;
        }
        let now = self.shared.clock.monotonic_millis();
        let endpoint = replica.engine.endpoint;
        let fits = |group: &Group| group.contains(&endpoint);
        let mut line = self.line();
        // First whether somebody fits: a slot that was taken for nobody would be missed by whoever looks meanwhile.
        let mut slot = None;
        while slot.is_none() && line.fits(fits) {
            slot = replica.try_take(now);
            if slot.is_none() {
                break;
            }
            while let Some((charge, seat)) = line.pop(fits) {
                let Some(in_flight) = slot.take() else { break };
                let service = Service { queue: self.clone(), charge: Some(charge) };
                let Err(mut back) = seat.send(Granted { in_flight, service }) else { break };
                // Its request is gone and had not left the queue yet. Settled here: the lock is ours.
                if let Some(charge) = back.service.charge.take() {
                    line.settle(charge, 0);
                }
                slot = Some(back.in_flight);
            }
        }
        self.count(&line);
        drop(line);
        // Whoever is dropped with a slot looks at the queue again, so not under its lock.
        drop(slot);
    }
}

impl Service {
    /// What the request was, in place of what it was charged so far.
    pub fn settle(mut self, usage: &Usage) {
        self.end(cost(usage.input, usage.output));
    }

    fn end(&mut self, cost: u64) {
        if let Some(charge) = self.charge.take() {
            self.queue.line().settle(charge, cost);
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.end(0);
    }
}

/// A place in the queue. Dropped, it is free at once.
struct Seat {
    queue: Arc<Queue>,
    ticket: Ticket<TenantId, Group>,
    since: Instant,
    /// Dropped behind the seat: a slot that came at the last moment is given on.
    granted: oneshot::Receiver<Granted>,
}

impl Seat {
    /// Hands what is free at replicas that this request may go to, to those who wait, in the queue's order, until its own turn
    /// has come or nothing is free. Each turn lets somebody go or finds a replica shut.
    fn look<'a>(&mut self, fleets: impl IntoIterator<Item = (&'a Fleet, &'a Seats)>) -> Option<Granted> {
        for (fleet, seats) in fleets {
            while let Some(replica) = fleet.with_room(seats, self.queue.shared.clock.monotonic_millis()) {
                self.queue.fill(&replica);
                if let Ok(granted) = self.granted.try_recv() {
                    return Some(granted);
                }
            }
        }
        None
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut line = self.queue.line();
        drop(line.leave(&self.ticket));
        self.queue.count(&line);
        drop(line);
        let waited = i64::try_from(self.since.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.queue.shared.waits.observe_millis(waited);
    }
}

/// Waits for a slot of a replica that may serve this request.
pub async fn wait(admitted: &Admitted, deadline: Instant) -> Result<Granted, Refusal> {
    let limits = &admitted.obligation().gateway().limits;
    let permitted = &admitted.verdict().permitted;
    let Some((first, _)) = permitted.first() else { return Err(overloaded("no replica may serve this request")) };
    let queue = first.queue.clone();
    let since = Instant::now();
    let mut until = deadline.min(since + limits.queue_wait_max);
    if admitted.fields().stream {
        until = until.min(since + limits.first_token_timeout);
    }
    let mut seat = sit(&queue, admitted)?;
    loop {
        if let Some(granted) = seat.look(permitted.iter().map(|(entry, _)| (&*entry.fleet, &entry.seats))) {
            return Ok(granted);
        }
        let look = until.min(Instant::now() + LOOK_EVERY);
        match tokio::time::timeout_at(look, &mut seat.granted).await {
            Ok(Ok(granted)) => return Ok(granted),
            // The sender is in the queue as long as the seat is.
            Ok(Err(_)) => return Err(overloaded("the queue for this model was closed: try again")),
            Err(_) if look < until => {}
            Err(_) => break,
        }
    }
    let now = admitted.obligation().gateway().clock.monotonic_millis();
    let any = permitted.iter().flat_map(|(entry, _)| &entry.replicas).any(|replica| replica.serves(now));
    Err(match any {
        true => overloaded("every replica that may serve this is full, and none came free in time: try again later"),
        false => {
            Refusal::new(Code::ReplicaUnavailable, "no replica that may serve this works now: try again").retry_after(1)
        }
    })
}

fn sit(queue: &Arc<Queue>, admitted: &Admitted) -> Result<Seat, Refusal> {
    let group: Group = admitted.verdict().permitted.iter().map(|(entry, _)| entry.endpoint.id).collect();
    let input = admitted.body().len() as u64 / BYTES_PER_TOKEN;
    let seat = queue.sit(admitted.obligation().key.tenant, admitted.fields().priority, group, cost(input, 0));
    seat.map_err(|full| {
        overloaded(match full {
            Full::Tenant => {
                "as many requests of this tenant wait for this model as may: send fewer at once, or try again later"
            }
            Full::All => "as many requests wait for this model as may: try again later",
        })
    })
}

fn overloaded(message: &str) -> Refusal {
    Refusal::new(Code::EngineOverloaded, message).retry_after(RETRY_AFTER_SECONDS)
}

#[cfg(test)]
mod tests;
