//! A running engine as the gateway sees it: where it is, how many requests it holds, whether its breaker is closed.
//! One per engine id for as long as a snapshot in force names it or a request holds it, so that a new snapshot does not
//! forget that an engine is failing.

use crate::fields::Operation;
use crate::fleet::{Fleet, Place};
use crate::pool::PoolKey;
use crate::queue::Queue;
use routing::Breaker;
use routing::breaker::Pass;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use types::EngineId;
use types::snapshot::Engine;

pub struct Replica {
    pub engine: Engine,
    /// Where its connections lead, and how they are told apart from those to an address that it had before.
    pub address: http::Uri,
    pub pool_key: PoolKey,
    pub host: http::HeaderValue,
    /// The paths of its operations, parsed once.
    targets: [http::Uri; Operation::ALL.len()],
    pub authorization: Option<http::HeaderValue>,
    /// The status of the last misfit that the log names.
    misfit: AtomicU16,
    /// Where requests wait for its slots: its model's.
    queue: Arc<Queue>,
    /// Its endpoint's, which looks at it again when something changes here.
    fleet: Arc<Fleet>,
    live: Arc<Live>,
    /// How often somebody looked whether it has room.
    #[cfg(test)]
    pub looks: AtomicU32,
}

/// What outlives a change of the engine's record.
struct Live {
    pool_key: PoolKey,
    in_flight: AtomicU32,
    /// As the snapshot in force has it; none if it is cordoned or gone.
    slots: AtomicU32,
    /// Of the requests that it holds, those that nobody waits for.
    lingering: AtomicU32,
    /// Nothing has failed since the last success.
    steady: AtomicBool,
    breaker: Mutex<Breaker>,
}

/// How many given-up requests of one replica are waited for at once. Beyond that it is loaded in any case: 256 is what a
/// large engine works on at a time.
const LINGERING_MAX: u32 = 256;

/// Holds one slot of a replica for as long as it lives, and tells the replica's breaker how its request ended. Then the
/// slot goes to whoever waits for it. Dropped without a report (the client left, the gateway had no room) it says that
/// there was nothing to learn, so that a breaker that waits for its probe does not wait in vain.
///
/// Of an engine that does not stop when it is hung up on ([`types::snapshot::EngineKind::works_on`]) a request that was cut
/// holds its slot for as long as its work may go on: the next one sees the load that is really there.
pub struct InFlight {
    replica: Arc<Replica>,
    slot: Option<Slot>,
    /// The breaker's: reports of requests that passed before it opened are not heard.
    pass: Pass,
    steady: bool,
    /// The engine has been asked.
    sent: AtomicBool,
    /// The first token was there.
    speaks: bool,
}

/// A slot, and its place in the load that routing knows.
struct Slot {
    replica: Arc<Replica>,
    place: Option<Place>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.replica.live.in_flight.fetch_sub(1, Ordering::SeqCst);
        // Behind the report, so that routing looks again at a replica that it had found shut.
        if !self.place.take().is_some_and(Place::end) {
            self.replica.fleet.look_again(self.replica.engine.id);
        }
        self.replica.queue.fill(&self.replica);
    }
}

/// A slot that only its engine still works in.
struct Lingering(Slot);

impl Drop for Lingering {
    fn drop(&mut self) {
        self.0.replica.live.lingering.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why a URL is not an engine's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an engine's URL is http://host:port or https://host:port, without a path beyond a prefix")]
pub struct UrlError;

impl Replica {
    /// Takes a slot past the limit, if the breaker lets a request pass.
    pub fn take_for_retry(self: &Arc<Self>, now: u64) -> Option<InFlight> {
        let pass = self.breaker().try_pass(now)?;
        self.live.in_flight.fetch_add(1, Ordering::SeqCst);
        Some(InFlight::of(self, pass))
    }

    /// Takes a slot, if one is free and the breaker lets a request pass.
    ///
    /// The orders are the queue's: of a request that waits and finds no slot, and whoever frees one and finds nobody
    /// waiting, one must see the other.
    pub fn try_take(self: &Arc<Self>, now: u64) -> Option<InFlight> {
        self.note_look();
        let slots = self.live.slots.load(Ordering::Relaxed);
        let below = |taken: u32| (taken < slots).then_some(taken + 1);
        self.live.in_flight.fetch_update(Ordering::SeqCst, Ordering::SeqCst, below).ok()?;
        let pass = self.breaker().try_pass(now);
        if pass.is_none() {
            self.live.in_flight.fetch_sub(1, Ordering::SeqCst);
            // Somebody may have found it full meanwhile.
            self.fleet.look_again(self.engine.id);
        }
        pass.map(|pass| InFlight::of(self, pass))
    }

    #[cfg(test)]
    fn note_look(&self) {
        self.looks.fetch_add(1, Ordering::Relaxed);
    }

    #[cfg(not(test))]
    fn note_look(&self) {}

    pub fn has_room(&self) -> bool {
        self.note_look();
        self.in_flight() < self.live.slots.load(Ordering::Relaxed)
    }

    /// Whether it would serve a request, had it room.
    pub fn serves(&self, now: u64) -> bool {
        self.live.slots.load(Ordering::Relaxed) > 0 && self.breaker().available(now)
    }

    pub fn in_flight(&self) -> u32 {
        self.live.in_flight.load(Ordering::SeqCst)
    }

    pub fn breaker(&self) -> std::sync::MutexGuard<'_, Breaker> {
        self.live.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the operator, once for each state of the engine's record: a tenant can repeat what the engine turns away.
    pub fn warn_of_misfit(&self, status: u16) {
        if self.misfit.swap(status, Ordering::Relaxed) != status {
            tracing::warn!(
                engine = %self.engine.id,
                status,
                "an engine turns this gateway away: check its credential (401, 403), its model name and URL (404)"
            );
        }
    }

    /// What a request line names, such as `/v1/chat/completions` behind the engine's own prefix.
    pub fn target(&self, operation: Operation) -> &http::Uri {
        &self.targets[operation as usize]
    }
}

impl InFlight {
    /// Holds a slot that was taken.
    fn of(replica: &Arc<Replica>, pass: Pass) -> InFlight {
        let slot = Some(Slot { replica: replica.clone(), place: None });
        let steady = replica.live.steady.load(Ordering::Relaxed);
        InFlight { replica: replica.clone(), slot, pass, steady, sent: AtomicBool::new(false), speaks: false }
    }

    pub fn replica(&self) -> &Arc<Replica> {
        &self.replica
    }

    /// With its place in the load that routing knows.
    pub fn at(self, place: Place) -> InFlight {
        let mut placed = self;
        if let Some(slot) = &mut placed.slot {
            slot.place = Some(place);
        }
        placed
    }

    /// The request goes out to the engine now.
    pub fn note_sent(&self) {
        self.sent.store(true, Ordering::Relaxed);
    }

    /// Whether the replica was well when this request came to it.
    pub fn was_steady(&self) -> bool {
        self.steady
    }

    /// The first token came: the prompt no longer waits to be read.
    pub fn first_token(&mut self) {
        self.speaks = true;
        if let Some(place) = self.slot.as_mut().and_then(|slot| slot.place.as_mut()) {
            place.read();
        }
    }

    /// How the request ended, for the replica's breaker.
    pub fn report(mut self, report: routing::Report, now: u64) {
        self.tell(report, now);
        self.slot = None;
    }

    /// The same, where we hung up on the engine while it was at work.
    pub fn cut(mut self, report: routing::Report, now: u64) {
        self.tell(report, now);
        self.linger();
    }

    fn tell(&self, report: routing::Report, now: u64) {
        let mut breaker = self.replica.breaker();
        breaker.report(self.pass, report, now);
        self.replica.live.steady.store(breaker.steady(), Ordering::Relaxed);
    }

    /// Gives the slot back, at once or when the engine's work has ended.
    fn linger(&mut self) {
        let Some(slot) = self.slot.take() else { return };
        let millis = self.replica.engine.kind.works_on().millis(self.speaks);
        // An engine that was never asked has nothing to go on with.
        if millis == 0 || !*self.sent.get_mut() {
            return;
        }
        let below = |count: u32| (count < LINGERING_MAX).then_some(count + 1);
        let lingering = &self.replica.live.lingering;
        if lingering.fetch_update(Ordering::Relaxed, Ordering::Relaxed, below).is_err() {
            return;
        }
        let lingering = Lingering(slot);
        // Without a runtime the process is ending, and nobody chooses any more.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                tokio::time::sleep(Duration::from_millis(millis)).await;
                drop(lingering);
            });
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.slot.is_some() {
            // Of a report that says nothing the time does not matter.
            self.replica.breaker().report(self.pass, routing::Report::Neutral, 0);
            self.linger();
        }
    }
}

/// All replicas by engine id.
#[derive(Default)]
pub struct Replicas {
    pool_keys: AtomicU64,
    by_id: Mutex<HashMap<EngineId, Arc<Replica>>>,
}

impl Replicas {
    pub fn get(&self, engine: &Engine, queue: &Arc<Queue>, fleet: &Arc<Fleet>) -> Result<Arc<Replica>, UrlError> {
        let mut by_id = self.by_id();
        let live = match by_id.get(&engine.id) {
            Some(replica)
                if replica.engine == *engine
                    && Arc::ptr_eq(&replica.queue, queue)
                    && Arc::ptr_eq(&replica.fleet, fleet) =>
            {
                return Ok(replica.clone());
            }
            Some(replica) if replica.engine.url == engine.url => replica.live.clone(),
            _ => Arc::new(Live {
                pool_key: self.pool_keys.fetch_add(1, Ordering::Relaxed),
                in_flight: AtomicU32::new(0),
                slots: AtomicU32::new(engine.slots),
                lingering: AtomicU32::new(0),
                steady: AtomicBool::new(true),
                breaker: Mutex::new(Breaker::new()),
            }),
        };
        let uri: http::Uri = engine.url.parse().map_err(|_| UrlError)?;
        let (Some(_), Some(authority)) = (uri.scheme(), uri.authority()) else { return Err(UrlError) };
        let host = http::HeaderValue::from_str(authority.as_str()).map_err(|_| UrlError)?;
        let prefix = uri.path().trim_end_matches('/');
        let target = |operation: Operation| format!("{prefix}{}", operation.path()).parse().map_err(|_| UrlError);
        let [chat, completions, embeddings] = Operation::ALL.map(target);
        let targets = [chat?, completions?, embeddings?];
        let authorization = match &engine.credential {
            None => None,
            Some(credential) => {
                let mut value = http::HeaderValue::from_str(&format!("Bearer {credential}")).map_err(|_| UrlError)?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        let replica = Arc::new(Replica {
            engine: engine.clone(),
            host,
            targets,
            address: uri,
            pool_key: live.pool_key,
            authorization,
            misfit: AtomicU16::new(0),
            queue: queue.clone(),
            fleet: fleet.clone(),
            live,
            #[cfg(test)]
            looks: AtomicU32::new(0),
        });
        if let Some(before) = by_id.insert(engine.id, replica.clone())
            && !Arc::ptr_eq(&before.live, &replica.live)
        {
            before.live.slots.store(0, Ordering::Relaxed);
        }
        Ok(replica)
    }

    fn by_id(&self) -> std::sync::MutexGuard<'_, HashMap<EngineId, Arc<Replica>>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the slots of the replicas in force, as many as their engines have now, and closes all others: whoever
    /// waited meanwhile is not sent to an engine that was cordoned. `in_force` is asked under the lock, so that the last
    /// of two publications decides.
    pub fn settle(&self, in_force: impl FnOnce() -> Vec<Arc<Replica>>) {
        let by_id = self.by_id();
        let replicas = in_force();
        let ids: HashSet<EngineId> = replicas.iter().map(|replica| replica.engine.id).collect();
        for replica in by_id.values().filter(|replica| !ids.contains(&replica.engine.id)) {
            replica.live.slots.store(0, Ordering::Relaxed);
        }
        for replica in &replicas {
            let before = replica.live.slots.swap(replica.engine.slots, Ordering::SeqCst);
            if before < replica.engine.slots {
                replica.fleet.look_again(replica.engine.id);
            }
        }
        drop(by_id);
        replicas.iter().for_each(|replica| replica.queue.fill(replica));
    }

    /// Forgets engines that no snapshot in force names and no request holds. An engine that is cordoned is named: its
    /// breaker is what it was when it comes back.
    pub fn forget(&self, named: impl Fn(EngineId) -> bool) {
        // A request may hold what came before a change of the engine's record: what lives is the same.
        let held = |it: &Arc<Replica>| Arc::strong_count(it) > 1 || Arc::strong_count(&it.live) > 1;
        self.by_id().retain(|id, replica| named(*id) || held(replica));
    }

    /// Engines that are remembered.
    pub fn known(&self) -> usize {
        self.by_id().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use routing::Report;
    use routing::breaker::{FAILURES_MAX, OPEN_MILLIS_MIN, Position};
    use types::EndpointId;
    use types::snapshot::EngineKind;

    fn replica() -> Arc<Replica> {
        of_kind(EngineKind::Vllm)
    }

    fn of_kind(kind: EngineKind) -> Arc<Replica> {
        let engine = Engine {
            id: EngineId(1),
            endpoint: EndpointId(2),
            url: "http://127.0.0.1:1".to_owned(),
            kind,
            model_alias: None,
            credential: None,
            cordoned: false,
            slots: 2,
        };
        let clock = Arc::new(crate::SystemClock::start());
        let queues = crate::queue::Queues::new(clock, &crate::Limits::default(), Default::default());
        let fleet = crate::fleet::Fleets::new(Default::default()).get(engine.endpoint);
        Replicas::default().get(&engine, &queues.get("m"), &fleet).unwrap()
    }

    fn enter(replica: &Arc<Replica>) -> InFlight {
        replica.take_for_retry(0).unwrap()
    }

    /// Opens its breaker.
    fn break_down(replica: &Arc<Replica>) {
        (0..FAILURES_MAX).for_each(|_| enter(replica).report(Report::Failure, 0));
    }

    #[test]
    fn slots_are_taken_exactly_and_none_behind_an_open_breaker() {
        let replica = replica();
        let first = replica.try_take(0).unwrap();
        assert!(replica.has_room());
        let held = [first, replica.try_take(0).unwrap()];
        assert!(!replica.has_room() && replica.try_take(0).is_none());
        drop(held);
        break_down(&replica);
        assert!(replica.try_take(0).is_none());
        assert_eq!(replica.in_flight(), 0);
    }

    #[test]
    fn a_probe_whose_client_leaves_makes_room_for_the_next() {
        let replica = replica();
        break_down(&replica);
        assert!(!replica.breaker().available(OPEN_MILLIS_MIN - 1));
        let probe = replica.try_take(OPEN_MILLIS_MIN).unwrap();
        assert!(!replica.breaker().available(OPEN_MILLIS_MIN), "one probe at a time");
        drop(probe);
        assert!(replica.breaker().available(OPEN_MILLIS_MIN));
        assert_eq!(replica.in_flight(), 0);
    }

    #[test]
    fn what_began_before_the_breaker_opened_does_not_end_its_probe() {
        let replica = replica();
        let [good, bad, left] = [(); 3].map(|()| enter(&replica));
        break_down(&replica);
        let probe = replica.take_for_retry(OPEN_MILLIS_MIN).unwrap();
        good.report(Report::Success, OPEN_MILLIS_MIN);
        assert_eq!(replica.breaker().position(), Position::HalfOpen);
        bad.report(Report::Failure, OPEN_MILLIS_MIN);
        drop(left);
        assert_eq!(replica.breaker().position(), Position::HalfOpen);
        assert!(replica.take_for_retry(OPEN_MILLIS_MIN).is_none(), "one probe at a time");
        probe.report(Report::Success, OPEN_MILLIS_MIN);
        assert_eq!(replica.breaker().position(), Position::Closed);
    }

    #[test]
    fn an_engine_is_forgotten_when_no_snapshot_names_it_and_no_request_holds_it() {
        let (replica, all) = (replica(), Replicas::default());
        let get = |alias: Option<&str>| {
            let engine = Engine { model_alias: alias.map(str::to_owned), ..replica.engine.clone() };
            all.get(&engine, &replica.queue, &replica.fleet).unwrap()
        };
        let in_flight = enter(&get(None));
        // Its record changes while the request runs, and then it is gone.
        drop(get(Some("alias")));
        all.forget(|_| false);
        assert_eq!((all.known(), get(None).in_flight()), (1, 1), "a request runs there");
        in_flight.report(Report::Failure, 0);
        all.forget(|id| id == replica.engine.id);
        assert_eq!(all.known(), 1, "a snapshot names it");
        assert!(!get(None).breaker().steady(), "and what it did is not forgotten");
        all.forget(|_| false);
        assert_eq!(all.known(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn f04_what_an_engine_still_works_on_counts_as_its_load() {
        for kind in EngineKind::ALL {
            let [before, after] = [false, true].map(|speaks| kind.works_on().millis(speaks));
            for (speaks, millis) in [(false, before), (true, after)] {
                let replica = of_kind(kind);
                let hang_up = || {
                    let mut in_flight = enter(&replica);
                    in_flight.note_sent();
                    if speaks {
                        in_flight.first_token();
                    }
                    in_flight
                };
                drop(hang_up());
                hang_up().cut(Report::Failure, 0);
                // Who ends by itself leaves nothing behind.
                hang_up().report(Report::Success, 0);
                if millis > 0 {
                    tokio::time::sleep(Duration::from_millis(millis - 1)).await;
                    assert_eq!(replica.in_flight(), 2, "{kind:?} {speaks}");
                    assert!(!replica.has_room(), "its two slots are at work");
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                assert_eq!(replica.in_flight(), 0, "{kind:?} {speaks}");
            }
        }
        let replica = of_kind(EngineKind::Dynamo);
        (0..2 * LINGERING_MAX).for_each(|_| drop(enter(&replica)));
        assert_eq!(replica.in_flight(), 0, "what was never sent is nobody's work");
        (0..2 * LINGERING_MAX).for_each(|_| {
            let in_flight = enter(&replica);
            in_flight.note_sent();
        });
        assert_eq!(replica.in_flight(), LINGERING_MAX, "and not without end");
    }
}
