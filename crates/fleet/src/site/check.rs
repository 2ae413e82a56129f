//! Whether a site can stand: weight, height, power, heat, and that nothing hangs from itself. Sums are shown in the
//! message, so that nobody has to believe them.

use super::problem::{Place, Problems};
use super::{Kind, RackLoad, Site};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn check(site: &Site, problems: &mut Problems) {
    let mut found = Found::default();
    for kind in site.kinds.values() {
        check_kind(kind, &mut found);
    }
    check_slots(site, &mut found);
    let fed_by = site.fed_by();
    for (index, load) in site.rack_loads().iter().enumerate() {
        check_rack(site, index, load, &fed_by, &mut found);
    }
    check_feeds(site, &fed_by, &mut found);
    check_halls(site, &mut found);
    check_fabric(site, &mut found);
    found.tell(problems);
    site_power(site, problems);
}

/// Problems of the same kind from the same line are one, with a count: one wrong rack kind is not 512 problems.
#[derive(Default)]
struct Found {
    by_line: BTreeMap<(Place, &'static str, bool), (usize, String, String)>,
}

impl Found {
    fn error(&mut self, at: Place, code: &'static str, what: String, advice: &str) {
        self.by_line.entry((at, code, true)).or_insert((0, what, advice.to_owned())).0 += 1;
    }

    fn warning(&mut self, at: Place, code: &'static str, what: String, advice: &str) {
        self.by_line.entry((at, code, false)).or_insert((0, what, advice.to_owned())).0 += 1;
    }

    fn tell(self, problems: &mut Problems) {
        for ((at, code, error), (count, what, advice)) in self.by_line {
            let what = if count > 1 { format!("{what}; so are {} more of this line", count - 1) } else { what };
            if error {
                problems.error(at, code, what, advice);
            } else {
                problems.warning(at, code, what, advice);
            }
        }
    }
}

pub(super) fn kw(watts: u64) -> String {
    format!("{}.{} kW", watts / 1_000, watts % 1_000 / 100)
}

pub(super) fn kg(grams: u64) -> String {
    format!("{}.{} kg", grams / 1_000, grams % 1_000 / 100)
}

fn check_kind(it: &Kind, found: &mut Found) {
    let name = it.kind;
    if it.height_u == 0 {
        found.error(it.at, "height", format!("{name} has no height"), "write height_u in units of 44.45 mm");
    }
    if it.typical_w > it.max_w {
        let what = format!("{name} draws typically {} and at most {}", kw(it.typical_w), kw(it.max_w));
        found.error(it.at, "watts", what, "typical_w must not exceed max_w");
    }
    let needed = u64::from(it.psus_needed).saturating_mul(it.psu_w);
    if it.psus_needed > it.psus || needed < it.max_w {
        let what = format!(
            "{} of {} power supplies x {} are {}, and {name} draws {}",
            it.psus_needed,
            it.psus,
            kw(it.psu_w),
            kw(needed),
            kw(it.max_w)
        );
        found.error(it.at, "psus", what, "correct psus_needed, psu_w or max_w");
    }
    let half = u64::from(it.psus / 2).saturating_mul(it.psu_w);
    if half < it.max_w {
        let what = format!(
            "with one feed lost {name} has {} power supplies x {} = {} of the {} that it may draw",
            it.psus / 2,
            kw(it.psu_w),
            kw(half),
            kw(it.max_w)
        );
        found.warning(it.at, "psus_one_feed", what, "it must be power-capped then, or it goes down with either feed");
    }
}

/// Heights and overlaps, rack by rack.
fn check_slots(site: &Site, found: &mut Found) {
    let mut racks: BTreeMap<usize, Vec<(u32, u32, String, Place)>> = BTreeMap::new();
    for machine in &site.machines {
        let height = site.kinds.get(&machine.kind).map_or(1, |kind| kind.height_u);
        racks.entry(machine.rack).or_default().push((machine.u, height, machine.slot.clone(), machine.at));
    }
    for switch in &site.switches {
        if let Some((rack, u)) = switch.place {
            racks.entry(rack).or_default().push((u, switch.height_u, switch.name.clone(), switch.at));
        }
    }
    for (rack, mut things) in racks {
        let Some(rack) = site.racks.get(rack) else { continue };
        things.sort();
        let mut below: Option<(u32, String)> = None;
        for (u, height, name, at) in things {
            let top = u.saturating_add(height.max(1)) - 1;
            if let Some(why) = &rack.blocked {
                let what = format!("{name} stands in {}, which is blocked: {why}", rack.path());
                found.error(at, "blocked", what, "put it elsewhere: [[machines]] with empty = true takes one out");
            }
            if top > rack.height_u {
                let what =
                    format!("{name} needs u{u:02} to u{top:02}, and {} ends at u{:02}", rack.path(), rack.height_u);
                found.error(at, "too_high", what, "use a lower slot, or a higher rack");
            }
            if let Some((taken, other)) = below.as_ref().filter(|(taken, _)| *taken >= u) {
                let what = format!("{name} begins at u{u:02}, and {other} reaches to u{taken:02}");
                found.error(at, "overlap", what, "leave room: correct slots");
            }
            if below.as_ref().is_none_or(|(taken, _)| *taken < top) {
                below = Some((top, name));
            }
        }
    }
}

fn check_rack(site: &Site, index: usize, load: &RackLoad, fed_by: &BTreeMap<&str, &str>, found: &mut Found) {
    let rack = &site.racks[index];
    let path = rack.path();
    if load.load_g > rack.load_g_max {
        let what = format!(
            "rack {path} carries {} ({} machines, {} switches) of {}",
            kg(load.load_g),
            load.machines,
            load.switches,
            kg(rack.load_g_max)
        );
        found.error(rack.at, "overweight", what, "put fewer machines into it, or a stronger rack kind");
    }
    let floor = site.halls.iter().find(|hall| hall.name == rack.hall).and_then(|hall| hall.floor_g_per_m2);
    if let (Some(floor), Some(area)) = (floor, rack.footprint_cm2.filter(|area| *area > 0)) {
        let total = rack.empty_g.saturating_add(load.load_g);
        let per_m2 = total.saturating_mul(10_000) / area;
        if per_m2 > floor {
            let area = format!("{}.{:02} m2", area / 10_000, area % 10_000 / 100);
            let what = format!(
                "rack {path} stands with {} on {area}: {} per m2, and the floor of {} carries {}",
                kg(total),
                kg(per_m2),
                rack.hall,
                kg(floor)
            );
            found.error(rack.at, "floor_load", what, "put fewer machines into it, or spread its load");
        }
    }
    if load.max_w > rack.feed_w {
        let what = format!("rack {path} draws {}, and one side of it gives {}", kw(load.max_w), kw(rack.feed_w));
        found.error(
            rack.at,
            "rack_power",
            what,
            "each side must carry the rack alone: fewer machines, or a larger feed_w",
        );
    }
    if let Some(cooling) = rack.cooling_w.filter(|cooling| load.max_w > *cooling) {
        let what = format!("rack {path} gives {} of heat, and {} can be taken out", kw(load.max_w), kw(cooling));
        found.error(rack.at, "rack_cooling", what, "put fewer machines into it, or a rack kind with more cooling_w");
    }
    if load.max_w == 0 {
        return;
    }
    match &rack.feed_b {
        None => {
            let what = format!("rack {path} has one feed, {}", rack.feed_a);
            found.warning(
                rack.at,
                "one_feed",
                what,
                "give it feeds = { a = \"…\", b = \"…\" }, or it fails with that feed",
            );
        }
        Some(b) => {
            let (a, b) = (site.sources(&rack.feed_a, fed_by), site.sources(b, fed_by));
            if let Some(both) = a.intersection(&b).next() {
                let what = format!("both feeds of rack {path} hang from {both}");
                found.error(
                    rack.at,
                    "feeds_together",
                    what,
                    "A and B must not share anything: correct feeds or fed_by",
                );
            }
        }
    }
}

fn check_feeds(site: &Site, fed_by: &BTreeMap<&str, &str>, found: &mut Found) {
    for feed in &site.feeds {
        let above = feed.fed_by.as_deref().map(|above| site.sources(above, fed_by));
        if above.is_some_and(|above| above.contains(feed.name.as_str())) {
            let mut way = vec![feed.name.as_str()];
            let mut next = feed.fed_by.as_deref();
            while let Some(name) = next.filter(|name| *name != feed.name && way.len() <= 8) {
                way.push(name);
                next = fed_by.get(name).copied();
            }
            way.push(feed.name.as_str());
            let what = format!("feed {} is fed by itself: {}", feed.name, way.join(" <- "));
            found.error(feed.at, "feed_cycle", what, "correct fed_by: a feed ends at the grid");
        }
    }
    let places: BTreeMap<&str, Place> = site.feeds.iter().map(|feed| (feed.name.as_str(), feed.at)).collect();
    for load in site.feed_loads().iter().filter(|load| load.max_w > load.power_w) {
        let what = format!(
            "with the other side lost feed {} carries {} ({} racks) of {}",
            load.name,
            kw(load.max_w),
            load.racks,
            kw(load.power_w)
        );
        let at = places.get(load.name.as_str()).copied().unwrap_or(Place::START);
        found.error(at, "feed_overloaded", what, "move racks to another feed, or correct power_w");
    }
}

fn check_halls(site: &Site, found: &mut Found) {
    for (hall, load) in site.halls.iter().zip(site.cooling_loads()) {
        if load.max_w > load.cooling_w {
            let what = format!(
                "hall {} gives {} of heat, and its cooling without spares takes {}",
                hall.name,
                kw(load.max_w),
                kw(load.cooling_w)
            );
            found.error(hall.at, "hall_cooling", what, "add to [[cooling]], or move machines");
        }
        if let Some(power) = load.power_w.filter(|power| load.max_w > *power) {
            let what = format!("hall {} draws {} of {}", hall.name, kw(load.max_w), kw(power));
            found.error(hall.at, "hall_power", what, "move machines to another hall, or correct power_w");
        }
    }
}

/// A switch above itself would be a loop, and no layer.
fn check_fabric(site: &Site, found: &mut Found) {
    let index: BTreeMap<&str, usize> =
        site.switches.iter().enumerate().map(|(at, switch)| (switch.name.as_str(), at)).collect();
    let end = |port: &str| port.rsplit_once(':').and_then(|(name, _)| index.get(name)).copied();
    let mut above: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); site.switches.len()];
    for cable in &site.uplinks {
        if let (Some(a), Some(b)) = (end(&cable.port_a), end(&cable.port_b)) {
            above[a].insert(b);
        }
    }
    // Depth first without recursion: 0 new, 1 on the way, 2 done.
    let mut state = vec![0u8; above.len()];
    for start in 0..above.len() {
        if state[start] != 0 {
            continue;
        }
        let mut way: Vec<(usize, Vec<usize>)> = vec![(start, above[start].iter().copied().collect())];
        state[start] = 1;
        while let Some((at, rest)) = way.last_mut() {
            let Some(next) = rest.pop() else {
                state[*at] = 2;
                way.pop();
                continue;
            };
            match state[next] {
                0 => {
                    state[next] = 1;
                    way.push((next, above[next].iter().copied().collect()));
                }
                1 => {
                    let from = way.iter().position(|(one, _)| *one == next).unwrap_or(0);
                    let names = way[from..].iter().map(|(one, _)| *one).chain([next]).take(9);
                    let names: Vec<&str> = names.map(|one| site.switches[one].name.as_str()).collect();
                    let what = format!("switch {} is above itself: {}", names[0], names.join(" -> "));
                    found.error(
                        site.switches[next].at,
                        "switch_cycle",
                        what,
                        "correct [[uplinks]]: from below to above",
                    );
                }
                _ => {}
            }
        }
    }
}

/// The grid gives less than the nameplates say: allowed, because machines are capped; said, because they must be.
fn site_power(site: &Site, problems: &mut Problems) {
    let totals = site.totals();
    let Some(power) = site.power_w.filter(|power| totals.max_w > *power) else { return };
    let mut sum: Vec<String> = site
        .kinds
        .values()
        .filter_map(|kind| {
            let count = *totals.machines_by_kind.get(kind.kind.as_str())?;
            Some(format!("{count} {} x {}", kind.kind, kw(kind.max_w)))
        })
        .collect();
    let switches = site.switches.iter().fold(0u64, |sum, switch| sum.saturating_add(switch.power_w));
    sum.push(format!("{} switches {}", site.switches.len(), kw(switches)));
    let what = format!(
        "by nameplate the site draws {} = {}, and the grid gives {}: {} too much; typically it draws {}",
        kw(totals.max_w),
        sum.join(" + "),
        kw(power),
        kw(totals.max_w - power),
        kw(totals.typical_w)
    );
    problems.warning(site.power_at, "site_power", what, "cap machines, or have placement keep within power_w");
}
