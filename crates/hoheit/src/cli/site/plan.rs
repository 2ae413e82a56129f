//! `hoheit site plan`: what stands where, what it weighs and draws, and what does not fit.

use super::{problems, read, verdict};
use crate::cli::Failure;
use crate::cli::show;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use fleet::site::{CoolingLoad, FeedLoad, RackLoad, Site};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// So many racks are shown one by one without being asked.
const RACKS_SHOWN_MAX: usize = 40;

pub(super) fn run(file: &Path, hall: Option<&str>, as_json: bool) -> Result<(), Failure> {
    let found = read(file)?;
    let reading = &found.reading;
    let site = &reading.draft;
    if let Some(hall) = hall.filter(|hall| site.halls.iter().all(|it| it.name != *hall)) {
        let halls: Vec<&str> = site.halls.iter().map(|hall| hall.name.as_str()).collect();
        return Err(Failure::usage(format!("there is no hall {hall}")).hint(format!("one of {}", halls.join(", "))));
    }
    let shown = |name: &str| hall.is_none_or(|hall| hall == name);
    let all = site.rack_loads();
    let racks: Vec<&RackLoad> = all.iter().filter(|load| shown(&load.hall)).collect();
    let halls: Vec<CoolingLoad> = site.cooling_loads().into_iter().filter(|load| shown(&load.hall)).collect();
    let feeds = feeds_of(site, &racks, hall.is_some());
    if as_json {
        let machines: Vec<_> = site
            .machines()
            .into_iter()
            .filter(|it| it.spec.slot.split('/').next().is_some_and(shown))
            .map(|it| json!({ "spec": it.spec, "mass_g": it.mass_g, "zone": it.zone, "cables": it.cables }))
            .collect();
        show::json(&json!({
            "site": site.name,
            "totals": site.totals(),
            "halls": halls,
            "racks": racks,
            "feeds": feeds,
            "machines": machines,
            "problems": reading.problems,
            "left_out": reading.left_out,
        }))?;
        return verdict(&found);
    }
    let standing = standing(site);
    for hall in &halls {
        let racks: Vec<&RackLoad> = racks.iter().copied().filter(|load| load.hall == hall.hall).collect();
        hall_text(hall, &racks, &standing, racks.len() <= RACKS_SHOWN_MAX || halls.len() == 1)?;
    }
    feeds_text(&feeds)?;
    totals_text(site)?;
    problems(&found)?;
    verdict(&found)
}

/// The feeds that these racks hang from, with everything above them.
fn feeds_of(site: &Site, racks: &[&RackLoad], some: bool) -> Vec<FeedLoad> {
    let all = site.feed_loads();
    let by_name: BTreeMap<&str, &FeedLoad> = all.iter().map(|load| (load.name.as_str(), load)).collect();
    let mut used: BTreeSet<&str> = BTreeSet::new();
    for feed in racks.iter().flat_map(|rack| &rack.feeds) {
        let mut next = Some(feed.as_str());
        while let Some(name) = next.filter(|name| used.insert(name)) {
            next = by_name.get(name).and_then(|load| load.fed_by.as_deref());
        }
    }
    all.iter().filter(|load| !some || used.contains(load.name.as_str())).cloned().collect()
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING);
    table.set_header(header);
    table
}

/// What stands in each rack: `su01 dgx-b200 u03 u15`.
fn standing(site: &Site) -> BTreeMap<String, String> {
    let mut racks: BTreeMap<String, BTreeMap<(String, &str), Vec<String>>> = BTreeMap::new();
    for machine in &site.machines {
        if let Some((rack, u)) = machine.slot.rsplit_once('/') {
            let group = (machine.unit.clone(), machine.kind.as_str());
            racks.entry(rack.to_owned()).or_default().entry(group).or_default().push(u.to_owned());
        }
    }
    let text = |groups: BTreeMap<(String, &str), Vec<String>>| {
        groups
            .into_iter()
            .map(|((unit, kind), us)| format!("{unit} {kind} {}", us.join(" ")))
            .collect::<Vec<_>>()
            .join(", ")
    };
    racks.into_iter().map(|(rack, groups)| (rack, text(groups))).collect()
}

fn hall_text(
    hall: &CoolingLoad,
    racks: &[&RackLoad],
    standing: &BTreeMap<String, String>,
    each: bool,
) -> Result<(), Failure> {
    let power = hall.power_w.map_or(String::new(), |limit| format!(", power {}", of_kw(hall.max_w, limit)));
    let heat = of_kw(hall.max_w, hall.cooling_w);
    show::line(&show::clean(&format!("hall {}: {}, cooling {heat}{power}", hall.hall, count(racks.len(), "rack"))))?;
    if racks.is_empty() {
        return Ok(());
    }
    let mut table = if each {
        table(&["  RACK", "MACHINES", "U", "KG / LIMIT", "KW / EACH SIDE", "COOLING", "FEEDS", "STANDS"])
    } else {
        table(&["  ROW", "RACKS", "MACHINES", "KG, HEAVIEST / LIMIT", "KW, HIGHEST / EACH SIDE", "KW", "TYPICAL"])
    };
    if each {
        for rack in racks {
            table.add_row(vec![
                format!("  {}/{}", rack.row, rack.name),
                things(rack.machines, rack.switches),
                format!("{}/{}", rack.used_u, rack.height_u),
                of_kg(rack.load_g, rack.load_g_max),
                of_kw(rack.max_w, rack.feed_w),
                rack.cooling_w.map_or("-".to_owned(), |limit| of_kw(rack.max_w, limit)),
                rack.feeds.join(" "),
                standing.get(&format!("{}/{}/{}", rack.hall, rack.row, rack.name)).cloned().unwrap_or_default(),
            ]);
        }
    } else {
        let mut rows: BTreeMap<&str, Vec<&RackLoad>> = BTreeMap::new();
        for rack in racks {
            rows.entry(&rack.row).or_default().push(rack);
        }
        for (row, racks) in rows {
            let sum = |of: fn(&RackLoad) -> u64| racks.iter().map(|rack| of(rack)).sum::<u64>();
            // The one that is nearest to its limit speaks for the row.
            let nearest = |of: fn(&RackLoad) -> (u64, u64)| {
                let ratio = |(load, limit): (u64, u64)| load as f64 / limit.max(1) as f64;
                racks.iter().map(|rack| of(rack)).max_by(|a, b| ratio(*a).total_cmp(&ratio(*b))).unwrap_or_default()
            };
            let ((kg, kg_max), (kw, kw_max)) =
                (nearest(|it| (it.load_g, it.load_g_max)), nearest(|it| (it.max_w, it.feed_w)));
            let machines = racks.iter().map(|rack| rack.machines).sum();
            table.add_row(vec![
                format!("  {row}"),
                racks.len().to_string(),
                things(machines, racks.iter().map(|rack| rack.switches).sum()),
                of_kg(kg, kg_max),
                of_kw(kw, kw_max),
                kilo(sum(|it| it.max_w)),
                kilo(sum(|it| it.typical_w)),
            ]);
        }
    }
    show::line(&show::clean(&table.trim_fmt()))?;
    show::line("")
}

fn feeds_text(feeds: &[FeedLoad]) -> Result<(), Failure> {
    let mut table = table(&["FEED", "FED BY", "RACKS", "KW, OTHER SIDE LOST / LIMIT", "TYPICAL"]);
    for feed in feeds {
        table.add_row(vec![
            feed.name.clone(),
            feed.fed_by.clone().unwrap_or_else(|| "-".to_owned()),
            feed.racks.to_string(),
            of_kw(feed.max_w, feed.power_w),
            kilo(feed.typical_w),
        ]);
    }
    show::line(&show::clean(&table.trim_fmt()))?;
    show::line("")
}

fn totals_text(site: &Site) -> Result<(), Failure> {
    let totals = site.totals();
    let counts = |map: &BTreeMap<String, usize>| {
        map.iter().map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
    };
    let grid = totals.power_w.map_or(String::new(), |power| format!(", the grid gives {} kW", kilo(power)));
    let lines = [
        format!(
            "{}: {}, {}, {}, {}; {} ({}), {} GPUs",
            site.name,
            count(totals.halls, "hall"),
            count(totals.rows, "row"),
            count(totals.racks, "rack"),
            count(totals.units, "unit"),
            count(totals.machines, "machine"),
            counts(&totals.machines_by_kind),
            totals.gpus
        ),
        format!(
            "switches: {}; cables: {} of machines, {} between switches",
            counts(&totals.switches_by_role),
            totals.machine_cables,
            totals.uplink_cables
        ),
        format!(
            "{} kg without racks; {} kW by nameplate, {} kW typically{grid}",
            kilo(totals.mass_g),
            kilo(totals.max_w),
            kilo(totals.typical_w)
        ),
    ];
    show::line(&show::clean(&lines.join("\n")))
}

fn count(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn things(machines: usize, switches: usize) -> String {
    match (machines, switches) {
        (0, 0) => "-".to_owned(),
        (machines, 0) => machines.to_string(),
        (0, switches) => format!("{switches} switches"),
        (machines, switches) => format!("{machines} + {switches} switches"),
    }
}

/// Watts in kilowatts, grams in kilograms, to one decimal.
fn kilo(value: u64) -> String {
    format!("{}.{}", value / 1_000, value % 1_000 / 100)
}

fn of_kw(load: u64, limit: u64) -> String {
    format!("{} / {} kW{}", kilo(load), kilo(limit), if load > limit { " !" } else { "" })
}

fn of_kg(load: u64, limit: u64) -> String {
    format!("{} / {}{}", kilo(load), kilo(limit), if load > limit { " !" } else { "" })
}
