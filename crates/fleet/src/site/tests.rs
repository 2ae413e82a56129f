//! Both sites of this repository, and one table of everything that can be wrong.

use super::*;

const SMALL: &str = include_str!("../../../../sites/small/site.toml");
const MUNICH: &str = include_str!("../../../../sites/munich/site.toml");

fn good(text: &str) -> Site {
    let reading = read(text, None);
    let errors: Vec<String> = reading.errors().map(ToString::to_string).collect();
    assert!(errors.is_empty(), "{}", errors.join("\n"));
    reading.site.unwrap()
}

#[test]
fn the_small_site_is_two_machines_in_one_rack() {
    let site = good(SMALL);
    let machines = site.machines();
    assert_eq!(machines.len(), 2);
    let first = &machines[0];
    assert_eq!((first.spec.slot.as_str(), first.spec.unit.as_str(), first.mass_g), ("h1/r01/k01/u01", "su01", 142_400));
    assert_eq!(first.spec.serials["chassis"], "1663522000017");
    assert_eq!(first.spec.domains.len(), 8 + 2, "eight leaf switches and two feeds: {:?}", first.spec.domains);
    assert_eq!(first.cables.len(), 9);
    assert_eq!(first.cables[2].id, "c-h1-r01-k01-u01-hca3");
    assert_eq!((first.cables[2].port_a.as_str(), first.cables[2].port_b.as_str()), ("h1/r01/k01/u01:hca3", "leaf-3:1"));
    assert_eq!(machines[1].cables[2].port_b, "leaf-3:2");
}

#[test]
fn robots_have_places() {
    let robots = |zones: &str, names: &str| {
        format!("{SMALL}\n[[robots]]\nmanufacturer = \"acme\"\nnames = \"{names}\"\nzones = \"{zones}\"\n")
    };
    let site = good(&robots("h1/r01", "mr-{1..2}"));
    let places = vec!["h1/r01".to_owned()];
    assert_eq!(site.robots, [("acme/mr-1".to_owned(), places.clone()), ("acme/mr-2".to_owned(), places)].into());
    assert_eq!(good(&robots("h1", "mr-1")).robots["acme/mr-1"], ["h1"]);
    assert_eq!(good(SMALL).robots.len(), 0);
    for (zones, names, code) in [
        ("h9", "mr-1", "unknown_rack"),
        ("h1/r99", "mr-1", "unknown_rack"),
        ("h", "mr-1", "unknown_rack"),
        ("h1/*", "mr-1", "pattern"),
        ("h1, h1/r01", "mr-1", "pattern"),
        ("h1", "mr-1, mr-1", "doubled_name"),
    ] {
        let codes: Vec<_> = read(&robots(zones, names), None).errors().map(|it| it.code).collect();
        assert_eq!(codes, [code], "{zones}");
    }
}

/// What the kind asks for is asked of each of its machines, and a change of it is shown.
#[test]
fn a_kind_may_ask_for_secure_boot() {
    let asks = SMALL.replacen("firmware = {", "secure_boot = true\nfirmware = {", 1);
    let (silent, asks) = (good(SMALL).machines(), good(&asks).machines());
    assert_eq!((silent[0].spec.secure_boot, asks[0].spec.secure_boot), (None, Some(true)));
    let diff = diff([&silent[0].spec], &asks[..1], |_| Some(crate::machine::Lifecycle::Powered));
    assert_eq!(diff.changed[0].fields, ["secure_boot: nothing -> on"]);
}

/// One task at a time in all racks of a zone; without one, in front of each rack.
#[test]
fn orders_keep_to_the_zones_of_the_file() {
    use crate::machine::Machine;
    use crate::order::{self, Event, OrderKind, Refusal, Verb, Work};
    use types::{MachineId, OrderId, TaskId, UnixMillis};
    let two = SMALL.replacen("racks = \"k01\"", "racks = \"k01..k02\"", 1);
    let two = two.replacen("racks = \"h1/r01/k01\"\nkind", "racks = \"h1/r01/k01..k02\"\nkind", 1);
    let two = two.replacen("slots = \"u01, u13\"\nmachines = 2", "slots = \"u01\"\nmachines = 2", 1);
    let zoned = format!("{two}\n[[zones]]\nname = \"aisle-1\"\nracks = \"h1/r01/*\"\n");
    let check = |text: &str, zones: [&str; 2], collide: bool| {
        let machines = good(text).machines();
        let mut at = 0;
        let mut orders = machines.iter().map(|it| {
            at += 1;
            let machine = Machine::planned(MachineId(at), UnixMillis(0));
            let work = Work { spec: &it.spec, machine: &machine, serial: None, cables: &[], faulty: &[] };
            let mut task = at * 1_000;
            let ids = || {
                task += 1;
                TaskId(task)
            };
            order::make(OrderKind::Repair, OrderId(at), &work, ids, UnixMillis(0))
        });
        let (mut first, second) = (orders.next().unwrap(), orders.next().unwrap());
        let of = |order: &order::Order| order.tasks.iter().find(|task| task.verb == Verb::Scan).unwrap().clone();
        assert_eq!([of(&first).zone.as_str(), of(&second).zone.as_str()], zones);
        let by = order::Assignee::Person("tok_a".to_owned());
        let start = |order: &order::Order| Event::Start { task: of(order).id, by: by.clone() };
        first = order::apply(&first, &start(&first), &Default::default(), UnixMillis(1)).unwrap();
        let busy = first.zones().map(str::to_owned).collect();
        let begun = order::apply(&second, &start(&second), &busy, UnixMillis(1));
        assert_eq!(begun.err(), collide.then(|| Refusal::ZoneBusy("aisle-1".to_owned())));
    };
    check(&two, ["h1/r01/k01", "h1/r01/k02"], false);
    check(&zoned, ["aisle-1", "aisle-1"], true);
    // Drawing one is a change of the machines in it.
    let (old, new) = (good(&two).machines(), good(&zoned).machines());
    let diff = diff([&old[0].spec], &new[..1], |_| Some(crate::machine::Lifecycle::Accepted));
    assert_eq!(diff.changed[0].fields, ["zone: nothing -> aisle-1"]);
}

#[test]
fn munich_has_its_size() {
    let reading = read(MUNICH, None);
    for problem in &reading.problems {
        eprintln!("{problem}");
    }
    let totals = good(MUNICH).totals();
    eprintln!("{totals:?}");
    assert_eq!((totals.machines, totals.gpus, totals.halls, totals.units), (1_250, 10_000, 4, 36));
    assert_eq!(totals.machines_by_kind["dgx-b200"], 1_024);
    assert_eq!(totals.machines_by_kind["rtx-pro"], 226);
    assert_eq!(totals.switches_by_role["spine"], 256);
    assert_eq!(totals.switches_by_role["core"], 128);
    assert_eq!(totals.switches_by_role["leaf"], 256 + 8);
    assert_eq!(totals.uplink_cables, 8_192 * 2);
    assert_eq!(totals.machine_cables, 1_024 * 9 + 226 * 3);
}

mod changed;
mod same;
mod wrong;
