//! Storms: how many may drain, who waits, who is told.

use super::*;
use crate::diagnosis::LINK_DOWN;
use crate::machine::MachineKind;
use types::MachineId;

const NOW: UnixMillis = UnixMillis(100 * DAY);

fn spec(domain: &str) -> Spec {
    Spec {
        generation: 1,
        kind: MachineKind::DgxB200,
        slot: String::new(),
        unit: String::new(),
        domains: vec![domain.to_owned()],
        zone: None,
        serials: BTreeMap::new(),
        parts: BTreeMap::new(),
        firmware: BTreeMap::new(),
        secure_boot: None,
        suite: String::new(),
        wanted: true,
        drain: None,
    }
}

/// `count` accepted machines behind this domain that wait with this finding, numbered from `from`.
fn waiting(from: u128, count: u128, domain: &str, code: &str, about: &str) -> Vec<(Spec, Machine)> {
    let one = |id| {
        let machine = Machine {
            lifecycle: Lifecycle::Accepted,
            repair: Some(Finding::new(code, about, "", UnixMillis(NOW.0 - 1))),
            ..Machine::planned(MachineId(id), UnixMillis(0))
        };
        (spec(domain), machine)
    };
    (from..from + count).map(one).collect()
}

fn drained(id: u128, domain: &str, cause: &str, ago: i64) -> (Spec, Machine) {
    let fault = FaultMark { at: UnixMillis(NOW.0 - ago), cause: cause.into(), about: String::new(), by_person: false };
    let machine = Machine { faults: vec![fault], ..Machine::planned(MachineId(id), UnixMillis(0)) };
    (spec(domain), machine)
}

fn decided(fleet: &[(Spec, Machine)]) -> Permits {
    decide(fleet.iter().map(|(spec, machine)| (spec, machine)), &DrainLimits::default(), NOW)
}

fn granted(fleet: &[(Spec, Machine)]) -> usize {
    decided(fleet).granted()
}

#[test]
fn one_switch_and_two_hundred_machines() {
    let fleet = waiting(1, 200, "leaf-12", LINK_DOWN, "leaf-12");
    let permits = decided(&fleet);
    assert_eq!(permits.granted(), DOMAIN_PER_HOUR_MAX);
    let why = "leaf-12: 8 of 8 automatic drains this hour; cause looks shared";
    assert_eq!(permits.of(MachineId(8)), Permit::Granted);
    assert_eq!(permits.of(MachineId(9)), Permit::Refused(why.to_owned()));
    assert_eq!(permits.of(MachineId(200)), Permit::Refused(why.to_owned()));
    assert_eq!(permits.of(MachineId(201)), Permit::Undecided);
    let pages: Vec<_> = permits.pages.iter().map(|page| (page.code.as_str(), page.about.as_str())).collect();
    assert_eq!(pages, [("shared_cause", "leaf-12")], "one page, not two hundred");
}

#[test]
fn the_limits_at_their_edges() {
    let hour = |count: u128| {
        let begun = (1_000..1_000 + count).map(|id| drained(id, "leaf-1", "xid_79", HOUR - 1));
        begun.chain(waiting(1, 1, "leaf-1", "xid_79", "gpu1")).collect::<Vec<_>>()
    };
    assert_eq!((granted(&hour(7)), granted(&hour(8))), (1, 0));
    let day = |count: u128| {
        let begun = (1_000..1_000 + count).map(|id| drained(id, "leaf-1", "xid_79", HOUR));
        begun.chain(waiting(1, 1, "leaf-1", "xid_79", "gpu1")).collect::<Vec<_>>()
    };
    assert_eq!((granted(&day(15)), granted(&day(16))), (1, 0));
    let yesterday: Vec<_> = (1_000..1_016).map(|id| drained(id, "leaf-1", "xid_79", DAY)).collect();
    assert_eq!(granted(&[yesterday, waiting(1, 1, "leaf-1", "xid_79", "gpu1")].concat()), 1);
    // The site's limit over domains that are each below theirs.
    let spread: Vec<_> = (0..20).flat_map(|id| waiting(id, 1, &format!("leaf-{id}"), "xid_79", "gpu1")).collect();
    assert_eq!(granted(&spread), SITE_PER_HOUR_MAX);
    assert_eq!(decided(&spread).pages[0].code, "drain_limit");
}

#[test]
fn failed_suites_are_no_drains() {
    let failed: Vec<_> =
        (1_000..1_030).map(|id| drained(id, "leaf-1", crate::lifecycle::VALIDATION_FAULT, 1)).collect();
    assert_eq!(granted(&[failed, waiting(1, 1, "leaf-1", "xid_79", "gpu1")].concat()), 1);
}

/// A machine that waits for a permit, and what its drain counts as.
#[test]
fn what_a_person_drains_is_no_automatic_drain() {
    let agent = crate::observed::AgentSeen {
        at: UnixMillis(NOW.0 - HOUR),
        serial: String::new(),
        driver: String::new(),
        gpus: BTreeMap::new(),
        clock_skew_ms: 0,
    };
    let observed = crate::observed::Observed { agent: Some(agent), ..Default::default() };
    let drained = |by_person: bool| {
        let (mut spec, machine) = waiting(1, 1, "leaf-1", "agent_silent", "").remove(0);
        let rules =
            crate::lifecycle::Rules { permits: decided(&[(spec.clone(), machine.clone())]), ..Default::default() };
        spec.drain = by_person.then(|| "a look at its fans".to_owned());
        let machine = crate::lifecycle::step(&spec, &machine, &observed, &rules, NOW).next;
        assert_eq!((machine.lifecycle, machine.faults.len()), (Lifecycle::Drain, 1), "{}", machine.reason);
        assert_eq!(machine.faults[0].by_person, by_person);
        (spec, machine)
    };
    let eight = |by_person: bool| {
        let begun = (0..8).map(|_| drained(by_person));
        begun.chain(waiting(9, 1, "leaf-1", "xid_79", "gpu1")).collect::<Vec<_>>()
    };
    assert_eq!((granted(&eight(true)), granted(&eight(false))), (1, 0));
}

#[test]
fn a_storm_leaves_room_for_others() {
    let storm = waiting(1, 200, "leaf-12", LINK_DOWN, "leaf-12");
    let other = waiting(900, 3, "leaf-13", "xid_79", "gpu1");
    let permits = decided(&[storm, other].concat());
    assert!((900..903).all(|id| permits.of(MachineId(id)) == Permit::Granted));
}
