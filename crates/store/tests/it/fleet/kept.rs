//! What is bounded or in one place at a time: events of each machine, serial numbers in custody, zones that a robot left.

use super::*;

/// What one machine tells is bounded, and takes nothing away from another.
pub async fn old_events_are_forgotten_machine_by_machine(bed: &Bed) {
    let store = bed.open().await;
    let tell = async |machine: Option<MachineId>, count: u64| {
        let event = |n: u64| FleetEvent { seq: 0, at: NOW, machine, kind: "k".to_owned(), text: n.to_string() };
        let events: Vec<FleetEvent> = (0..count).map(event).collect();
        store.orders_change(&[], &[], &[], &[], &events, None).await.unwrap();
    };
    let (noisy, quiet) = (MachineId(1), MachineId(2));
    tell(Some(quiet), store::EVENTS_KEPT_MAX).await;
    tell(None, store::EVENTS_KEPT_MAX + 1).await;
    assert_eq!(store.fleet_events_forget().await.unwrap(), 0, "at the limit, and those of nobody have another");
    tell(Some(noisy), store::EVENTS_KEPT_MAX + store::EVENTS_FORGOTTEN_MAX + 3).await;
    for forgotten in [store::EVENTS_FORGOTTEN_MAX, 3, 0] {
        assert_eq!(store.fleet_events_forget().await.unwrap(), forgotten);
    }
    let kept = store.fleet_events_last(Some(noisy), 100_000).await.unwrap();
    assert_eq!(kept.len() as u64, store::EVENTS_KEPT_MAX);
    assert_eq!(kept[0].text, (store::EVENTS_FORGOTTEN_MAX + 3).to_string(), "the oldest are gone");
    assert_eq!(store.fleet_events_last(Some(quiet), 100_000).await.unwrap().len() as u64, store::EVENTS_KEPT_MAX);
}

/// One serial number is in one machine, for one kind of part, as long as that machine is not retired.
pub async fn a_serial_number_is_in_custody_once(bed: &Bed) {
    let store = site(bed).await;
    let custody = |serial: &str| Custody { serial: serial.into(), by: "tok_ann".into(), at: NOW, photo: None };
    let scan = async |machine: u128, serial: &str| {
        let seen = [(MachineId(machine), NOW, Observation::Custody(custody(serial)))];
        store.orders_change(&[], &seen, &[], &[], &[], None).await
    };
    let swap = async |machine: u128, part: &str, serial: &str| {
        let swap = Swapped { machine: MachineId(machine), part: part.to_owned(), serial: serial.to_owned() };
        store.orders_change(&[], &[], &[swap], &[], &[], None).await
    };
    // One of before this was written down.
    store.observe(&[(MachineId(1), NOW, Observation::Custody(custody("S1")))]).await.unwrap();
    let holder = async |part: &str, serial: &str, except: u128| {
        let holder = store.serial_holder(part, serial, MachineId(except), true).await.unwrap();
        holder.map(|it| (it.machine.0, it.part, it.scanned))
    };
    assert_eq!(holder("chassis", "S1", 2).await, None);
    store.custody_fill().await.unwrap();
    store.custody_fill().await.unwrap();
    assert_eq!(holder("chassis", "S1", 2).await, Some((1, "chassis".to_owned(), true)));
    assert_eq!(holder("chassis", "S1", 1).await, None);
    assert!(matches!(scan(2, "S1").await, Err(StoreError::Conflict { .. })));
    assert_eq!(store.observed(MachineId(2)).await.unwrap().custody, None, "nothing of it is stored");
    scan(1, "S1").await.unwrap();
    scan(2, "S2").await.unwrap();
    swap(1, "gpu1", "G").await.unwrap();
    assert!(matches!(swap(2, "gpu4", "G").await, Err(StoreError::Conflict { .. })));
    swap(2, "psu1", "G").await.unwrap();
    swap(1, "gpu2", "G").await.unwrap();
    assert_eq!(holder("gpu1", "G", 2).await, Some((1, "gpu2".to_owned(), true)), "moved within its machine");
    swap(1, "gpu1", "G").await.unwrap();
    // Out again, it may go elsewhere.
    swap(1, "gpu1", "H").await.unwrap();
    swap(2, "gpu4", "G").await.unwrap();
    assert_eq!(holder("gpu7", "G", 1).await, Some((2, "gpu4".to_owned(), true)));
    // What only a bill names.
    let row = store.machine(MachineId(1)).await.unwrap().unwrap();
    let odd = "B\\1\"%".to_owned();
    let serials = BTreeMap::from([("gpu2".to_owned(), "B_".to_owned()), ("gpu3".to_owned(), odd.clone())]);
    let spec = Spec { serials, ..row.spec.clone() };
    let change = SiteChange { add: Vec::new(), change: vec![(MachineId(1), row.version, spec)] };
    store.site_apply(("text", None), "sha256:00", NOW, &change, &entry("site.apply")).await.unwrap();
    assert_eq!(holder("gpu1", "B_", 2).await, Some((1, "gpu2".to_owned(), false)));
    assert_eq!(holder("gpu1", &odd, 2).await, Some((1, "gpu3".to_owned(), false)), "in JSON it has backslashes");
    assert_eq!(store.serial_holder("gpu1", "B_", MachineId(2), false).await.unwrap(), None, "bills were not asked");
    assert_eq!(holder("psu1", "B_", 2).await, None);
    assert_eq!(holder("gpu1", "Bx", 2).await, None);
    // Who is retired holds nothing.
    let epoch = store.fleet_epoch_take().await.unwrap();
    let batch: Vec<Decided> = due(&store).await.iter().map(|due| decided(due, Lifecycle::Retired)).collect();
    store.machines_step(epoch, &batch).await.unwrap();
    assert_eq!(holder("chassis", "S1", 2).await, None);
    scan(2, "S1").await.unwrap();
}

/// A robot whose task was taken away is where it was, for whoever else wants to begin there, until it has said that it stopped.
pub async fn a_zone_is_not_free_before_its_robot_has_stopped(bed: &Bed) {
    let store = site(bed).await;
    let epoch = store.fleet_epoch_take().await.unwrap();
    let mut batch: Vec<Decided> = due(&store).await.iter().map(|due| decided(due, Lifecycle::Planned)).collect();
    for (at, one) in (1..).zip(&mut batch) {
        let mut order = order(at, one.machine.id.0);
        order.tasks[0].assignee = Some(fleet::order::Assignee::Robot("acme/r1".to_owned()));
        order.tasks[0].state = if at == 1 { TaskState::Running } else { TaskState::Assigned };
        one.order = Some(order);
    }
    store.machines_step(epoch, &batch).await.unwrap();
    let rows = store.orders(None, None, 10).await.unwrap();
    let cancelled = Order { state: OrderState::Cancelled, ..rows[0].order.clone() };
    let left = fleet::order::left(&rows[0].order, &cancelled).unwrap();
    assert_eq!((left.task, left.robot.as_str(), left.zone.as_str()), (TaskId(1), "acme/r1", "k01"));
    assert_eq!(fleet::order::left(&rows[0].order, &rows[0].order), None);
    let gone = [(rows[0].order.id, left.clone(), NOW)];
    store.orders_change(&[(cancelled, rows[0].version)], &[], &[], &gone, &[], None).await.unwrap();
    assert_eq!(store.zones_left().await.unwrap(), [(left.clone(), NOW)]);
    // Another that left the same task is there too; the first one's word is not its own.
    let second = fleet::order::Left { robot: "acme/r2".to_owned(), ..left };
    let gone = [(rows[0].order.id, second.clone(), NOW)];
    store.orders_change(&[], &[], &[], &gone, &[], None).await.unwrap();
    store.zones_left_end(&[(TaskId(1), "acme/r1".to_owned())]).await.unwrap();
    assert_eq!(store.zones_left().await.unwrap(), [(second, NOW)]);
    assert_eq!(store.zones_busy(rows[1].order.id).await.unwrap(), BTreeSet::from(["k01".to_owned()]));
    let mut begun = rows[1].order.clone();
    begun.tasks[0].state = TaskState::Running;
    let begin = [(begun, rows[1].version)];
    let refused = store.orders_change(&begin, &[], &[], &[], &[], None).await.unwrap_err();
    assert!(refused.to_string().contains("a robot that has not said that it stopped"), "{refused}");
    store.zones_left_end(&[(TaskId(1), "acme/r2".to_owned())]).await.unwrap();
    assert!(store.zones_busy(rows[1].order.id).await.unwrap().is_empty());
    store.orders_change(&begin, &[], &[], &[], &[], None).await.unwrap();
    // A machine that is retired takes its order from a robot as a person does.
    let now = due(&store).await.into_iter().find(|due| due.row.machine.id == rows[1].order.machine).unwrap();
    let retired = Decided { cancel_orders: true, ..decided(&now, Lifecycle::Retired) };
    store.machines_step(epoch, &[retired]).await.unwrap();
    let left = store.zones_left().await.unwrap();
    assert_eq!((left.len(), left[0].0.task, left[0].1), (1, TaskId(2), NOW));
}
