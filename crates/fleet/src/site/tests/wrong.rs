//! What can be wrong: a change to the small site, and what is said about it, with the line.

use super::{SMALL, good};
use crate::site::{PROBLEMS_MAX, Problem, SITE_BYTES_MAX, Severity, read};

const DOCS: &str = include_str!("../../../../../docs/site.md");

/// Replaces texts (or appends, with an empty first one), and expects exactly these errors: code, and a piece of the line
/// that it names.
fn check(changes: &[(&str, &str)], expect: &[(&str, &str)]) {
    check_with(changes, None, expect);
}

fn check_with(changes: &[(&str, &str)], serials: Option<&str>, expect: &[(&str, &str)]) {
    let text = changed(changes);
    let reading = read(&text, serials);
    let line = |problem: &Problem| {
        let of = if problem.place.file == crate::site::File::Site { &text } else { serials.unwrap_or_default() };
        of.lines().nth(problem.place.line as usize - 1).unwrap_or_default()
    };
    let found: Vec<(&str, &str)> = reading.errors().map(|problem| (problem.code, line(problem))).collect();
    let all = reading.errors().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert_eq!(found.len(), expect.len(), "{changes:?}\n{all}");
    for (code, _) in &found {
        assert!(DOCS.contains(&format!("`{code}`")), "docs/site.md does not name {code}");
    }
    for ((code, line), (expect_code, expect_line)) in found.iter().zip(expect) {
        assert!(code == expect_code && line.contains(expect_line), "wanted {expect_code} at {expect_line:?}\n{all}");
    }
    assert_eq!(reading.site.is_none(), !expect.is_empty());
}

fn changed(changes: &[(&str, &str)]) -> String {
    let mut text = SMALL.to_owned();
    for (from, to) in changes {
        if from.is_empty() {
            text.push_str(to);
        } else {
            assert!(text.contains(from), "{from:?} is not in the small site");
            text = text.replacen(from, to, 1);
        }
    }
    text
}

/// The warnings, by code.
fn warns(changes: &[(&str, &str)], expect: &[&str]) {
    let text = changed(changes);
    let reading = read(&text, None);
    let codes: Vec<&str> = reading.warnings().map(|problem| problem.code).collect();
    assert_eq!(codes, expect, "{:#?}", reading.problems);
    assert!(reading.site.is_some(), "a warning is no error");
}

#[test]
fn the_text() {
    check(&[("format = 1", "format = 2")], &[("format", "format = 2")]);
    check(&[("[site]\nname = \"small\"\npower_w = 40_000 ", "")], &[("no_site", "#")]);
    check(&[("", "x")], &[("syntax", "x")]);
    check(&[("", "[[doors]]\nname = \"d\"\n")], &[("unknown_section", "[[doors]]")]);
    check(&[("", "[zones]\nname = \"d\"\n")], &[("not_a_list", "[zones]")]);
    check(&[("spare = 1 ", "spares = 1 ")], &[("unknown_field", "spares")]);
    check(&[("power_w = 40_000    ", "power_w = -1    ")], &[("wrong_field", "power_w = -1")]);
    check(&[("floor_kg_per_m2 = 1_500", "floor_kg_per_m2 = nan")], &[("mass", "nan")]);
    check(&[("mass_kg = 142.4", "mass_kg = 1e9")], &[("mass", "1e9")]);
}

/// Each table is read by itself: five slips are five lines, not one.
#[test]
fn all_errors_are_said_at_once() {
    check(
        &[
            ("power_w = 40_000    ", "powr_w = 40_000    "),
            ("names = \"cdu-1, cdu-2\"", "names = \"cdu-1 cdu-2\""),
            ("hall = \"h1\"\nrows", "hall = \"h7\"\nrows"),
            ("suite = \"dgx-b200\"\n", ""),
            ("", "[[doors]]\n"),
        ],
        &[
            ("unknown_field", "powr_w"),
            ("pattern", "cdu-1 cdu-2"),
            ("unknown_hall", "h7"),
            ("no_suite", "dgx-b200"),
            ("unknown_rack", "h1/r01/k01"),
            ("unknown_rack", "h1/r01/k01"),
            ("unknown_rack", "h1/r01/k01"),
            ("unknown_rack", "h1/r01/k01"),
            ("unknown_section", "doors"),
        ],
    );
}

#[test]
fn names_that_are_not_there() {
    check(&[("b = \"ups-b\"", "b = \"ups-c\"")], &[("unknown_feed", "ups-c")]);
    check(&[("hall = \"h1\"\ncooling", "hall = \"h2\"\ncooling")], &[("hall_cooling", "h1"), ("unknown_hall", "h2")]);
    check(
        &[("rack_kind = \"wide\"", "rack_kind = \"slim\"")],
        &[
            ("unknown_rack_kind", "slim"),
            ("unknown_rack", "h1/r01/k01"),
            ("unknown_rack", "h1/r01/k01"),
            ("unknown_rack", "h1/r01/k01"),
            ("unknown_rack", "h1/r01/k01/u01"),
        ],
    );
    check(
        &[("racks = \"h1/r01/k01\"\nslots = \"u40\"", "racks = \"h1/r01/k09\"\nslots = \"u40\"")],
        &[("unknown_rack", "k09")],
    );
    check(&[("to = \"leaf-{rail}\"", "to = \"blade-{rail}\"")], &[("unknown_switch", "blade"); 8]);
    check(&[("to = \"oob-1\"", "to = \"oob-{room}\"")], &[("unknown_switch", "room")]);
    check(
        &[("kind = \"dgx-b200\"\nports = \"bmc\"", "kind = \"dgx-b300\"\nports = \"bmc\"")],
        &[("uncabled", "dgx-b200"), ("unknown_kind", "b300")],
    );
    check(
        &[("kind = \"dgx-b200\"\nports = \"bmc\"", "kind = \"rtx-pro\"\nports = \"bmc\"")],
        &[("uncabled", "dgx-b200"), ("unknown_kind", "rtx-pro")],
    );
    check(&[("slots = \"h1/r01/k01/u01\"", "slots = \"h1/r01/k01/u02\"")], &[("unknown_machine", "u02")]);
    check(&[("ports = \"bmc\"", "ports = \"ipmi\"")], &[("uncabled", "dgx-b200"), ("unknown_port", "ipmi")]);
}

#[test]
fn twice() {
    check(&[("names = \"h1\"", "names = \"h1, h1\"")], &[("doubled_name", "h1, h1")]);
    check(&[("ups-a, ups-b\"", "ups-a, ups-b, ups-a\"")], &[("doubled_name", "ups-a, ups-b, ups-a")]);
    check(&[("racks = \"k01\"", "racks = \"k01, k01\"")], &[("doubled_name", "k01, k01")]);
    check(&[("names = \"oob-1\"", "names = \"leaf-1\"")], &[("doubled_name", "leaf-1"), ("unknown_switch", "oob-1")]);
    check(&[("slots = \"u01, u13\"", "slots = \"u01, u01, u13\"")], &[("doubled_slot", "k01")]);
    let serial = "[[machines]]\nslots = \"h1/r01/k01/u13\"\nserials = { gpu1 = \"1663522000017\" }\n";
    check(&[("", serial)], &[("doubled_serial", "u13")]);
    let cables = "[[cables]]\nmachine = \"h1/r01/k01/u1\"\nport = \"hca1\"\nswitch = \"leaf-1\"\nswitch_port = 9\n\
                  [[cables]] #\nmachine = \"h1/r01/k01/u13\"\nport = \"hca1\"\nswitch = \"leaf-1\"\nswitch_port = 9\n";
    check(&[("", cables)], &[("port_twice", "[[cables]] #")]);
    check(
        &[("", &cables.replace("u13", "u01").replacen("port = 9", "port = 8", 1))],
        &[("port_twice", "[[cables]] #")],
    );
    check(&[("", &cables.replace("= 9", "= 65").replacen("= 65", "= 9", 1))], &[("unknown_port", "[[cables]] #")]);
    check(&[("", "[[cabling]]\nkind = \"dgx-b200\"\nports = \"hca3\" #\nto = \"leaf-1\"\n")], &[("port_twice", "#")]);
    let zones = "[[zones]]\nname = \"a\"\nracks = \"*/r01/*\"\n[[zones]]\nname = \"b\"\nracks = \"h1/*/k01\"\n";
    check(&[("", zones)], &[("two_zones", "h1/*/k01")]);
}

#[test]
fn what_does_not_fit() {
    check(&[("load_kg_max = 900", "load_kg_max = 386.8")], &[]);
    check(&[("load_kg_max = 900", "load_kg_max = 386.7")], &[("overweight", "k01")]);
    check(&[("floor_kg_per_m2 = 1_500", "floor_kg_per_m2 = 600")], &[("floor_load", "k01")]);
    check(&[("height_u = 48", "height_u = 39")], &[("too_high", "oob-1")]);
    check(&[("slots = \"u01, u13\"", "slots = \"u01, u11\"")], &[]);
    check(&[("slots = \"u01, u13\"", "slots = \"u01, u10\"")], &[("overlap", "k01")]);
    check(&[("slots = \"u30..u37\"", "slots = \"u30..u36\"")], &[("no_room", "k01")]);
    check(&[("feed_w = 34_500", "feed_w = 33_549")], &[("rack_power", "k01")]);
    check(&[("feed_w = 34_500", "feed_w = 33_550")], &[]);
    check(&[("cooling_w = 40_000\n\n[[rows", "cooling_w = 30_000\n\n[[rows")], &[("rack_cooling", "k01")]);
    check(&[("power_w = 40_000\n\n[[cooling", "power_w = 33_549\n\n[[cooling")], &[("feed_overloaded", "ups-a")]);
    check(&[("spare = 1", "spare = 2")], &[("hall_cooling", "\"h1\"")]);
    check(&[("names = \"h1\"", "names = \"h1\"\npower_w = 33_000")], &[("hall_power", "\"h1\"")]);
    check(&[("psus_needed = 5", "psus_needed = 4")], &[("psus", "dgx-b200")]);
    check(&[("machines = 2", "machines = 32")], &[("unit_size", "su01")]);
    check(&[("names = \"su01\"", "names = \"su01, su02\"")], &[("uneven_units", "k01"), ("unknown_machine", "u01")]);
    check(
        &[("", "[[racks]]\nracks = \"h1/r01/k01\"\nblocked = \"pillar\"\n")],
        &[("blocked", "k01"), ("blocked", "leaf"), ("blocked", "oob"), ("blocked", "u01")],
    );
}

#[test]
fn power_and_fabric_hang_from_something_else() {
    check(&[("b = \"ups-b\"", "b = \"ups-a\"")], &[("feeds_together", "k01")]);
    let grid = "power_w = 40_000\nfed_by = \"grid\"\n[[feeds]]\nnames = \"grid\"\npower_w = 90_000\n\n[[cooling";
    check(&[("power_w = 40_000\n\n[[cooling", grid)], &[("feeds_together", "k01")]);
    let cycle = "power_w = 40_000\nfed_by = \"grid\"\n[[feeds]]\nnames = \"grid\"\npower_w = 90_000\nfed_by = \"ups-b\"\n\n[[cooling";
    check(
        &[("power_w = 40_000\n\n[[cooling", cycle)],
        &[("feed_cycle", "ups-a, ups-b"), ("feed_cycle", "\"grid\""), ("feeds_together", "k01")],
    );
    let uplink = |from: &str, to: &str| format!("[[uplinks]]\nfrom = \"{from}\"\nto = \"{to}\"\n");
    check(&[("", &uplink("leaf-{1..3}", "oob-1"))], &[]);
    check(&[("", &uplink("leaf-1", "leaf-1"))], &[("switch_cycle", "leaf-1")]);
    let round = uplink("leaf-1", "leaf-2") + &uplink("leaf-2", "oob-1") + &uplink("oob-1", "leaf-1");
    check(&[("", &round)], &[("switch_cycle", "leaf")]);
    check(&[("", &uplink("leaf-1", "spine-1"))], &[("unknown_switch", "spine-1")]);
    check(&[("", &(uplink("leaf-1", "oob-1") + "cables = 46\n"))], &[]);
    check(&[("", &(uplink("leaf-1", "oob-1") + "cables = 47\n"))], &[("switch_full", "leaf-1")]);
    check(&[("ports = 64", "ports = 1")], &[("switch_full", "hca1..hca8"); 8]);
}

#[test]
fn what_is_missing() {
    check(
        &[("firmware = { HostBMC_0 = \"25.03.1\", HostBIOS_0 = \"01.05.03\" }   # named as the BMC names them\n", "")],
        &[("no_baseline", "dgx-b200")],
    );
    check(&[("suite = \"dgx-b200\"\n", "")], &[("no_suite", "dgx-b200")]);
    check(&[("ports = \"hca1..hca8, bmc\"", "ports = \"hca1..hca9, bmc\"")], &[("uncabled", "dgx-b200")]);
}

#[test]
fn warnings() {
    warns(&[], &["psus_one_feed"]);
    warns(&[("psus = 6", "psus = 10")], &[]);
    warns(&[("power_w = 40_000    ", "power_w = 33_000    ")], &["site_power", "psus_one_feed"]);
    warns(&[("a = \"ups-a\", b = \"ups-b\"", "a = \"ups-a\"")], &["one_feed", "psus_one_feed"]);
    let text = changed(&[("power_w = 40_000    ", "power_w = 33_000    ")]);
    let reading = read(&text, None);
    let warning = reading.warnings().next().unwrap();
    assert!(warning.what.contains("33.5 kW = 2 dgx-b200 x 14.3 kW + 9 switches 4.9 kW"), "{}", warning.what);
    assert_eq!((warning.severity, warning.place.line), (Severity::Warning, 8), "{warning}");
}

#[test]
fn serials_beside_the_file() {
    let named = ("name = \"small\"", "name = \"small\"\nserials = \"serials.csv\"");
    let check = |csv: &str, expect: &[(&str, &str)]| check_with(&[named], Some(csv), expect);
    check("slot,part,serial\n# by hand\n\nh1/r01/k01/u13,gpu1,165\nh1/r01/k01/u13, gpu2 ,166\r\n", &[]);
    check("h1/r01/k01/u13,gpu1", &[("serial_line", "gpu1")]);
    check("\nh1/r01/k01/u13,gpu1,\u{1b}[31m\n", &[("serial_line", "gpu1")]);
    check("h1/r01/k01/u99,gpu1,165", &[("unknown_machine", "u99")]);
    check("h1/r01/k01/u13,gpu1,165\nh1/r01/k01/u13,gpu2,165\n", &[("doubled_serial", "gpu2")]);
    check("h1/r01/k01/u13,gpu1,165\nh1/r01/k01/u13,gpu1,166\n", &[("doubled_part", "166")]);
    check("h1/r01/k01/u13,chassis,1663522000017\n", &[("doubled_serial", "u13")]);
    self::check(&[named], &[("no_serials", "serials.csv")]);
    assert_eq!(crate::site::serials_file(&changed(&[named])).as_deref(), Some("serials.csv"));
    assert_eq!(crate::site::serials_file(SMALL), None);
}

#[test]
fn limits_at_their_edge() {
    let padded = |bytes: usize| format!("{SMALL}{}", "#".repeat(bytes - SMALL.len()));
    good(&padded(SITE_BYTES_MAX));
    let reading = read(&padded(SITE_BYTES_MAX + 1), None);
    assert_eq!(reading.errors().map(|it| it.code).collect::<Vec<_>>()[0], "too_large");
    let many = read(&format!("{SMALL}{}", "[[zones]]\n".repeat(PROBLEMS_MAX + 3)), None);
    assert_eq!((many.errors().count(), many.left_out), (PROBLEMS_MAX, 3));
    let racks = |count: usize| changed(&[("racks = \"k01\"", &format!("racks = \"k01, x1..x{}\"", count - 1))]);
    good(&racks(crate::site::RACKS_MAX));
    assert!(read(&racks(crate::site::RACKS_MAX + 1), None).errors().any(|it| it.code == "too_many"));
}
