//! What a changed file does to machines that exist, and what it must not do silently.

use super::{SMALL, good};
use crate::machine::{Lifecycle, Spec};
use crate::site::{Diff, diff};

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
