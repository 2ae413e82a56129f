//! What a changed file does to machines that exist, and what it must not do silently.

use super::{SMALL, good};
use crate::machine::{Lifecycle, Spec};
use crate::site::{Diff, diff, settle};

const OTHER: &str = "h1/r01/k01/u13";
const FIRST: &str = "h1/r01/k01/u01";

fn specs(text: &str) -> Vec<Spec> {
    good(text).machines().into_iter().map(|it| it.spec).collect()
}

/// The small site is there, both machines in this state; then the file changes.
fn to(state: Lifecycle, changes: &[(&str, &str)]) -> Diff {
    let mut text = SMALL.to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    diff(&specs(SMALL), &good(&text).machines(), |_| Some(state))
}

#[test]
fn the_same_file_changes_nothing() {
    assert!(to(Lifecycle::Accepted, &[]).is_empty());
    assert_eq!(diff(&[], &good(SMALL).machines(), |_| None).added, [FIRST, OTHER]);
}

#[test]
fn changes_are_named_field_by_field() {
    let found = to(
        Lifecycle::Accepted,
        &[("HostBMC_0 = \"25.03.1\"", "HostBMC_0 = \"25.08.0\""), ("cpu = 2", "cpu = 2, dimm = 32")],
    );
    assert_eq!(found.changed.len(), 2);
    assert_eq!(found.changed[0].fields, ["firmware.HostBMC_0: 25.03.1 -> 25.08.0", "parts.dimm: nothing -> 32"]);
    assert!(found.refused.is_empty());
}

/// What was scanned at receipt is not in the file, and stays.
#[test]
fn scanned_serials_are_not_taken_away() {
    let mut old = specs(SMALL);
    old[1].serials.insert("chassis".to_owned(), "777".to_owned());
    assert!(diff(&old, &good(SMALL).machines(), |_| Some(Lifecycle::Received)).is_empty());
}

#[test]
fn a_machine_that_is_there_is_not_moved_or_removed_by_a_file() {
    let moved = [("slots = \"h1/r01/k01/u01\"\nserials", "slots = \"h1/r01/k01/u13\"\nserials")];
    let found = to(Lifecycle::Accepted, &moved);
    assert_eq!(found.refused.len(), 1, "{found:?}");
    assert_eq!((found.refused[0].slot.as_str(), found.refused[0].code), (FIRST, "moved"));
    assert!(found.refused[0].text.contains("accepted") && found.refused[0].text.contains(OTHER), "{found:?}");
    assert!(found.added.is_empty() && found.changed.is_empty() && found.removed.is_empty());
    assert!(to(Lifecycle::Planned, &moved).refused.is_empty(), "on paper it may move");

    let gone = [("slots = \"u01, u13\"\nmachines = 2", "slots = \"u01\"\nmachines = 1")];
    let found = to(Lifecycle::Received, &gone);
    assert_eq!((found.refused[0].slot.as_str(), found.refused[0].code), (OTHER, "removed"));
    assert!(found.removed.is_empty());
    assert_eq!(to(Lifecycle::Planned, &gone).removed, [OTHER]);
    assert_eq!(to(Lifecycle::Retired, &gone).removed, [OTHER]);
}

#[test]
fn another_chassis_in_a_slot_that_is_taken_is_refused() {
    let other = [("1663522000017", "1663522000099")];
    assert_eq!(to(Lifecycle::Installed, &other).refused[0].code, "serials");
    assert_eq!(to(Lifecycle::Planned, &other).changed[0].fields, ["serials.chassis: 1663522000017 -> 1663522000099"]);
}

#[test]
fn another_kind_in_a_slot_that_is_taken_is_refused() {
    let mut old = specs(SMALL);
    old[1].kind = crate::machine::MachineKind::RtxPro;
    let found = diff(&old, &good(SMALL).machines(), |_| Some(Lifecycle::Accepted));
    assert_eq!((found.refused.len(), found.refused[0].code), (1, "kind"));
    assert_eq!(diff(&old, &good(SMALL).machines(), |_| None).changed[0].fields, ["kind: rtx-pro -> dgx-b200"]);
}

/// A repair put another GPU into the bill, and a person retired the second machine. The next file has other firmware and says
/// of both what it said before.
#[test]
fn what_a_file_does_not_say_anew_stays_as_it_is() {
    let gpu = |text: &str, serial: &str| {
        let mut machines = good(text).machines();
        machines[0].spec.serials.insert("gpu3".to_owned(), serial.to_owned());
        machines
    };
    let former = gpu(SMALL, "old");
    let mut present: Vec<Spec> = former.iter().map(|it| it.spec.clone()).collect();
    present[0].serials.insert("gpu3".to_owned(), "new".to_owned());
    present[0].serials.insert("psu1".to_owned(), "scanned".to_owned());
    present[1].wanted = false;
    let changed = SMALL.replace("HostBMC_0 = \"25.03.1\"", "HostBMC_0 = \"25.08.0\"");
    let mut next = gpu(&changed, "old");
    assert!(settle(&mut next, &former, &present).is_empty());
    assert_eq!((next[0].spec.serials["gpu3"].as_str(), next[0].spec.serials["psu1"].as_str()), ("new", "scanned"));
    assert!(next[0].spec.wanted && !next[1].spec.wanted);
    let found = diff(&present, &next, |_| Some(Lifecycle::Accepted));
    assert!(found.changed.iter().all(|it| it.fields == ["firmware.HostBMC_0: 25.03.1 -> 25.08.0"]), "{found:?}");

    // What it says anew is taken.
    let mut next = gpu(SMALL, "third");
    settle(&mut next, &former, &present);
    assert_eq!(next[0].spec.serials["gpu3"], "third");
    let mut out = former.clone();
    out[1].spec.wanted = false;
    let mut next = gpu(SMALL, "old");
    settle(&mut next, &out, &present);
    assert!(next[1].spec.wanted, "the file takes it in again");

    // When it is gone, the same file plans no other one in its place; another chassis is another machine.
    let mut next = gpu(SMALL, "old");
    assert_eq!(settle(&mut next, &former, &present[..1]), [OTHER]);
    assert_eq!(next.len(), 1);
    let mut next = gpu(SMALL, "old");
    next[1].spec.serials.insert("chassis".to_owned(), "778".to_owned());
    assert!(settle(&mut next, &former, &present[..1]).is_empty());
    assert_eq!(next.len(), 2);
}

/// A slot that waits for its machine is given to another one: nothing of the first is kept.
#[test]
fn another_machine_brings_its_own_serials() {
    let former = good(SMALL).machines();
    let mut present: Vec<Spec> = former.iter().map(|it| it.spec.clone()).collect();
    present[0].serials.insert("gpu1".to_owned(), "of the first".to_owned());
    let mut next = former.clone();
    next[0].spec.serials.insert("chassis".to_owned(), "another".to_owned());
    settle(&mut next, &former, &present);
    assert_eq!((next[0].spec.serials["chassis"].as_str(), next[0].spec.serials.get("gpu1")), ("another", None));
}
