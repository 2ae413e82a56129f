//! What one task, once done, says of parts and of who holds what.

use super::*;
use fleet::order::{Evidence, Task};

fn order(kind: OrderKind, verb: Verb, state: TaskState, scans: &[&str]) -> Order {
    let evidence = |value: &&str| Evidence {
        kind: "scan".to_owned(),
        value: (*value).to_owned(),
        sha256: None,
        by: "tok_a".to_owned(),
        at: UnixMillis(1),
    };
    let task = Task {
        id: TaskId(1),
        verb,
        subject: "gpu3".to_owned(),
        state,
        mass_g: 0,
        zone: String::new(),
        confirmations_min: 0,
        confirmed_by: Vec::new(),
        assignee: None,
        attempts: 0,
        evidence: scans.iter().map(evidence).collect(),
        note: None,
        changed_at: UnixMillis(1),
    };
    Order {
        id: OrderId(1),
        machine: MachineId(1),
        entry: 1,
        kind,
        state: OrderState::Open,
        made_at: UnixMillis(1),
        slot: "h1/r01/k01/u01".to_owned(),
        serial: None,
        tasks: vec![task],
        finding: None,
    }
}

/// An attempt that failed showed a part that was taken out again: in the machine is what was scanned last.
#[test]
fn the_part_that_was_scanned_last_is_in_the_bill() {
    let of = |state, scans: &[&str]| order(OrderKind::Repair, Verb::Swap, state, scans);
    let before = of(TaskState::Running, &["first"]);
    let done = of(TaskState::Done, &["first", "second"]);
    let expected = Swapped { machine: MachineId(1), part: "gpu3".to_owned(), serial: "second".to_owned() };
    assert_eq!(swapped(&before, &done), [expected]);
    // Not before it is done, and once.
    assert_eq!(swapped(&before, &before), []);
    assert_eq!(swapped(&done, &done), []);
    assert_eq!(swapped(&of(TaskState::Running, &[]), &of(TaskState::Done, &[])), []);
}

#[test]
fn custody_is_of_what_was_scanned_last() {
    let of = |state, scans: &[&str]| order(OrderKind::Receive, Verb::Scan, state, scans);
    let seen = custody(&of(TaskState::Running, &["other"]), &of(TaskState::Done, &["other", "right"]));
    assert!(matches!(seen.as_slice(), [(MachineId(1), _, Observation::Custody(seen))] if seen.serial == "right"));
    let install = order(OrderKind::Install, Verb::Scan, TaskState::Done, &["right"]);
    assert!(custody(&of(TaskState::Running, &[]), &install).is_empty());
}
