//! Machines: steps that are fenced, orders and certificates that exist once, observations that make due.

pub mod kept;

use crate::Bed;
use crate::site::{entry, receipt};
use fleet::action::Action;
use fleet::machine::{Lifecycle, Machine, MachineKind, Spec};
use fleet::observed::{AgentSeen, Custody, Event, EventKind};
use fleet::order::{Order, OrderKind, OrderState, Task, TaskState, Verb};
use std::collections::{BTreeMap, BTreeSet};
use store::{
    AgentCertificate, AgentToken, Bmc, Decided, Due, FleetEvent, NewAcceptance, Observation, Redeemed, SiteChange,
    StepError, Store, StoreError, Swapped,
};
use types::{AcceptanceId, MachineId, OrderId, TaskId, UnixMillis};

const NOW: UnixMillis = UnixMillis(1_790_000_000_000);
const LATER: UnixMillis = UnixMillis(1_790_000_060_000);

fn spec(n: u128) -> Spec {
    Spec {
        generation: 1,
        kind: MachineKind::DgxB200,
        slot: format!("h1/r01/k01/u{n:02}"),
        unit: "su-01".to_owned(),
        domains: vec!["leaf-1".to_owned()],
        zone: None,
        serials: BTreeMap::new(),
        parts: BTreeMap::from([("gpu".to_owned(), 8)]),
        firmware: BTreeMap::new(),
        secure_boot: None,
        suite: "dgx-b200".to_owned(),
        wanted: true,
        drain: None,
    }
}

fn order(n: u128, machine: u128) -> Order {
    let task = Task {
        id: TaskId(n),
        verb: Verb::Scan,
        subject: "u01".to_owned(),
        state: TaskState::Ready,
        mass_g: 0,
        zone: "k01".to_owned(),
        confirmations_min: 0,
        confirmed_by: Vec::new(),
        assignee: None,
        attempts: 0,
        evidence: Vec::new(),
        note: None,
        changed_at: NOW,
    };
    Order {
        id: OrderId(n),
        machine: MachineId(machine),
        entry: 1,
        kind: OrderKind::Receive,
        state: OrderState::Open,
        made_at: NOW,
        slot: "h1/r01/k01/u01".to_owned(),
        serial: None,
        tasks: vec![task],
        finding: None,
    }
}

fn acceptance(n: u8, machine: u128, entry: u64) -> NewAcceptance {
    NewAcceptance {
        id: AcceptanceId(n.into()),
        machine: MachineId(machine),
        entry,
        at: NOW,
        signing_input: format!("a.{n}"),
        leaf: [n; 32],
    }
}

/// A site of two machines.
async fn site(bed: &Bed) -> Store {
    let store = bed.open().await;
    let add = [1, 2].map(|n| (spec(n), Machine::planned(MachineId(n), NOW))).to_vec();
    let change = SiteChange { add, change: Vec::new() };
    assert_eq!(
        store.site_apply(("text", Some("serials")), "sha256:00", NOW, &change, &entry("site.apply")).await.unwrap(),
        1
    );
    store
}

fn decided(due: &Due, lifecycle: Lifecycle) -> Decided {
    let mut machine = due.row.machine.clone();
    machine.lifecycle = lifecycle;
    machine.entry += 1;
    Decided {
        at: NOW,
        due: due.clone(),
        machine,
        wants: vec![Action::ReadInventory],
        wake_at: LATER,
        events_taken: 0,
        order: None,
        cancel_orders: false,
        acceptance: None,
        happened: Vec::new(),
    }
}

async fn due(store: &Store) -> Vec<Due> {
    store.machines_due(NOW, 10).await.unwrap()
}

pub async fn a_machine_is_due_until_stepped_and_from_its_time_on(bed: &Bed) {
    let store = site(bed).await;
    let epoch = store.fleet_epoch_take().await.unwrap();
    let both = due(&store).await;
    assert_eq!(both.len(), 2);
    let batch: Vec<_> = both.iter().map(|due| decided(due, Lifecycle::Received)).collect();
    assert_eq!(store.machines_step(epoch, &batch).await.unwrap().stored.len(), 2);
    assert!(due(&store).await.is_empty());
    assert_eq!(store.machines_due(LATER, 10).await.unwrap().len(), 2);
    assert_eq!(store.machines_due(LATER, 1).await.unwrap().len(), 1);
    let row = store.machine(MachineId(1)).await.unwrap().unwrap();
    assert_eq!((row.machine.lifecycle, row.wants), (Lifecycle::Received, vec![Action::ReadInventory]));

    let custody = Custody { serial: "S1".to_owned(), by: "tok".to_owned(), at: NOW, photo: None };
    store.observe(&[(MachineId(2), NOW, Observation::Custody(custody.clone()))]).await.unwrap();
    let seen = due(&store).await;
    assert_eq!(seen.iter().map(|due| due.row.machine.id).collect::<Vec<_>>(), [MachineId(2)]);
    assert_eq!(seen[0].observed.custody, Some(custody));
    let unknown = store.observe(&[(MachineId(9), NOW, Observation::Running(1))]).await;
    assert!(matches!(unknown, Err(StoreError::NotFound { .. })));
}

/// What is seen while a step is decided makes the machine due again: nothing is lost in between.
pub async fn what_is_seen_meanwhile_is_not_lost(bed: &Bed) {
    let store = site(bed).await;
    let epoch = store.fleet_epoch_take().await.unwrap();
    let machine = MachineId(1);
    let event = |code| Event { at: NOW, what: EventKind::Xid { code, gpu: 3, driver: "580".to_owned() } };
    store.incidents(&[(machine, event(79)), (machine, event(94))]).await.unwrap();
    let read = due(&store).await.into_iter().find(|due| due.row.machine.id == machine).unwrap();
    assert_eq!(read.observed.events, [event(79), event(94)]);
    store.incidents(&[(machine, event(31))]).await.unwrap();
    store.observe(&[(machine, NOW, Observation::Running(7))]).await.unwrap();
    let step = Decided { events_taken: 2, ..decided(&read, Lifecycle::Planned) };
    assert_eq!(store.machines_step(epoch, &[step]).await.unwrap().stored.len(), 1);
    let again = due(&store).await.into_iter().find(|due| due.row.machine.id == machine).unwrap();
    assert_eq!((again.observed.events, again.observed.running), (vec![event(31)], 7));
}

pub async fn an_older_controller_and_an_older_reading_are_fenced(bed: &Bed) {
    let store = site(bed).await;
    let older = store.fleet_epoch_take().await.unwrap();
    let newer = store.fleet_epoch_take().await.unwrap();
    let read = due(&store).await;
    let step = [decided(&read[0], Lifecycle::Received)];
    let fenced = store.machines_step(older, &step).await;
    assert!(matches!(fenced, Err(StepError::Fenced { ours, present }) if (ours, present) == (older, newer)));
    assert_eq!(due(&store).await.len(), 2);
    assert_eq!(store.machines_step(newer, &step).await.unwrap().stored.len(), 1);
    // The same reading again: the machine has moved on, the other one has not.
    let both = [decided(&read[0], Lifecycle::Installed), decided(&read[1], Lifecycle::Received)];
    assert_eq!(store.machines_step(newer, &both).await.unwrap().stored.len(), 1);
    let lifecycles = store.machines(None, None, 10).await.unwrap();
    assert!(lifecycles.iter().all(|row| row.machine.lifecycle == Lifecycle::Received));
}

pub async fn a_stay_has_one_order_and_one_certificate(bed: &Bed) {
    let store = site(bed).await;
    let epoch = store.fleet_epoch_take().await.unwrap();
    for n in [1u8, 2] {
        // Twice the same decision, as after a crash, with ids of its own each time.
        let read = store.machines_due(LATER, 10).await.unwrap().remove(0);
        assert_eq!(read.row.machine.id, MachineId(1));
        let machine = read.row.machine.clone();
        let step = Decided {
            machine,
            wake_at: UnixMillis(0),
            order: Some(order(n.into(), 1)),
            acceptance: Some(acceptance(n, 1, 1)),
            ..decided(&read, Lifecycle::Planned)
        };
        store.machines_step(epoch, &[step]).await.unwrap();
    }
    let orders = store.orders_of(MachineId(1)).await.unwrap();
    assert_eq!(orders.iter().map(|row| row.order.id).collect::<Vec<_>>(), [OrderId(1)]);
    assert_eq!(store.order_of_task(TaskId(1)).await.unwrap().unwrap().order.id, OrderId(1));
    assert_eq!(store.order_of_task(TaskId(2)).await.unwrap(), None);
    let certificates = store.acceptances_of(MachineId(1)).await.unwrap();
    assert_eq!(
        certificates.iter().map(|one| (one.id, one.ord, one.sealed)).collect::<Vec<_>>(),
        [(AcceptanceId(1), 0, false)]
    );
    let seen = due(&store).await.remove(0).observed;
    assert_eq!(seen.order.map(|order| (order.entry, order.state)), Some((1, OrderState::Open)));
    assert!(!seen.certified.unwrap().sealed);

    assert_eq!(store.orders_open().await.unwrap(), [(OrderId(1), 1)]);
    let stale = store.orders_change(&[(orders[0].order.clone(), 7)], &[], &[], &[], &[], None).await;
    assert!(matches!(stale, Err(StoreError::Conflict { .. })));
    let done = Order { state: OrderState::Done, ..orders[0].order.clone() };
    store.orders_change(&[(done, orders[0].version)], &[], &[], &[], &[], Some(&entry("task.done"))).await.unwrap();
    assert_eq!(store.orders(None, Some("done"), 10).await.unwrap().len(), 1);
    assert_eq!(store.orders(None, Some("open"), 10).await.unwrap().len(), 0);
}

/// One order of places for receipts and certificates, and the sealer takes both as they come.
pub async fn certificates_lie_between_receipts_in_one_log(bed: &Bed) {
    let store = site(bed).await;
    let epoch = store.fleet_epoch_take().await.unwrap();
    let mut expect = Vec::new();
    for n in 1..=3u8 {
        store.ship(&[receipt(1, n.into())]).await.unwrap();
        expect.push(receipt(1, n.into()).leaf);
        let read = store.machines_due(LATER, 10).await.unwrap().remove(0);
        let step = Decided {
            acceptance: Some(acceptance(100 + n, read.row.machine.id.0, n.into())),
            ..decided(&read, Lifecycle::Accepted)
        };
        store.machines_step(epoch, &[step]).await.unwrap();
        expect.push([100 + n; 32]);
    }
    let unsealed = store.unsealed(10).await.unwrap();
    assert_eq!(unsealed.iter().map(|(ord, _)| *ord).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    assert_eq!(unsealed.into_iter().map(|(_, leaf)| leaf).collect::<Vec<_>>(), expect);
    assert_eq!(store.unsealed(3).await.unwrap().len(), 3);
    store.seal(0, &[0, 1, 2, 3], 4, "four").await.unwrap();
    let sealed: Vec<_> = store.acceptances(None, 10).await.unwrap().iter().map(|one| (one.ord, one.sealed)).collect();
    assert_eq!(sealed, [(1, true), (3, true), (5, false)]);
    assert_eq!(store.acceptances(Some(1), 1).await.unwrap()[0].ord, 3);
    let wanted = store.unsealed(10).await.unwrap();
    assert_eq!(wanted.iter().map(|(ord, _)| *ord).collect::<Vec<_>>(), [4, 5]);
    assert_eq!(store.receipt(receipt(1, 2).id).await.unwrap().unwrap().leaf_index, Some(2));
    assert!(store.acceptance(AcceptanceId(101)).await.unwrap().unwrap().sealed);
}

pub async fn a_site_file_is_applied_whole_or_not_at_all(bed: &Bed) {
    let store = site(bed).await;
    let row = store.machine(MachineId(1)).await.unwrap().unwrap();
    let changed = Spec { unit: "su-02".to_owned(), generation: 2, ..row.spec.clone() };
    let twice = SiteChange {
        add: vec![(spec(3), Machine::planned(MachineId(3), NOW)), (spec(2), Machine::planned(MachineId(4), NOW))],
        change: Vec::new(),
    };
    let stale = SiteChange {
        add: vec![(spec(3), Machine::planned(MachineId(3), NOW))],
        change: vec![(MachineId(1), row.version + 1, changed.clone())],
    };
    for refused in [twice, stale] {
        let apply = store.site_apply(("other", None), "sha256:01", NOW, &refused, &entry("site.apply")).await;
        assert!(matches!(apply, Err(StoreError::Conflict { .. })), "{apply:?}");
        assert_eq!(store.site_model().await.unwrap().unwrap().text, "text");
        assert_eq!(store.machine(MachineId(3)).await.unwrap(), None);
    }
    let good = SiteChange { add: Vec::new(), change: vec![(MachineId(1), row.version, changed.clone())] };
    assert_eq!(store.site_apply(("other", None), "sha256:01", NOW, &good, &entry("site.apply")).await.unwrap(), 2);
    assert_eq!(store.machine_at(&changed.slot).await.unwrap().unwrap().spec, changed);
    let counts = store.machine_counts().await.unwrap();
    assert_eq!(
        counts.iter().map(|count| (count.lifecycle.as_str(), count.machines)).collect::<Vec<_>>(),
        [("planned", 2)]
    );

    // A person's word names what it read, too.
    let row = store.machine(MachineId(1)).await.unwrap().unwrap();
    let event = FleetEvent::of(&row.machine, NOW, "released", "by a person");
    let stale = store.machine_change(row.version - 1, &row.spec, &row.machine, &event, &entry("machine.release")).await;
    assert!(matches!(stale, Err(StoreError::Conflict { .. })));
    store.machine_change(row.version, &row.spec, &row.machine, &event, &entry("machine.release")).await.unwrap();
    let told: Vec<_> = store.fleet_events_last(Some(MachineId(1)), 10).await.unwrap();
    assert_eq!(told.iter().map(|event| event.kind.as_str()).collect::<Vec<_>>(), ["planned", "released"]);
    assert_eq!(store.fleet_events(told[0].seq, 10).await.unwrap().len(), 2);
}

pub async fn an_agents_token_is_redeemed_once(bed: &Bed) {
    let store = site(bed).await;
    let machine = MachineId(1);
    let token = AgentToken { machine, serial: Some("S1".into()), expires_at: LATER, key: None };
    store.agent_token_create("hash", &token, &entry("machine.enrol")).await.unwrap();
    let open = AgentToken { serial: None, expires_at: NOW, ..token };
    store.agent_token_create("old", &open, &entry("machine.enrol")).await.unwrap();
    let check = async |hash, key, serial, expect| {
        assert_eq!(store.agent_redeem(hash, key, serial, NOW).await.unwrap(), expect, "{hash} {key} {serial}");
    };
    check("none", "k1", "S1", Redeemed::Unknown).await;
    check("old", "k1", "S1", Redeemed::Expired(machine)).await;
    check("hash", "k1", "S2", Redeemed::OtherSerial(machine, "S1".into())).await;
    check("hash", "k1", "S1", Redeemed::For(machine)).await;
    check("hash", "k1", "S1", Redeemed::For(machine)).await;
    check("hash", "k2", "S1", Redeemed::Spent(machine)).await;

    let certificate = AgentCertificate { machine, not_after: LATER, revoked: false };
    let good = async |serial: &str| !store.agent_certificate(serial).await.unwrap().unwrap().revoked;
    let of = |millis: i64, machine: u128| AgentCertificate {
        machine: MachineId(machine),
        not_after: UnixMillis(LATER.0 + millis),
        ..certificate
    };
    // Who enrols anew withdraws what was there before, of its own machine.
    store.agent_certify("f2", &of(0, 2)).await.unwrap();
    assert_eq!(store.agent_enrol("02", &of(0, 1)).await.unwrap(), 0);
    assert_eq!(store.agent_enrol("04", &of(1, 1)).await.unwrap(), 1);
    assert_eq!([good("02").await, good("04").await, good("f2").await], [false, true, true]);
    // A renewal withdraws its forerunner when it was seen, and a later one not.
    store.agent_certify("06", &of(2, 1)).await.unwrap();
    store.agent_certify("08", &of(3, 1)).await.unwrap();
    assert_eq!(store.agent_supersede(machine, "06").await.unwrap(), 1);
    assert_eq!(store.agent_supersede(machine, "06").await.unwrap(), 0);
    assert_eq!([good("04").await, good("06").await, good("08").await, good("f2").await], [false, true, true, true]);
    // A person withdraws everything, with a reason that is kept; tokens too.
    let row = store.machine(machine).await.unwrap().unwrap();
    let event = FleetEvent::of(&row.machine, NOW, "agent revoked", "its disk was stolen");
    assert_eq!(store.agent_revoke(machine, NOW, &event, &entry("machine.update")).await.unwrap(), 3);
    assert_eq!([good("06").await, good("08").await, good("f2").await], [false, false, true]);
    check("hash", "k1", "S1", Redeemed::Expired(machine)).await;
    assert_eq!(store.agent_revoke(machine, NOW, &event, &entry("machine.update")).await.unwrap(), 0);
    let told = store.fleet_events_last(Some(machine), 10).await.unwrap();
    assert_eq!(told.iter().filter(|event| event.kind == "agent revoked").count(), 1);
    assert_eq!(store.agent_certificate("03").await.unwrap(), None);

    let bmc = Bmc { machine, url: "https://b".into(), username: "u".into(), password: "p".into(), pin: None };
    store.bmc_set(std::slice::from_ref(&bmc), &entry("bmc.set")).await.unwrap();
    let moved = Bmc { url: "https://c".into(), ..bmc };
    store.bmc_set(std::slice::from_ref(&moved), &entry("bmc.set")).await.unwrap();
    assert_eq!(store.bmcs().await.unwrap(), std::slice::from_ref(&moved));
    assert_eq!(store.bmc(machine).await.unwrap(), Some(moved));
}

/// What an agent sends again because it did not hear of its receipt is not taken again, also after it was decided on.
pub async fn an_agents_events_are_taken_once(bed: &Bed) {
    let store = site(bed).await;
    let epoch = store.fleet_epoch_take().await.unwrap();
    let machine = MachineId(1);
    let event = |n: u32| Event { at: NOW, what: EventKind::Thermal { gpu: n, temperature_c: 99 } };
    let named = |instance: u64, n: u32| (instance, u64::from(n), event(n));
    store.agent_events(machine, &[named(u64::MAX, 1), named(u64::MAX, 2)]).await.unwrap();
    let read = async || due(&store).await.into_iter().find(|due| due.row.machine.id == machine).unwrap();
    let one = read().await;
    assert_eq!(one.observed.events, [event(1), event(2)]);
    let step = Decided { events_taken: 2, ..decided(&one, Lifecycle::Planned) };
    store.machines_step(epoch, &[step]).await.unwrap();
    store.agent_events(machine, &[named(u64::MAX, 2), named(u64::MAX, 3)]).await.unwrap();
    assert_eq!(read().await.observed.events, [event(3)]);
    // Another run of the agent begins at one again.
    store.agent_events(machine, &[named(7, 1)]).await.unwrap();
    assert_eq!(read().await.observed.events, [event(3), event(1)]);
}

/// An agent that only says that it is there moves its time on and wakes nobody.
pub async fn an_agent_that_is_there_makes_nothing_due(bed: &Bed) {
    let store = site(bed).await;
    let epoch = store.fleet_epoch_take().await.unwrap();
    let machine = MachineId(1);
    let seen =
        AgentSeen { at: NOW, serial: "S1".into(), driver: "580".into(), gpus: BTreeMap::new(), clock_skew_ms: 0 };
    store.observe(&[(machine, NOW, Observation::Agent(seen))]).await.unwrap();
    let batch: Vec<_> = due(&store).await.iter().map(|due| decided(due, Lifecycle::Planned)).collect();
    store.machines_step(epoch, &batch).await.unwrap();
    let later = UnixMillis(NOW.0 + 30_000);
    store.agents_alive(&[(machine, later), (MachineId(2), later)]).await.unwrap();
    assert!(due(&store).await.is_empty());
    assert_eq!(store.observed(machine).await.unwrap().agent.unwrap().at, later);
    assert_eq!(store.observed(MachineId(2)).await.unwrap().agent, None);
}

/// Whoever starts it, and however many at once: one task in a zone.
pub async fn two_tasks_never_run_in_one_zone(bed: &Bed) {
    let store = site(bed).await;
    let epoch = store.fleet_epoch_take().await.unwrap();
    for (n, read) in due(&store).await.iter().enumerate() {
        let made = order(n as u128 + 1, read.row.machine.id.0);
        let step = Decided { order: Some(made), ..decided(read, Lifecycle::Planned) };
        store.machines_step(epoch, &[step]).await.unwrap();
    }
    let start = |row: &store::OrderRow| {
        let mut next = row.order.clone();
        next.tasks[0].state = TaskState::Running;
        (next, row.version)
    };
    let rows = store.orders(None, Some("open"), 10).await.unwrap();
    store.orders_change(&[start(&rows[0])], &[], &[], &[], &[], None).await.unwrap();
    assert_eq!(store.zones_busy(OrderId(9)).await.unwrap(), BTreeSet::from(["k01".to_owned()]));
    assert_eq!(store.zones_busy(rows[0].order.id).await.unwrap(), BTreeSet::new());
    let second = store.orders_change(&[start(&rows[1])], &[], &[], &[], &[], None).await;
    assert!(matches!(second, Err(StoreError::Conflict { .. })), "{second:?}");
    let (mut done, version) = (start(&rows[0]).0, rows[0].version + 1);
    done.tasks[0].state = TaskState::Done;
    store.orders_change(&[(done, version)], &[], &[], &[], &[], None).await.unwrap();
    store.orders_change(&[start(&rows[1])], &[], &[], &[], &[], None).await.unwrap();
}

/// Of an order a step sees the state, so the sixty changes of its tasks between begin and end make nothing due.
pub async fn a_machine_is_due_when_its_order_s_state_is_another(bed: &Bed) {
    let store = site(bed).await;
    let epoch = store.fleet_epoch_take().await.unwrap();
    let read = due(&store).await;
    let step = Decided { order: Some(order(1, 1)), ..decided(&read[0], Lifecycle::Planned) };
    store.machines_step(epoch, &[step, decided(&read[1], Lifecycle::Planned)]).await.unwrap();
    // The order was made: it is seen.
    let made = due(&store).await;
    let steps: Vec<_> = made.iter().map(|one| decided(one, Lifecycle::Planned)).collect();
    store.machines_step(epoch, &steps).await.unwrap();
    assert!(due(&store).await.is_empty());
    for (to, expect) in [
        (OrderState::Open, 0),
        (OrderState::Held, 1),
        (OrderState::Open, 1),
        (OrderState::Open, 0),
        (OrderState::Done, 1),
    ] {
        let row = store.order(OrderId(1)).await.unwrap().unwrap();
        let next = Order { state: to, ..row.order };
        store.orders_change(&[(next, row.version)], &[], &[], &[], &[], None).await.unwrap();
        let now = due(&store).await;
        assert_eq!(now.len(), expect, "{to}");
        for one in &now {
            assert_eq!(one.observed.order.as_ref().map(|order| order.state), Some(to));
            store.machines_step(epoch, &[decided(one, Lifecycle::Planned)]).await.unwrap();
        }
    }
}

/// The bill names what is in the machine, also after an exchange; a part that the bill does not name is not added.
pub async fn an_exchanged_part_is_in_the_bill(bed: &Bed) {
    let store = bed.open().await;
    let bill = BTreeMap::from([("gpu3".to_owned(), "old".to_owned())]);
    let add = vec![(Spec { serials: bill, ..spec(1) }, Machine::planned(MachineId(1), NOW))];
    let change = SiteChange { add, change: Vec::new() };
    store.site_apply(("text", None), "sha256:00", NOW, &change, &entry("site.apply")).await.unwrap();
    let swap = |part: &str| Swapped { machine: MachineId(1), part: part.to_owned(), serial: "new".to_owned() };
    store.orders_change(&[], &[], &[swap("gpu3"), swap("gpu4")], &[], &[], None).await.unwrap();
    let spec = store.machine(MachineId(1)).await.unwrap().unwrap().spec;
    assert_eq!(spec.serials, BTreeMap::from([("gpu3".to_owned(), "new".to_owned())]));
    assert_eq!(spec.generation, 2);
}

/// PostgreSQL refuses a NUL in a text, and with it everything in the transaction.
pub async fn foreign_words_with_control_characters_are_shown_and_stop_nothing(bed: &Bed) {
    let store = site(bed).await;
    let epoch = store.fleet_epoch_take().await.unwrap();
    let mut batch: Vec<Decided> = due(&store).await.iter().map(|due| decided(due, Lifecycle::Received)).collect();
    let text = "part on psu1\0\u{1b}[2J; GPU 3 Müller";
    batch[0].machine.reason = text.to_owned();
    batch[0].happened = vec![FleetEvent::of(&batch[0].machine, NOW, "fault", text)];
    assert_eq!(store.machines_step(epoch, &batch).await.unwrap().stored, [1, 2].map(MachineId));
    let event = store.fleet_events_last(Some(batch[0].machine.id), 1).await.unwrap().remove(0);
    assert_eq!(event.text, "part on psu1??[2J; GPU 3 Müller");
    store.fleet_event(&event).await.unwrap();
}

pub async fn the_newest_session_of_each_robot_is_kept(bed: &Bed) {
    let store = bed.open().await;
    assert_eq!(store.robots_kept().await.unwrap(), BTreeMap::new());
    let session = |n: u32| serde_json::json!({ "robot": "acme/r1", "n": n });
    let keep = async |robot: &str, n: u32| {
        store.robots_keep(&BTreeMap::from([(robot.to_owned(), session(n))]), NOW).await.unwrap();
    };
    keep("acme/r1", 1).await;
    keep("acme/r2", 2).await;
    keep("acme/r1", 3).await;
    let kept = BTreeMap::from([("acme/r1".to_owned(), session(3)), ("acme/r2".to_owned(), session(2))]);
    assert_eq!(store.robots_kept().await.unwrap(), kept);
}

pub async fn what_was_sent_to_a_bmc_is_known_and_never_by_a_fenced_controller(bed: &Bed) {
    let store = bed.open().await;
    let epoch = store.fleet_epoch_take().await.unwrap();
    let sent = |what: &str, entry: u64, attempt: u32| store::Sent {
        machine: MachineId(1),
        what: what.to_owned(),
        entry,
        attempt,
        again_at: NOW,
    };
    store.bmc_sending(epoch, &[sent("a", 1, 0), sent("b", 1, 0)]).await.unwrap();
    assert_eq!(store.bmc_sent().await.unwrap(), [sent("a", 1, 0), sent("b", 1, 0)]);
    // The next attempt forgets those before it; a word about an older one changes nothing.
    store.bmc_sending(epoch, &[sent("a", 1, 1)]).await.unwrap();
    store.bmc_sending(epoch, &[sent("a", 1, 0)]).await.unwrap();
    assert_eq!(store.bmc_sent().await.unwrap(), [sent("a", 1, 1)]);
    store.fleet_epoch_take().await.unwrap();
    assert!(matches!(store.bmc_sending(epoch, &[sent("b", 1, 1)]).await, Err(store::StepError::Fenced { .. })));
    assert_eq!(store.bmc_sent().await.unwrap(), [sent("a", 1, 1)]);
}
