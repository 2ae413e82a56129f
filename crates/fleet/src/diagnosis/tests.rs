//! Verdicts over histories of events, and what is asked for them.

use super::*;
use crate::machine::MachineKind;
use std::collections::BTreeMap;
use types::MachineId;

const T: i64 = 1_000 * DAY;

fn spec() -> Spec {
    Spec {
        generation: 1,
        kind: MachineKind::RtxPro,
        slot: String::new(),
        unit: String::new(),
        domains: Vec::new(),
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

fn accepted() -> Machine {
    Machine { lifecycle: Lifecycle::Accepted, ..Machine::planned(MachineId(1), UnixMillis(0)) }
}

/// Takes one event at this time; answers what it was answered with, if with something.
fn take_one(machine: &mut Machine, at: i64, what: EventKind) -> Option<XidAction> {
    let before = machine.measures.len();
    let seen = Observed { events: vec![Event { at: UnixMillis(at), what }], ..Observed::default() };
    take_events(machine, &spec(), &seen, &Rules::default(), UnixMillis(at));
    machine.measures.get(before).map(|it| it.action)
}

fn xid(code: u16, gpu: u32) -> EventKind {
    EventKind::Xid { code, gpu, driver: "570.1".into() }
}

/// Seen done, whatever it was.
fn finish(machine: &mut Machine) {
    machine.measures.iter_mut().for_each(|it| it.open = false);
}

#[test]
fn repeats_escalate_within_a_day_and_on_one_gpu() {
    use XidAction::{Drain, Reset, Restart};
    let check = |every: i64, want: &[XidAction]| {
        let mut machine = accepted();
        for (at, want) in (0..).zip(want) {
            assert_eq!(take_one(&mut machine, T + at * every, xid(31, 0)), Some(*want), "event {at} every {every}");
            finish(&mut machine);
            take_one(&mut machine, T + at * every, xid(31, 1));
            finish(&mut machine);
        }
    };
    check(HOUR, &[Restart, Restart, Reset, Drain]);
    check(DAY, &[Restart, Restart, Restart, Restart]);
    check(DAY / 2, &[Restart, Restart, Restart, Restart]);
}
const HOUR: i64 = 60 * MINUTE;

#[test]
fn a_burst_is_one_event() {
    let mut machine = accepted();
    assert_eq!(take_one(&mut machine, T, xid(31, 0)), Some(XidAction::Restart));
    // While the restart is awaited, and within a minute of it.
    assert_eq!(take_one(&mut machine, T + 5 * MINUTE, xid(13, 0)), None);
    finish(&mut machine);
    assert_eq!(take_one(&mut machine, T + BURST_MILLIS - 1, xid(13, 0)), None);
    assert_eq!(take_one(&mut machine, T + 5 * MINUTE, xid(13, 0)), Some(XidAction::Restart));
    // What is worse is not part of the burst.
    assert_eq!(take_one(&mut machine, T + 5 * MINUTE, xid(79, 0)), Some(XidAction::Drain));
}

#[test]
fn the_same_fault_after_a_drain_is_an_exchange() {
    let mark = |about: &str, ago: i64| crate::machine::FaultMark {
        at: UnixMillis(T - ago),
        cause: "xid_79".into(),
        about: about.into(),
        by_person: false,
    };
    let check = |about, ago, want| {
        let mut machine = Machine { faults: vec![mark(about, ago)], ..accepted() };
        assert_eq!(take_one(&mut machine, T, xid(79, 0)), Some(want), "{about} {ago}");
    };
    check("gpu1", DAY, XidAction::Rma);
    check("gpu1", FAULT_REPEAT_MILLIS - 1, XidAction::Rma);
    check("gpu1", FAULT_REPEAT_MILLIS, XidAction::Drain);
    check("gpu2", DAY, XidAction::Drain);
}

#[test]
fn what_is_asked_for_is_asked_for_until_it_is_seen() {
    let mut machine = accepted();
    take_one(&mut machine, T, xid(119, 3));
    let ask = [Action::ResetGpu { gpu: 3, since: UnixMillis(T) }];
    assert_eq!(actions(&machine), ask);
    // Another GPU's, another event's: not this.
    take_one(&mut machine, T + 1, EventKind::Reset { gpu: 2, since: UnixMillis(T) });
    take_one(&mut machine, T + 1, EventKind::Reset { gpu: 3, since: UnixMillis(T - 1) });
    assert_eq!(actions(&machine), ask);
    let mut late = machine.clone();
    take_one(&mut machine, T + 2, EventKind::Reset { gpu: 3, since: UnixMillis(T) });
    assert_eq!(actions(&machine), []);
    // Not done in its time: harder.
    take_events(&mut late, &spec(), &Observed::default(), &Rules::default(), UnixMillis(T + MEASURE_MILLIS_MAX));
    assert_eq!(actions(&late), ask);
    take_events(&mut late, &spec(), &Observed::default(), &Rules::default(), UnixMillis(T + MEASURE_MILLIS_MAX + 1));
    assert_eq!(actions(&late), []);
    assert_eq!(late.measures.last().unwrap().action, XidAction::Drain);
}

#[test]
fn links_may_fall_once_and_for_minutes() {
    let (down, up) = (
        || EventKind::LinkDown { domain: "leaf-1".into(), port: "p".into() },
        || EventKind::LinkUp { domain: "leaf-1".into(), port: "p".into() },
    );
    let pending = |machine: &Machine, at| {
        pending(machine, &spec(), &Observed::default(), &Rules::default(), UnixMillis(at)).map(|it| it.about)
    };
    let mut machine = accepted();
    take_one(&mut machine, T, down());
    assert_eq!(pending(&machine, T + LINK_MILLIS_MAX), None);
    assert_eq!(pending(&machine, T + LINK_MILLIS_MAX + 1).as_deref(), Some("leaf-1"));
    take_one(&mut machine, T + MINUTE, up());
    assert_eq!(pending(&machine, T + HOUR), None);
    // Twice in five minutes is a flapping one.
    take_one(&mut machine, T + 2 * MINUTE, down());
    assert_eq!(pending(&machine, T + 2 * MINUTE).as_deref(), Some("leaf-1"));
}

#[test]
fn readings_are_forgotten_when_they_are_mended() {
    use crate::observed::{AgentSeen, BmcSeen, GpuSeen, Inventory, Part};
    let agent = AgentSeen {
        at: UnixMillis(T),
        serial: String::new(),
        driver: String::new(),
        gpus: [("GPU-1".to_owned(), GpuSeen::default())].into(),
        clock_skew_ms: 0,
    };
    let part = Part { kind: "psu".into(), healthy: true, ..Part::default() };
    let parts = [("psu1".to_owned(), part.clone()), ("psu2".to_owned(), part)].into();
    let inventory = Inventory { parts, ..Inventory::default() };
    let bmc = BmcSeen { at: UnixMillis(T), silent_since: None, inventory };
    let good = Observed { agent: Some(agent), bmc: Some(bmc), ..Observed::default() };
    let check = |change: &dyn Fn(&mut Observed), later: i64, want: Option<(Severity, &str)>| {
        let mut seen = good.clone();
        change(&mut seen);
        let found = standing(&spec(), &seen, &Rules::default(), UnixMillis(T + later));
        let worst = found.iter().max_by_key(|it| it.severity).map(|it| (it.severity, it.finding.code.as_str()));
        assert_eq!(worst, want);
    };
    let silent = crate::lifecycle::Limits::default();
    // The chassis is of the bill and no part of itself.
    let with_chassis = Spec { parts: [("chassis".to_owned(), 1)].into(), ..spec() };
    let seen = |serial: &str| -> Vec<String> {
        let mut seen = good.clone();
        seen.bmc.as_mut().unwrap().inventory.serial = serial.to_owned();
        let found = standing(&with_chassis, &seen, &Rules::default(), UnixMillis(T));
        found.into_iter().map(|it| it.finding.code).collect()
    };
    assert_eq!(seen("C1"), Vec::<String>::new());
    assert_eq!(seen(""), ["part_missing"]);
    check(&|_| {}, silent.agent_silent, None);
    check(&|_| {}, silent.agent_silent + 1, Some((Severity::Drain, "agent_silent")));
    let mute = |it: &mut Observed| it.bmc.as_mut().unwrap().silent_since = Some(UnixMillis(T - silent.bmc_silent));
    check(&mute, 0, None);
    check(&mute, 1, Some((Severity::Watch, "bmc_silent")));
    check(&mute, silent.agent_silent + 1, Some((Severity::Drain, "machine_silent")));
    let gpu = |change: fn(&mut GpuSeen)| {
        move |it: &mut Observed| change(it.agent.as_mut().unwrap().gpus.get_mut("GPU-1").unwrap())
    };
    check(&gpu(|it| it.remap_failed = true), 0, Some((Severity::Exchange, "remap_failed")));
    check(&gpu(|it| it.throttled = true), 0, Some((Severity::Watch, "throttled")));
    check(&gpu(|it| it.ecc_uncorrected = 1), 0, Some((Severity::Watch, "ecc")));
    let sick = |it: &mut Observed, name: &str| {
        it.bmc.as_mut().unwrap().inventory.parts.get_mut(name).unwrap().healthy = false;
    };
    check(&|it| sick(it, "psu1"), 0, Some((Severity::Watch, "part_faulty")));
    check(
        &|it| ["psu1", "psu2"].map(|name| sick(it, name)).into_iter().collect(),
        0,
        Some((Severity::Exchange, "part_faulty")),
    );
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut machine = accepted();
    for at in 0..200 {
        take_one(&mut machine, T + at * 2 * MINUTE, xid(43, 0));
        assert!(machine.measures.len() <= MEASURES_KEPT_MAX);
    }
    assert_eq!(machine.measures.len(), MEASURES_KEPT_MAX);
}

#[test]
fn a_controller_that_was_away_blames_nobody() {
    use crate::observed::{AgentSeen, BmcSeen, Inventory};
    // Everything was last seen two hours ago; this controller listens since now.
    let at = UnixMillis(T - 2 * HOUR);
    let (serial, driver, gpus) = (String::new(), String::new(), BTreeMap::new());
    let agent = AgentSeen { at, serial, driver, gpus, clock_skew_ms: 0 };
    let bmc = BmcSeen { at, silent_since: Some(at), inventory: Inventory::default() };
    let seen = Observed { agent: Some(agent), bmc: Some(bmc), ..Observed::default() };
    let (link, hang) = (EventKind::LinkDown { domain: "leaf-1".into(), port: "p".into() }, xid(119, 0));
    let mut machine = accepted();
    take_one(&mut machine, at.0, link);
    take_one(&mut machine, at.0, hang);
    let found = |listening_since: i64| {
        let rules = Rules { listening_since: UnixMillis(listening_since), ..Rules::default() };
        let mut machine = machine.clone();
        take_events(&mut machine, &spec(), &seen, &rules, UnixMillis(T));
        let harder = machine.measures.len() - 2;
        let silent = standing(&spec(), &seen, &rules, UnixMillis(T)).len();
        (silent, links(&machine, &rules, UnixMillis(T)).is_some(), harder)
    };
    assert_eq!(found(0), (1, true, 1));
    assert_eq!(found(T), (0, false, 0));
}

/// The driver counts from 0 along the bus, the bill from 1 along the slots: a part that is exchanged is named by its serial
/// number wherever that is known.
#[test]
fn a_gpu_that_is_gone_is_named_by_its_serial_number() {
    use crate::observed::{AgentSeen, BmcSeen, GpuSeen, Inventory, Part};
    let part = |serial: &str| Part { kind: "gpu".into(), serial: serial.into(), healthy: true, ..Part::default() };
    // Slot 1 is last on the bus.
    let parts = [("gpu1", "C"), ("gpu2", "A"), ("gpu3", "B")].map(|(name, serial)| (name.to_owned(), part(serial)));
    let inventory = Inventory { parts: parts.into(), ..Inventory::default() };
    let bmc = BmcSeen { at: UnixMillis(T), silent_since: None, inventory };
    let seen = |gpus: &[(u32, &str)]| {
        let gpu = |(index, serial): &(u32, &str)| {
            (format!("GPU-{index}"), GpuSeen { index: *index, serial: (*serial).into(), ..GpuSeen::default() })
        };
        let gpus = gpus.iter().map(gpu).collect();
        let agent =
            AgentSeen { at: UnixMillis(T), serial: String::new(), driver: String::new(), gpus, clock_skew_ms: 0 };
        Observed { agent: Some(agent), bmc: Some(bmc.clone()), ..Observed::default() }
    };
    let spec = Spec { parts: [("gpu".to_owned(), 3)].into(), ..spec() };
    let check = |gpus: &[(u32, &str)], want: Option<(Severity, &str, &str)>| {
        let found = standing(&spec, &seen(gpus), &Rules::default(), UnixMillis(T));
        let found = found.first().map(|it| (it.severity, it.finding.code.as_str(), it.finding.about.as_str()));
        assert_eq!(found, want, "{gpus:?}");
    };
    check(&[(0, "A"), (1, "B"), (2, "C")], None);
    check(&[(0, "A"), (1, "B")], Some((Severity::Exchange, "gpu_missing", "gpu1")));
    check(&[(0, "B"), (1, "C")], Some((Severity::Exchange, "gpu_missing", "gpu2")));
    // Two are gone, or a serial number is not told: counted.
    check(&[(0, "A")], Some((Severity::Exchange, "gpu_missing", "gpu2")));
    check(&[(0, ""), (1, "C")], Some((Severity::Exchange, "gpu_missing", "gpu3")));
    // All are gone: that is the driver, and nothing is exchanged for it.
    check(&[], Some((Severity::Drain, "gpus_unseen", "")));

    let events = |part: &str| {
        let what = EventKind::Part { part: part.into(), text: "gone".into() };
        Observed { events: vec![Event { at: UnixMillis(T), what }], ..seen(&[(0, "A"), (1, "B")]) }
    };
    for (told, about) in [("C", "gpu1"), ("gpu3", "gpu3"), ("X", "X")] {
        let mut machine = accepted();
        take_events(&mut machine, &spec, &events(told), &Rules::default(), UnixMillis(T));
        let measure = machine.measures.first().map(|it| (it.about.as_str(), it.action));
        assert_eq!(measure, Some((about, XidAction::Rma)));
    }
}
