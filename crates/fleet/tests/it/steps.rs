//! Whatever is observed of a machine, in whatever order: no panic, legal edges, no capacity without a certificate, and the
//! same answer to the same question.

use fleet::action::Action;
use fleet::drains::{self, DrainLimits};
use fleet::invariants;
use fleet::lifecycle::{self, Rules};
use fleet::machine::{Machine, MachineKind, Spec};
use fleet::observed::*;
use fleet::order::OrderState;
use proptest::prelude::*;
use types::{AcceptanceId, MachineId, UnixMillis};

fn spec(wanted: bool, drain: bool) -> Spec {
    Spec {
        generation: 1,
        kind: MachineKind::DgxB200,
        slot: "hall-1/row-a/rack-01/u11".into(),
        unit: "su-01".into(),
        domains: vec!["leaf-12".into()],
        zone: None,
        serials: [("chassis", "S1"), ("gpu1", "G1")].map(|(part, serial)| (part.into(), serial.into())).into(),
        parts: [("gpu".to_owned(), 1)].into(),
        firmware: [("bmc".to_owned(), "2.0".to_owned())].into(),
        secure_boot: None,
        suite: "burn-in".into(),
        wanted,
        drain: drain.then(|| "ann: rails".to_owned()),
    }
}

/// What the world says in one round, relative to the machine as it is: mostly right, sometimes not.
#[derive(Debug, Clone)]
struct Round {
    hours: i64,
    order: Option<(bool, OrderState)>,
    scan: Option<bool>,
    bmc: Option<(bool, bool, bool, bool)>,
    agent: Option<(bool, bool, bool)>,
    validation: Option<(bool, TestOutcome)>,
    certified: Option<(bool, bool)>,
    running: u32,
    event: Option<(u8, u16)>,
    wanted: bool,
    drain: bool,
    release: bool,
}

fn round() -> impl Strategy<Value = Round> {
    let often = || prop::bool::weighted(0.85);
    let order = (often(), prop::sample::select(OrderState::ALL.to_vec()));
    let order = prop_oneof![Just((true, OrderState::Done)), order];
    let outcome = prop::sample::select(vec![
        TestOutcome::Passed,
        TestOutcome::Passed,
        TestOutcome::Failed,
        TestOutcome::TimedOut,
    ]);
    let first = (
        prop_oneof![Just(0i64), 0i64..3, 0i64..2_000],
        prop::option::weighted(0.9, order),
        prop::option::weighted(0.5, often()),
        prop::option::weighted(0.8, (often(), often(), often(), often())),
        prop::option::weighted(0.8, (often(), often(), often())),
        prop::option::weighted(0.8, (often(), outcome)),
    );
    let second = (
        prop::option::weighted(0.8, (often(), often())),
        0u32..2,
        prop::option::weighted(0.3, (0u8..7, prop::sample::select(vec![13u16, 31, 43, 64, 79, 119, 4_711]))),
        prop::bool::weighted(0.97),
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.3),
    );
    (first, second).prop_map(
        |((hours, order, scan, bmc, agent, validation), (certified, running, event, wanted, drain, release))| Round {
            hours,
            order,
            scan,
            bmc,
            agent,
            validation,
            certified,
            running,
            event,
            wanted,
            drain,
            release,
        },
    )
}

fn see(seen: &mut Observed, machine: &Machine, round: &Round, now: UnixMillis) {
    let right = |right: bool, yes: &str, no: &str| if right { yes.to_owned() } else { no.to_owned() };
    let entry = |ours: bool| if ours { machine.entry } else { machine.entry.saturating_sub(1) };
    if let Some((ours, state)) = round.order {
        seen.order = Some(OrderSeen { entry: entry(ours), state, finding: None });
    }
    if let Some(ours) = round.scan {
        seen.custody = Some(Custody { serial: right(ours, "S1", "S2"), by: "ann".into(), at: now, photo: None });
    }
    if let Some((serial, power, part, firmware)) = round.bmc {
        let gpu = Part { kind: "gpu".into(), model: String::new(), serial: right(part, "G1", "G2"), healthy: true };
        seen.bmc = Some(BmcSeen {
            at: now,
            silent_since: None,
            inventory: Inventory {
                serial: right(serial, "S1", ""),
                power: if power { Power::On } else { Power::Off },
                parts: [("gpu1".to_owned(), gpu)].into(),
                firmware: [("bmc".to_owned(), right(firmware, "2.0", "1.0"))].into(),
                ..Inventory::default()
            },
        });
    }
    if let Some((serial, clock, whole)) = round.agent {
        let gpu = GpuSeen { nvlinks_up: if whole { 18 } else { 3 }, serial: "G1".into(), ..GpuSeen::default() };
        seen.agent = Some(AgentSeen {
            at: now,
            serial: right(serial, "S1", "S9"),
            driver: "570.1".into(),
            gpus: [("GPU-1".to_owned(), gpu)].into(),
            clock_skew_ms: if clock { 5 } else { 86_400_000 },
        });
    }
    if let Some((ours, outcome)) = round.validation {
        let (name, threshold, value) = ("mem".into(), String::new(), String::new());
        seen.validation = Some(Validation {
            suite: "burn-in".into(),
            entry: entry(ours),
            attempt: machine.attempt,
            begun_at: now,
            ended_at: Some(now),
            tests: vec![TestResult { name, outcome, threshold, value, millis: 1 }],
        });
    }
    if let Some((ours, sealed)) = round.certified {
        let entry = entry(ours);
        seen.certified = Some(Certified { entry, certificate: AcceptanceId(u128::from(entry)), sealed });
    }
    seen.running = round.running;
    let (domain, port) = ("leaf-12".to_owned(), "p1".to_owned());
    let what = round.event.map(|(kind, code)| match kind {
        0 => EventKind::LinkDown { domain, port },
        1 => EventKind::LinkUp { domain, port },
        2 => EventKind::Part { part: "psu3".into(), text: String::new() },
        3 => EventKind::Thermal { gpu: 0, temperature_c: 99 },
        4 => EventKind::Reset { gpu: 0, since: machine.measures.last().map_or(now, |it| it.at) },
        _ => EventKind::Xid { code, gpu: 0, driver: "570.1".into() },
    });
    seen.events.extend(what.map(|what| Event { at: now, what }));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_observed(rounds in prop::collection::vec(round(), 1..60)) {
        let mut now = UnixMillis(1_000_000_000);
        let mut machine = Machine::planned(MachineId(1), now);
        let mut seen = Observed::default();
        let mut rules = Rules::default();
        for round in &rounds {
            now = UnixMillis(now.0 + round.hours * 3_600_000 + 60_000);
            if round.release {
                machine = lifecycle::release(&machine, "ann", "why not", now).unwrap_or(machine);
            }
            let spec = spec(round.wanted, round.drain);
            see(&mut seen, &machine, round, now);
            rules.permits = drains::decide([(&spec, &machine)], &DrainLimits::default(), now);
            let step = lifecycle::step(&spec, &machine, &seen, &rules, now);
            prop_assert_eq!(&step, &lifecycle::step(&spec, &machine, &seen, &rules, now));
            prop_assert_eq!(invariants::transition(&machine, &step.next, &seen), vec![]);
            prop_assert_eq!(invariants::check([(&step.next, &seen)], &[]), vec![]);
            // Crashed after it was stored and before anything was done: the next step asks for the same.
            let left = Observed { events: seen.events[step.events_taken..].to_vec(), ..seen.clone() };
            if step.next.entry == machine.entry && step.next.attempt == machine.attempt {
                let again = lifecycle::step(&spec, &step.next, &left, &rules, now);
                prop_assert_eq!(&again.next, &step.next);
                prop_assert_eq!(&again.actions, &step.actions);
            }
            // Only in service is anything done to what runs.
            let touches = |it: &Action| matches!(it, Action::ResetGpu { .. } | Action::RestartEngine { .. });
            let serves = step.next.lifecycle == fleet::machine::Lifecycle::Accepted;
            prop_assert!(serves || !step.actions.iter().any(touches));
            machine = step.next;
            seen = left;
        }
    }
}
