//! The replicas of one endpoint as routing sees them: who sits in which slot, what each is thought to hold, how loaded it is.
//!
//! One per endpoint for as long as a view, a replica or a request holds it, so that a new snapshot forgets neither load nor
//! prefixes. A view keeps its own table of who sits where; a request only ever goes to a replica that its own view has.
//!
//! What it is not: it decides nothing (`routing::router` does) and permits nothing (admission did).

use crate::replica::Replica;
use routing::router::Options;
use routing::{Ask, Choice, Look, Router, Ticket};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use types::{EndpointId, EngineId};

/// A replica that is full is looked at again when one of its requests ends or its slots become more. After so long in any
/// case, so that no mistake of ours costs a replica for longer; a look at each of 2,000 that are all full is then 200 in a
/// second, whoever asks.
const FULL_MILLIS: u64 = 10_000;

/// Who sits where, as one view has it.
pub type Seats = Vec<Option<Arc<Replica>>>;

pub struct Fleet {
    inner: Mutex<Inner>,
}

struct Inner {
    router: Router,
    /// The engine of each slot.
    slots: Vec<Option<EngineId>>,
    /// And the slot of each engine.
    by_engine: HashMap<EngineId, u32>,
    /// Of the snapshot that they are from.
    version: u64,
}

/// A request's place in a replica's load, given back when it is dropped.
pub struct Place {
    fleet: Arc<Fleet>,
    ticket: Option<Ticket>,
}

impl Fleet {
    fn new(routing: Options) -> Fleet {
        let (router, slots, by_engine) = (Router::new(routing), Vec::new(), HashMap::new());
        Fleet { inner: Mutex::new(Inner { router, slots, by_engine, version: 0 }) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seats the replicas of a snapshot: who was here keeps the slot, who is new takes a free one. An older snapshot than the
    /// last changes nothing, and seats whom it knows.
    pub fn seat(&self, version: u64, replicas: &[Arc<Replica>]) -> Seats {
        let mut inner = self.inner();
        let by_id: HashMap<EngineId, &Arc<Replica>> = replicas.iter().map(|it| (it.engine.id, it)).collect();
        if version >= inner.version {
            inner.version = version;
            inner.arrange(replicas, &by_id);
        }
        let seat = |engine: &Option<EngineId>| engine.and_then(|id| by_id.get(&id).copied()).cloned();
        inner.slots.iter().map(seat).collect()
    }

    /// The best replica for this request, if any is open, was not tried and, where `slots_count`, has one free.
    pub fn choose(
        &self,
        seats: &Seats,
        ask: &Ask<'_>,
        tried: &[u32],
        slots_count: bool,
        now: u64,
        random: u64,
    ) -> Option<Choice> {
        self.inner().router.choose(ask, tried, now, random, look(seats, slots_count, now))
    }

    /// A replica that has a slot free and is open, if there is one. Who was found full is not looked at again before something
    /// changed there: the price does not depend on how many are full.
    pub fn with_room(&self, seats: &Seats, now: u64) -> Option<Arc<Replica>> {
        let slot = self.inner().router.any_open(now, now, look(seats, true, now))?;
        seats.get(slot as usize)?.clone()
    }

    /// A slot came free at this engine that nobody had a place for, or it has more of them.
    pub fn look_again(&self, engine: EngineId) {
        let mut inner = self.inner();
        if let Some(&slot) = inner.by_engine.get(&engine) {
            inner.router.look_again(slot);
        }
    }

    /// The request goes to the chosen replica.
    pub fn send(self: &Arc<Self>, choice: &Choice, ask: &Ask<'_>) -> Place {
        let ticket = self.inner().router.send(choice, ask);
        Place { fleet: self.clone(), ticket: Some(ticket) }
    }
}

/// Whether a replica of this view takes a request now.
fn look(seats: &Seats, slots_count: bool, now: u64) -> impl Fn(u32) -> Look {
    move |slot| {
        // Who came with a newer snapshot is not this request's.
        let Some(replica) = seats.get(slot as usize).and_then(Option::as_ref) else { return Look::ShutUntil(now) };
        if slots_count && !replica.has_room() {
            return Look::ShutUntil(now + FULL_MILLIS);
        }
        let breaker = replica.breaker();
        if breaker.available(now) { Look::Open } else { Look::ShutUntil(breaker.opens_at()) }
    }
}

impl Inner {
    fn arrange(&mut self, replicas: &[Arc<Replica>], by_id: &HashMap<EngineId, &Arc<Replica>>) {
        let before = self.slots.clone();
        for slot in &mut self.slots {
            *slot = slot.filter(|id| by_id.contains_key(id));
        }
        let mut seated: std::collections::HashSet<EngineId> = self.slots.iter().flatten().copied().collect();
        let mut free = 0;
        for id in replicas.iter().map(|replica| replica.engine.id).filter(|id| seated.insert(*id)) {
            while self.slots.get(free).is_some_and(Option::is_some) {
                free += 1;
            }
            match self.slots.get_mut(free) {
                Some(slot) => *slot = Some(id),
                None => self.slots.push(Some(id)),
            }
        }
        if self.slots != before {
            // The same name at every gateway.
            let name = |id: EngineId| routing::chain::mix((id.0 >> 64) as u64 ^ routing::chain::mix(id.0 as u64));
            let names: Vec<Option<u64>> = self.slots.iter().map(|slot| slot.map(name)).collect();
            self.router.set(&names);
            self.by_engine = self.slots.iter().zip(0..).filter_map(|(id, slot)| Some(((*id)?, slot))).collect();
        }
    }
}

impl Place {
    /// The first token came.
    pub fn read(&mut self) {
        if let Some(ticket) = &mut self.ticket {
            self.fleet.inner().router.first_token(ticket);
        }
    }

    /// The request is over. Whether its replica still sits where it sat.
    pub fn end(mut self) -> bool {
        self.ticket.take().is_some_and(|ticket| self.fleet.inner().router.done(ticket))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.fleet.inner().router.done(ticket);
        }
    }
}

/// All fleets by endpoint.
pub struct Fleets {
    routing: Options,
    by_id: Mutex<HashMap<EndpointId, Arc<Fleet>>>,
}

impl Fleets {
    pub fn new(routing: Options) -> Fleets {
        Fleets { routing, by_id: Mutex::default() }
    }

    pub fn get(&self, endpoint: EndpointId) -> Arc<Fleet> {
        let mut by_id = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        by_id.entry(endpoint).or_insert_with(|| Arc::new(Fleet::new(self.routing))).clone()
    }

    /// Forgets endpoints that no view, no replica and no request holds.
    pub fn forget(&self) {
        let mut by_id = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        by_id.retain(|_, fleet| Arc::strong_count(fleet) > 1);
    }

    /// Endpoints that are remembered.
    pub fn known(&self) -> usize {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::Replicas;
    use routing::Strategy;
    use types::snapshot::Engine;

    fn replicas(all: &Replicas, ids: &[u128]) -> Vec<Arc<Replica>> {
        let engine = |id| Engine {
            id: EngineId(id),
            endpoint: EndpointId(1),
            url: format!("http://127.0.0.1:{id}"),
            kind: Default::default(),
            model_alias: None,
            credential: None,
            cordoned: false,
            slots: 1,
        };
        let queues = crate::queue::Queues::new(
            Arc::new(crate::SystemClock::start()),
            &crate::Limits::default(),
            Default::default(),
        );
        // Of one queue in all: the replica that is known already stays.
        static QUEUE: std::sync::OnceLock<Arc<crate::queue::Queue>> = std::sync::OnceLock::new();
        static FLEET: std::sync::OnceLock<Arc<Fleet>> = std::sync::OnceLock::new();
        let queue = QUEUE.get_or_init(|| queues.get("m"));
        let fleet = FLEET.get_or_init(|| Arc::new(Fleet::new(Options::default())));
        ids.iter().map(|&id| all.get(&engine(id), queue, fleet).unwrap()).collect()
    }

    fn who(seats: &Seats) -> Vec<Option<u128>> {
        seats.iter().map(|seat| seat.as_ref().map(|replica| replica.engine.id.0)).collect()
    }

    #[test]
    fn who_stays_keeps_the_seat_and_an_old_snapshot_changes_nothing() {
        let (fleet, all) = (Arc::new(Fleet::new(Options::default())), Replicas::default());
        let ask = Ask { chain: &[1, 2, 3], tokens: 1_536 };
        let first = fleet.seat(5, &replicas(&all, &[1, 2, 3]));
        assert_eq!(who(&first), [Some(1), Some(2), Some(3)]);
        let second = fleet.seat(6, &replicas(&all, &[3, 4, 1, 5]));
        assert_eq!(who(&second), [Some(1), Some(4), Some(3), Some(5)]);
        // Built late from an older snapshot: nobody moves, who is not in it is not seen.
        assert_eq!(who(&fleet.seat(4, &replicas(&all, &[1, 2]))), [Some(1), None, None, None]);
        // A request of that view never goes to whom it does not know.
        let old = fleet.seat(4, &replicas(&all, &[1, 2]));
        for random in 0..20 {
            assert_eq!(fleet.choose(&old, &ask, &[], true, random, random).map(|choice| choice.slot), Some(0));
            assert_eq!(fleet.choose(&old, &ask, &[0], true, random, random), None);
        }
    }

    #[test]
    fn a_place_ends_with_the_request() {
        let (fleet, all) = (
            Arc::new(Fleet::new(Options { strategy: Strategy::LeastLoaded, ..Options::default() })),
            Replicas::default(),
        );
        let seats = fleet.seat(1, &replicas(&all, &[1, 2]));
        let ask = Ask { chain: &[], tokens: 1_000 };
        let choice = fleet.choose(&seats, &ask, &[], true, 0, 0).unwrap();
        let mut place = fleet.send(&choice, &ask);
        let busy = fleet.choose(&seats, &ask, &[1 - choice.slot], true, 0, 0).unwrap().cost;
        place.read();
        let read = fleet.choose(&seats, &ask, &[1 - choice.slot], true, 0, 0).unwrap().cost;
        drop(place);
        let free = fleet.choose(&seats, &ask, &[1 - choice.slot], true, 0, 0).unwrap().cost;
        assert!(busy > read && read > free, "{busy} {read} {free}");
    }
}
