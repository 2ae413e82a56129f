//! Slots and those that wait for them: nobody sleeps beside a free slot, no slot is taken twice.

use super::*;
use crate::replica::Replicas;
use routing::Report;
use std::sync::atomic::AtomicU32;
use types::EngineId;
use types::snapshot::Engine;

const ENDPOINT: EndpointId = EndpointId(2);

fn world(slots: u32) -> (Arc<Queue>, Arc<Replica>) {
    let engine = Engine {
        id: EngineId(1),
        endpoint: ENDPOINT,
        url: "http://127.0.0.1:1".to_owned(),
        kind: Default::default(),
        model_alias: None,
        credential: None,
        cordoned: false,
        slots,
    };
    let clock = Arc::new(crate::SystemClock::start());
    let queue = Queues::new(clock, &Limits::default(), Times::default()).get("m");
    let replica = Replicas::default().get(&engine, &queue, &fleet()).unwrap();
    (queue, replica)
}

fn fleet() -> Arc<Fleet> {
    crate::fleet::Fleets::new(Default::default()).get(ENDPOINT)
}

fn sit(queue: &Arc<Queue>, tenant: u128, class: Class) -> Seat {
    queue.sit(TenantId(tenant), class, Arc::new([ENDPOINT]), 1).unwrap()
}

fn hold(replica: &Arc<Replica>) -> InFlight {
    replica.try_take(0).unwrap()
}

#[test]
fn a_freed_slot_goes_to_one_and_in_order() {
    let (queue, replica) = world(1);
    let held = hold(&replica);
    let mut batch = sit(&queue, 1, Class::Batch);
    let mut interactive = sit(&queue, 2, Class::Interactive);
    assert!(queue.busy() && batch.granted.try_recv().is_err() && interactive.granted.try_recv().is_err());
    held.report(Report::Success, 0);
    let granted = interactive.granted.try_recv().unwrap();
    assert!(batch.granted.try_recv().is_err());
    assert_eq!(replica.in_flight(), 1, "it is the same slot");
    drop((granted, interactive));
    assert!(batch.granted.try_recv().is_ok());
    drop(batch);
    assert_eq!((replica.in_flight(), queue.busy(), queue.line().tenants()), (0, false, 0));
}

/// Let go and gone in the same moment: the slot goes on to the next.
#[test]
fn whoever_leaves_while_it_is_let_go_gives_the_slot_on() {
    let (queue, replica) = world(1);
    let held = hold(&replica);
    let first = sit(&queue, 1, Class::Interactive);
    let second = sit(&queue, 1, Class::Interactive);
    let mut third = sit(&queue, 1, Class::Interactive);
    drop(held);
    // The first holds a slot that it never sees; the second leaves its place alone.
    drop(second);
    assert!(third.granted.try_recv().is_err());
    drop(first);
    assert!(third.granted.try_recv().is_ok());
    drop(third);
    assert_eq!((replica.in_flight(), queue.busy()), (0, false));
}

#[test]
fn a_slot_is_given_to_whom_it_fits_only_and_not_behind_an_open_breaker() {
    let (queue, replica) = world(1);
    let held = hold(&replica);
    let mut elsewhere = queue.sit(TenantId(1), Class::Interactive, Arc::new([EndpointId(9)]), 1).unwrap();
    let mut here = sit(&queue, 2, Class::Interactive);
    drop(held);
    assert!(here.granted.try_recv().is_ok() && elsewhere.granted.try_recv().is_err());
    drop(here);
    assert_eq!(replica.in_flight(), 0, "nobody else fits");
    (0..routing::breaker::FAILURES_MAX)
        .for_each(|_| replica.take_for_retry(0).unwrap().report(Report::Failure, 1 << 40));
    let mut here = sit(&queue, 2, Class::Interactive);
    queue.fill(&replica);
    assert!(here.granted.try_recv().is_err());
    assert_eq!(replica.in_flight(), 0);
}

#[test]
fn slots_that_are_opened_are_filled_and_those_of_a_cordoned_engine_are_not() {
    let (queue, replica) = world(2);
    let replicas = Replicas::default();
    let replica = replicas.get(&replica.engine, &queue, &fleet()).unwrap();
    let held = (hold(&replica), hold(&replica));
    let mut seats: Vec<_> = (0..3).map(|_| sit(&queue, 1, Class::Interactive)).collect();
    replicas.settle(Vec::new);
    drop(held);
    assert!(seats.iter_mut().all(|seat| seat.granted.try_recv().is_err()));
    replicas.settle(|| vec![replica.clone()]);
    let granted: Vec<_> = seats.iter_mut().filter_map(|seat| seat.granted.try_recv().ok()).collect();
    assert_eq!(granted.len(), 2);
}

/// Whoever waits looks at replicas where something may have changed, and not at all that are full: the price is in looks, as
/// in routing.
#[test]
fn looks_do_not_grow_with_full_replicas() {
    let looks = |count: u32| {
        let (queue, first) = world(1);
        let (all, fleet) = (Replicas::default(), fleet());
        let engine = |number: u32| Engine { id: EngineId(u128::from(number) + 1), ..first.engine.clone() };
        let replicas: Vec<_> = (0..count).map(|number| all.get(&engine(number), &queue, &fleet).unwrap()).collect();
        let seats = fleet.seat(1, &replicas);
        let mut held: Vec<_> = replicas.iter().map(hold).collect();
        let looks = || replicas.iter().map(|replica| replica.looks.load(Ordering::Relaxed)).sum::<u32>();
        let wait = || {
            let mut seat = sit(&queue, 1, Class::Interactive);
            let granted = seat.look([(&*fleet, &seats)]);
            (seat, granted.is_some())
        };
        // The first to come finds out that all are full.
        let mut waiting = vec![wait()];
        let before = looks();
        waiting.extend((0..100).map(|_| wait()));
        assert!(waiting.iter().all(|(_, granted)| !granted));
        let sitting = looks() - before;
        // A slot comes free, and goes to the first; whoever comes then looks where that was.
        held.pop();
        let granted = waiting[0].0.granted.try_recv().unwrap();
        let more = wait();
        assert!(!more.1);
        let all_in_all = looks() - before;
        drop((waiting, more, granted, held));
        // All gone: whoever comes now is served, wherever the last slot came free.
        assert!(wait().1);
        (sitting, all_in_all)
    };
    let (few, many) = (looks(2), looks(1_000));
    assert_eq!(few, many);
    assert!(many.0 == 0 && many.1 <= 4, "{many:?}");
}

/// A slot that was granted and came back unused, without a place in routing's load, is seen all the same.
#[test]
fn a_slot_that_comes_back_unused_is_found_by_the_next() {
    let (queue, first) = world(1);
    let (all, fleet) = (Replicas::default(), fleet());
    let replica = all.get(&first.engine, &queue, &fleet).unwrap();
    let seats = fleet.seat(1, std::slice::from_ref(&replica));
    let held = hold(&replica);
    assert!(fleet.with_room(&seats, 0).is_none(), "it is found full");
    drop(held);
    assert!(sit(&queue, 1, Class::Interactive).look([(&*fleet, &seats)]).is_some());
}

/// Many threads, few slots, and every third leaves at some moment: all others are served, the slots are never exceeded
/// and nothing is left over. A lost wake-up would let the test wait for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_is_forgotten_on_many_threads() {
    const SLOTS: u32 = 3;
    let (queue, replica) = world(SLOTS);
    let (working, served) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..900u32 {
        let (queue, replica) = (queue.clone(), replica.clone());
        let (working, served) = (working.clone(), served.clone());
        tasks.spawn(async move {
            let mut seat = sit(&queue, u128::from(number % 7), Class::Interactive);
            queue.fill(&replica);
            if number % 3 == 0 {
                for _ in 0..number % 11 {
                    tokio::task::yield_now().await;
                }
                return;
            }
            let granted = (&mut seat.granted).await.unwrap();
            assert!(working.fetch_add(1, Ordering::SeqCst) < SLOTS);
            tokio::task::yield_now().await;
            working.fetch_sub(1, Ordering::SeqCst);
            served.fetch_add(1, Ordering::SeqCst);
            granted.service.settle(&Usage { input: 1, output: 1, ..Usage::default() });
            granted.in_flight.report(Report::Success, 0);
        });
    }
    let all = async { while tasks.join_next().await.transpose().unwrap().is_some() {} };
    tokio::time::timeout(Duration::from_secs(60), all).await.expect("somebody waits beside a free slot");
    assert_eq!(served.load(Ordering::SeqCst), 600);
    assert_eq!((replica.in_flight(), queue.busy(), queue.line().tenants()), (0, false, 0));
    assert_eq!(queue.shared.waiting.load(Ordering::SeqCst), 0);
}
