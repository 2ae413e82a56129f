//! The short way to write a site and the long way mean the same; and no text, however broken, stops the reader.

use super::{MUNICH, SMALL, good};
use crate::site::{Role, Site, read};
use proptest::prelude::*;
use std::fmt::Write;

/// A site without any pattern: one table for each thing, one for each cable.
fn longhand(site: &Site) -> String {
    let kg = |grams: u64| format!("{}.{:03}", grams / 1_000, grams % 1_000);
    let mut out = format!("format = 1\n[site]\nname = {:?}\n", site.name);
    let mut line = |text: String| out.push_str(&(text + "\n"));
    if let Some(power) = site.power_w {
        line(format!("power_w = {power}"));
    }
    for it in &site.halls {
        line(format!("[[halls]]\nnames = {:?}", it.name));
    }
    for it in &site.feeds {
        line(format!("[[feeds]]\nnames = {:?}\npower_w = {}", it.name, it.power_w));
        if let Some(above) = &it.fed_by {
            line(format!("fed_by = {above:?}"));
        }
    }
    for it in &site.cooling {
        let spare = u32::from(it.spare);
        line(format!(
            "[[cooling]]\nnames = {:?}\nhall = {:?}\ncooling_w = {}\nspare = {spare}",
            it.name, it.hall, it.cooling_w
        ));
    }
    for (index, it) in site.racks.iter().enumerate() {
        line(format!(
            "[[rack_kinds]]\nname = \"kind{index}\"\nheight_u = {}\nempty_kg = {}",
            it.height_u,
            kg(it.empty_g)
        ));
        line(format!("load_kg_max = {}\nfeed_w = {}", kg(it.load_g_max), it.feed_w));
        line(format!("[[rows]]\nhall = {:?}\nrows = {:?}\nracks = {:?}", it.hall, it.row, it.name));
        let b = it.feed_b.as_ref().map_or(String::new(), |b| format!(", b = {b:?}"));
        line(format!("rack_kind = \"kind{index}\"\nfeeds = {{ a = {:?}{b} }}", it.feed_a));
        if !it.zone.contains('/') {
            line(format!("[[zones]]\nname = {:?}\nracks = {:?}", it.zone, it.path()));
        }
    }
    for it in site.kinds.values() {
        line(format!(
            "[[kinds]]\nname = {:?}\nheight_u = {}\nmass_kg = {}",
            it.kind.as_str(),
            it.height_u,
            kg(it.mass_g)
        ));
        line(format!("max_w = {}\ntypical_w = {}\npsus = {}\npsu_w = {}", it.max_w, it.typical_w, it.psus, it.psu_w));
        line(format!("psus_needed = {}\nports = {:?}\nsuite = {:?}", it.psus_needed, it.ports.join(","), it.suite));
        line(format!("parts = {}\nfirmware = {}", inline(&it.parts), inline(&it.firmware)));
    }
    for it in &site.machines {
        line(format!("[[machines]]\nslots = {:?}\nkind = {:?}\nunit = {:?}", it.slot, it.kind.as_str(), it.unit));
        line(format!("suite = {:?}\nwanted = {}\nserials = {}", it.suite, it.wanted, inline(&it.serials)));
        line(format!("firmware = {}", inline(&it.firmware)));
    }
    for it in &site.switches {
        let role = format!("{:?}", it.role).to_lowercase();
        line(format!(
            "[[switches]]\nnames = {:?}\nrole = {role:?}\nports = {}\npower_w = {}",
            it.name, it.ports, it.power_w
        ));
        line(format!("mass_kg = {}\nheight_u = {}", kg(it.mass_g), it.height_u));
        if let Some((rack, u)) = it.place {
            line(format!("racks = {:?}\nslots = \"u{u}\"", site.racks[rack].path()));
        }
    }
    for it in &site.cables {
        let ((machine, port), (switch, number)) =
            (it.port_a.rsplit_once(':').unwrap(), it.port_b.rsplit_once(':').unwrap());
        line(format!(
            "[[cables]]\nmachine = {machine:?}\nport = {port:?}\nswitch = {switch:?}\nswitch_port = {number}"
        ));
    }
    for it in &site.uplinks {
        let name = |port: &str| port.rsplit_once(':').unwrap().0.to_owned();
        line(format!("[[uplinks]]\nfrom = {:?}\nto = {:?}", name(&it.port_a), name(&it.port_b)));
    }
    out
}

fn inline<T: std::fmt::Debug>(map: &std::collections::BTreeMap<String, T>) -> String {
    let mut out = String::from("{ ");
    for (index, (name, value)) in map.iter().enumerate() {
        let _ = write!(out, "{}{name} = {value:?}", if index == 0 { "" } else { ", " });
    }
    out + " }"
}

/// Both files mean the same machines, cables, loads.
fn same(text: &str) {
    let site = good(text);
    let again = good(&longhand(&site));
    assert_eq!(site.machines(), again.machines());
    assert_eq!((&site.cables, &site.uplinks), (&again.cables, &again.uplinks));
    assert_eq!(site.totals(), again.totals());
    assert_eq!(site.feed_loads(), again.feed_loads());
    let weights = |site: &Site| site.rack_loads().iter().map(|it| (it.load_g, it.max_w, it.used_u)).collect::<Vec<_>>();
    assert_eq!(weights(&site), weights(&again));
}

#[test]
fn the_examples_written_out_are_the_same_sites() {
    same(SMALL);
    let site = good(MUNICH);
    assert_eq!(site.switches.iter().filter(|it| it.role == Role::Core).count(), 128);
    same(MUNICH);
}

/// A valid site of any shape, and the slots with their units that it must have.
fn any_site() -> impl Strategy<Value = (String, Vec<(String, String)>)> {
    (1..4usize, 1..4usize, 1..5usize, 1..4usize, 0..3u32, any::<bool>()).prop_map(|(halls, rows, racks, slots, spare, zone)| {
        let us: Vec<u32> = (0..slots).map(|at| 1 + 12 * at as u32).collect();
        let list = us.iter().map(|u| format!("u{u}")).collect::<Vec<_>>().join(", ");
        let mut text = SMALL[..SMALL.find("[[halls]]").unwrap()].replace("40_000", "4_000_000");
        let _ = write!(text, "[[halls]]\nnames = \"h1..h{halls}\"\n");
        let _ = write!(text, "[[feeds]]\nnames = \"up-{{1..{halls}}}-{{a,b}}\"\npower_w = 4_000_000\n");
        let kinds = &SMALL[SMALL.find("[[kinds]]").unwrap()..SMALL.find("# Machines: unit").unwrap()];
        text.push_str(kinds);
        text.push_str("[[rack_kinds]]\nname = \"wide\"\nheight_u = 48\nempty_kg = 1\nload_kg_max = 1000\nfeed_w = 60_000\n");
        let mut expect = Vec::new();
        for hall in 1..=halls {
            let _ = write!(text, "[[cooling]]\nnames = \"c{hall}-{{1..4}}\"\nhall = \"h{hall}\"\ncooling_w = 4_000_000\nspare = {spare}\n");
            let _ = write!(text, "[[rows]]\nhall = \"h{hall}\"\nrows = \"r01..r{rows:02}\"\nracks = \"k1..k{racks}\"\n");
            let _ = write!(text, "rack_kind = \"wide\"\nfeeds = {{ a = \"up-{hall}-a\", b = \"up-{hall}-b\" }}\n");
            let _ = write!(text, "[[units]]\nnames = \"su-{hall}-{{1..{rows}}}\"\nracks = \"h{hall}/*/*\"\nkind = \"dgx-b200\"\nslots = \"{list}\"\n");
            if zone {
                let _ = write!(text, "[[zones]]\nname = \"zone{hall}\"\nracks = \"h{hall}/*/k1\"\n");
            }
            for (row, rack, u) in (1..=rows).flat_map(|row| (1..=racks).map(move |rack| (row, rack))).flat_map(|(row, rack)| us.iter().map(move |u| (row, rack, u))) {
                expect.push((format!("h{hall}/r{row:02}/k{rack}/u{u:02}"), format!("su-{hall}-{row}")));
            }
        }
        text.push_str("[[switches]]\nnames = \"leaf-{1..8}, oob-1\"\nrole = \"leaf\"\nports = 256\n");
        text.push_str("[[cabling]]\nkind = \"dgx-b200\"\nports = \"hca1..hca8\"\nto = \"leaf-{rail}\"\n");
        text.push_str("[[cabling]]\nkind = \"dgx-b200\"\nports = \"bmc\"\nto = \"oob-1\"\n");
        (text, expect)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_valid_site_is_what_was_meant_and_reads_back((text, expect) in any_site()) {
        let site = good(&text);
        let found: Vec<(String, String)> = site.machines().into_iter().map(|it| (it.spec.slot, it.spec.unit)).collect();
        prop_assert_eq!(found, expect);
        same(&text);
    }
}

proptest! {
    #[test]
    fn no_text_stops_the_reader(text in ".{0,400}", serials in ".{0,100}") {
        let _ = read(&text, Some(&serials));
    }

    /// A good file with pieces exchanged, so that what lies behind the parser is reached too.
    #[test]
    fn no_damage_stops_the_reader(
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), 0..40usize, piece()), 1..6),
    ) {
        let mut text: Vec<char> = SMALL.chars().collect();
        for (at, length, piece) in cuts {
            let at = at.index(text.len());
            let end = (at + length).min(text.len());
            text.splice(at..end, piece.chars());
        }
        let text: String = text.into_iter().collect();
        let reading = read(&text, None);
        prop_assert_eq!(reading.site.is_none(), reading.errors().count() > 0);
        let _ = (reading.draft.machines(), reading.draft.totals(), reading.draft.feed_loads());
    }

    /// A number or a name exchanged, so that the file stays TOML.
    #[test]
    fn no_value_stops_the_reader(which in any::<prop::sample::Index>(), value in value()) {
        let lines: Vec<&str> = SMALL.lines().filter(|line| line.contains(" = ")).collect();
        let line = lines[which.index(lines.len())];
        let (name, _) = line.split_once(" = ").unwrap();
        let reading = read(&SMALL.replacen(line, &format!("{name} = {value}"), 1), None);
        let _ = (reading.draft.machines(), reading.draft.totals(), reading.draft.cooling_loads());
    }
}

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        ".{0,8}",
        Just("\n".to_owned()),
        Just("\"".to_owned()),
        Just("[[units]]\n".to_owned()),
        Just("{1..99999}".to_owned()),
        Just("h1/*/*/*".to_owned()),
    ]
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|it| it.to_string()),
        Just(i64::MAX.to_string()),
        Just("4294967295".to_owned()),
        any::<f64>().prop_map(|it| format!("{it:?}").replace("NaN", "nan")),
        "[a-z0-9/*{}.,-]{0,12}".prop_map(|it| format!("{it:?}")),
        Just("\"u{1..99}\"".to_owned()),
        Just("\"x{1..65536}\"".to_owned()),
        Just("\"*/*/*/*\"".to_owned()),
        Just("{ a = \"ups-a\" }".to_owned()),
        Just("[]".to_owned()),
    ]
}
