//! From tables with patterns to things with names: every name looked up, every machine in its slot. What cannot be found is
//! said and left out, so that one slip hides no other. Sums and limits are `check`'s.

mod machines;
mod switches;

use super::document::{At, Document, Sides, Text};
use super::pattern;
use super::place::{self, RackIndex};
use super::problem::{Lines, Place, Problems};
use super::{Cooling, Feed, Hall, Kind, Rack, Site, cables};
use crate::machine::MachineKind;
use std::collections::{BTreeMap, BTreeSet};
use toml::Spanned;

/// 1,250 machines stand in 600 racks; 20,000 are thirty such sites.
pub const RACKS_MAX: usize = 20_000;
/// Forty times 1,250.
pub const MACHINES_MAX: usize = 50_000;
/// Munich has 27,000; at 100 bytes each this many are 50 MB.
pub const CABLES_MAX: usize = 500_000;
/// The largest chassis switch has fewer.
pub const SWITCH_PORTS_MAX: u32 = 1_024;
/// A DGX B200 has 8 of the compute fabric, 2 of storage and 1 of its BMC.
pub const MACHINE_PORTS_MAX: usize = 64;
/// One tonne per square metre is an office, ten a foundry: more is a slip of the finger.
const KG_MAX: f64 = 100_000.0;

pub(super) struct Resolve<'a> {
    pub lines: &'a Lines<'a>,
    pub problems: &'a mut Problems,
    pub site: Site,
    pub rack_index: RackIndex,
    pub feed_names: BTreeSet<String>,
}

pub(super) fn resolve(document: &Document, serials: Option<&str>, lines: &Lines<'_>, problems: &mut Problems) -> Site {
    let site = Site {
        name: String::new(),
        power_w: None,
        power_at: Place::START,
        halls: Vec::new(),
        feeds: Vec::new(),
        cooling: Vec::new(),
        racks: Vec::new(),
        kinds: BTreeMap::new(),
        machines: Vec::new(),
        switches: Vec::new(),
        cables: Vec::new(),
        uplinks: Vec::new(),
        robots: BTreeMap::new(),
    };
    let mut it = Resolve { lines, problems, site, rack_index: RackIndex::new(), feed_names: BTreeSet::new() };
    it.head(document);
    it.halls(document);
    it.feeds(document);
    it.cooling(document);
    let kinds = it.rack_kinds(document);
    it.rows(document, &kinds);
    it.rack_changes(document, &kinds);
    it.zones(document);
    it.robots(document);
    it.kinds(document);
    it.units(document);
    it.machine_changes(document);
    it.serials(document, serials);
    it.switches(document);
    cables::machines(&mut it, document);
    cables::uplinks(&mut it, document);
    it.site
}

impl Resolve<'_> {
    pub fn at<T>(&self, text: &Spanned<T>) -> Place {
        self.lines.place(&text.span())
    }

    pub fn error(&mut self, at: Place, code: &'static str, what: impl Into<String>, advice: impl Into<String>) {
        self.problems.error(at, code, what, advice);
    }

    /// The names of a pattern; none, with an error, if it is none.
    pub fn names(&mut self, text: &Text) -> Vec<String> {
        let names = pattern::names(text.get_ref());
        self.or_none(text, names)
    }

    pub fn or_none<T: Default>(&mut self, text: &Text, result: Result<T, pattern::Wrong>) -> T {
        result.unwrap_or_else(|wrong| {
            let at = self.at(text);
            self.error(at, "pattern", wrong, "write a name, a list (a, b), a range (r01..r16) or braces (x-{1..8})");
            T::default()
        })
    }

    /// A template filled in, which then is one name.
    pub fn name(&mut self, text: &Text, values: &[(&str, &str)]) -> Option<String> {
        let filled = pattern::fill(text.get_ref(), values);
        let mut names = self.or_none(text, pattern::names(&filled));
        if names.len() > 1 {
            let at = self.at(text);
            self.error(at, "pattern", format!("{:?} must be one name", text.get_ref()), "write one name here");
        }
        names.pop()
    }

    /// Grams, from a mass in kilograms.
    pub fn grams(&mut self, kg: &Spanned<f64>) -> u64 {
        let value = *kg.get_ref();
        if value.is_finite() && (0.0..=KG_MAX).contains(&value) {
            return (value * 1_000.0).round() as u64;
        }
        let at = self.at(kg);
        self.error(at, "mass", format!("{value} kg is no mass"), format!("write kilograms, from 0 to {KG_MAX}"));
        0
    }

    pub fn racks_of(&mut self, text: &Text) -> Vec<usize> {
        let found = place::racks(text.get_ref(), &self.rack_index, &self.site.racks);
        let (racks, unknown) = self.or_none(text, found);
        if let Some(first) = unknown.first() {
            let at = self.at(text);
            let more = if unknown.len() > 1 { format!(" and {} more", unknown.len() - 1) } else { String::new() };
            self.error(
                at,
                "unknown_rack",
                format!("there is no rack {first}{more}"),
                "correct it, or add it to [[rows]]",
            );
        }
        racks
    }

    fn head(&mut self, document: &Document) {
        let Some(head) = &document.site else {
            if !self.problems.any_error() {
                self.error(Place::START, "no_site", "there is no [site]", "begin with [site] and name = \"…\"");
            }
            return;
        };
        if let Some(power) = &head.it.power_w {
            self.site.power_w = Some(*power.get_ref());
            self.site.power_at = self.at(power);
        }
        self.site.name = self.name(&head.it.name, &[]).unwrap_or_default();
    }

    /// True once for each name; an error the second time.
    pub fn once(&mut self, seen: &mut BTreeMap<String, Place>, what: &str, name: &str, at: Place) -> bool {
        if let Some(first) = seen.get(name) {
            let said = format!("{what} {name} is written twice, first in line {}", first.line);
            self.error(at, "doubled_name", said, "rename one, or remove it");
            return false;
        }
        seen.insert(name.to_owned(), at);
        true
    }

    fn halls(&mut self, document: &Document) {
        let mut seen = BTreeMap::new();
        for table in &document.halls {
            let at = self.at(&table.it.names);
            let floor_g_per_m2 = table.it.floor_kg_per_m2.as_ref().map(|kg| self.grams(kg)).filter(|g| *g > 0);
            for name in self.names(&table.it.names) {
                if self.once(&mut seen, "hall", &name, at) {
                    self.site.halls.push(Hall { name, power_w: table.it.power_w, floor_g_per_m2, at });
                }
            }
        }
    }

    fn known_hall(&mut self, text: &Text) -> Option<String> {
        let name = self.name(text, &[])?;
        if self.site.halls.iter().any(|hall| hall.name == name) {
            return Some(name);
        }
        let at = self.at(text);
        self.error(at, "unknown_hall", format!("there is no hall {name}"), "correct it, or add it to [[halls]]");
        None
    }

    fn feeds(&mut self, document: &Document) {
        let mut seen = BTreeMap::new();
        for table in &document.feeds {
            let at = self.at(&table.it.names);
            let fed_by = table.it.fed_by.as_ref().and_then(|text| self.name(text, &[]));
            for name in self.names(&table.it.names) {
                if self.once(&mut seen, "feed", &name, at) {
                    let fed_by = fed_by.clone();
                    self.feed_names.insert(name.clone());
                    self.site.feeds.push(Feed { name, power_w: table.it.power_w, fed_by, at });
                }
            }
        }
        for table in &document.feeds {
            let Some(text) = &table.it.fed_by else { continue };
            let at = self.at(text);
            if let Ok([name]) = pattern::names(text.get_ref()).as_deref()
                && !seen.contains_key(name)
            {
                self.error(
                    at,
                    "unknown_feed",
                    format!("there is no feed {name}"),
                    "correct it, or add it to [[feeds]]",
                );
            }
        }
    }

    fn cooling(&mut self, document: &Document) {
        let mut seen = BTreeMap::new();
        for table in &document.cooling {
            let at = self.at(&table.it.names);
            let Some(hall) = self.known_hall(&table.it.hall) else { continue };
            let names = self.names(&table.it.names);
            let used = names.len().saturating_sub(table.it.spare as usize);
            for (index, name) in names.into_iter().enumerate() {
                if self.once(&mut seen, "cooling", &name, at) {
                    let (hall, cooling_w) = (hall.clone(), table.it.cooling_w);
                    self.site.cooling.push(Cooling { name, hall, cooling_w, spare: index >= used, at });
                }
            }
        }
    }

    fn rack_kinds(&mut self, document: &Document) -> BTreeMap<String, Rack> {
        let (mut kinds, mut seen) = (BTreeMap::new(), BTreeMap::new());
        for table in &document.rack_kinds {
            let at = self.at(&table.it.name);
            let Some(kind) = self.name(&table.it.name, &[]) else { continue };
            if !self.once(&mut seen, "rack kind", &kind, at) {
                continue;
            }
            let rack = Rack {
                hall: String::new(),
                row: String::new(),
                name: String::new(),
                kind: kind.clone(),
                height_u: table.it.height_u,
                empty_g: self.grams(&table.it.empty_kg),
                load_g_max: self.grams(&table.it.load_kg_max),
                footprint_cm2: table
                    .it
                    .footprint_m2
                    .as_ref()
                    .map(|m2| (m2.get_ref().clamp(0.0, 1e6) * 1e4).round() as u64),
                feed_w: table.it.feed_w,
                cooling_w: table.it.cooling_w,
                feed_a: String::new(),
                feed_b: None,
                zone: String::new(),
                blocked: None,
                at,
            };
            kinds.insert(kind, rack);
        }
        kinds
    }

    fn rack_kind(&mut self, text: &Text, kinds: &BTreeMap<String, Rack>) -> Option<Rack> {
        let name = self.name(text, &[])?;
        let found = kinds.get(&name).cloned();
        if found.is_none() {
            let at = self.at(text);
            self.error(at, "unknown_rack_kind", format!("there is no rack kind {name}"), "add it to [[rack_kinds]]");
        }
        found
    }

    fn rows(&mut self, document: &Document, kinds: &BTreeMap<String, Rack>) {
        let mut seen = BTreeMap::new();
        for At { it, .. } in &document.rows {
            let at = self.at(&it.racks);
            let (hall, kind) = (self.known_hall(&it.hall), self.rack_kind(&it.rack_kind, kinds));
            let (rows, racks) = (self.names(&it.rows), self.names(&it.racks));
            let (Some(hall), Some(kind)) = (hall, kind) else { continue };
            if self.site.racks.len() + rows.len().saturating_mul(racks.len()) > RACKS_MAX {
                self.error(at, "too_many", format!("these are more than {RACKS_MAX} racks"), "correct the ranges");
                continue;
            }
            let mut unknown = BTreeSet::new();
            for row in &rows {
                for name in &racks {
                    let mut rack =
                        Rack { hall: hall.clone(), row: row.clone(), name: name.clone(), at, ..kind.clone() };
                    rack.zone = rack.path();
                    self.sides(&mut rack, &it.feeds, &mut unknown);
                    let path = rack.path();
                    if self.once(&mut seen, "rack", &path, at) {
                        self.rack_index.insert(path, self.site.racks.len());
                        self.site.racks.push(rack);
                    }
                }
            }
        }
    }

    /// Sets both feeds; each unknown one is said once a table.
    fn sides(&mut self, rack: &mut Rack, sides: &Sides, unknown: &mut BTreeSet<String>) {
        let mut of = |it: &mut Self, text: &Text| -> Option<String> {
            let values = [("hall", rack.hall.as_str()), ("row", rack.row.as_str()), ("rack", rack.name.as_str())];
            let filled = pattern::fill(text.get_ref(), &values);
            if it.feed_names.contains(&filled) {
                return Some(filled);
            }
            if unknown.insert(filled.clone()) {
                let at = it.at(text);
                let what = format!("there is no feed {}", pattern::cut(&filled));
                it.error(at, "unknown_feed", what, "correct it, or add it to [[feeds]]");
            }
            None
        };
        let a = of(self, &sides.a);
        let b = sides.b.as_ref().and_then(|text| of(self, text));
        rack.feed_a = a.unwrap_or_default();
        rack.feed_b = b;
    }

    fn rack_changes(&mut self, document: &Document, kinds: &BTreeMap<String, Rack>) {
        for At { it, .. } in &document.racks {
            let kind = it.rack_kind.as_ref().and_then(|text| self.rack_kind(text, kinds));
            let load = it.load_kg_max.as_ref().map(|kg| self.grams(kg));
            let mut unknown = BTreeSet::new();
            for index in self.racks_of(&it.racks) {
                let mut rack = self.site.racks[index].clone();
                if let Some(kind) = &kind {
                    let Rack { hall, row, name, feed_a, feed_b, zone, blocked, at, .. } = rack;
                    rack = Rack { hall, row, name, feed_a, feed_b, zone, blocked, at, ..kind.clone() };
                }
                if let Some(sides) = &it.feeds {
                    self.sides(&mut rack, sides, &mut unknown);
                }
                rack.load_g_max = load.unwrap_or(rack.load_g_max);
                if it.blocked.is_some() {
                    rack.blocked.clone_from(&it.blocked);
                }
                rack.at = self.at(&it.racks);
                self.site.racks[index] = rack;
            }
        }
    }

    fn zones(&mut self, document: &Document) {
        let mut of_rack: BTreeMap<usize, (String, Place)> = BTreeMap::new();
        for At { it, .. } in &document.zones {
            let at = self.at(&it.racks);
            let Some(name) = self.name(&it.name, &[]) else { continue };
            for index in self.racks_of(&it.racks) {
                if let Some((other, place)) = of_rack.get(&index) {
                    let path = self.site.racks[index].path();
                    let what = format!("rack {path} is in zone {other} (line {}) and in {name}", place.line);
                    self.error(at, "two_zones", what, "a rack has one zone: take it out of one of them");
                    break;
                }
                of_rack.insert(index, (name.clone(), at));
                self.site.racks[index].zone.clone_from(&name);
            }
        }
    }

    fn robots(&mut self, document: &Document) {
        let mut seen = BTreeMap::new();
        for At { it, .. } in &document.robots {
            let at = self.at(&it.names);
            let (Some(maker), zones) = (self.name(&it.manufacturer, &[]), self.places(&it.zones)) else { continue };
            for name in self.names(&it.names) {
                let id = format!("{maker}/{name}");
                if self.once(&mut seen, "robot", &id, at) {
                    self.site.robots.insert(id, zones.clone());
                }
            }
        }
    }

    /// Halls, rows or racks, as beginnings of slots: all of one depth.
    fn places(&mut self, text: &Text) -> Vec<String> {
        let first = text.get_ref().split(',').next().unwrap_or_default();
        let depth = first.matches('/').count().min(2) + 1;
        let paths = pattern::paths(text.get_ref(), depth);
        let mut places = Vec::new();
        for path in self.or_none(text, paths) {
            let mut of_path = vec![String::new()];
            for part in path {
                let Some(names) = part else {
                    let at = self.at(text);
                    self.error(at, "pattern", "a place is named, not *", "write the hall or row, and no star below it");
                    return Vec::new();
                };
                let below = |before: &String| {
                    let slash = if before.is_empty() { "" } else { "/" };
                    names.iter().map(|name| format!("{before}{slash}{name}")).collect::<Vec<_>>()
                };
                of_path = of_path.iter().flat_map(below).collect();
            }
            places.extend(of_path);
        }
        let is_there = |place: &String| {
            let within = |rack: &Rack| {
                rack.path().strip_prefix(place.as_str()).is_some_and(|it| it.is_empty() || it.starts_with('/'))
            };
            self.site.racks.iter().any(within)
        };
        if let Some(unknown) = places.iter().find(|place| !is_there(place)).cloned() {
            let at = self.at(text);
            let what = format!("there is no hall, row or rack {}", pattern::cut(&unknown));
            self.error(at, "unknown_rack", what, "correct it, or add it to [[rows]]");
        }
        places
    }

    fn kinds(&mut self, document: &Document) {
        let mut seen = BTreeMap::new();
        for At { it, .. } in &document.kinds {
            let at = self.at(&it.name);
            let ports = it.ports.as_ref().map(|text| self.names(text)).unwrap_or_default();
            if ports.len() > MACHINE_PORTS_MAX {
                self.error(at, "too_many", format!("these are more than {MACHINE_PORTS_MAX} ports"), "correct ports");
                continue;
            }
            let mass_g = self.grams(&it.mass_kg);
            let Some(kind) = self.machine_kind(&it.name) else { continue };
            if !self.once(&mut seen, "machine kind", kind.as_str(), at) {
                continue;
            }
            if it.firmware.is_empty() {
                let advice = "add firmware = { bmc = \"…\", bios = \"…\" }: without it no machine can be compared";
                self.error(at, "no_baseline", format!("{kind} has no firmware baseline"), advice);
            }
            if it.suite.is_none() {
                let advice = "add suite = \"…\": without it no machine can be accepted";
                self.error(at, "no_suite", format!("{kind} has no validation suite"), advice);
            }
            let kind = Kind {
                kind,
                height_u: it.height_u,
                mass_g,
                max_w: it.max_w,
                typical_w: it.typical_w,
                psus: it.psus,
                psu_w: it.psu_w,
                psus_needed: it.psus_needed,
                ports,
                parts: it.parts.clone(),
                firmware: it.firmware.clone(),
                secure_boot: it.secure_boot,
                suite: it.suite.as_ref().and_then(|text| self.name(text, &[])).unwrap_or_default(),
                at,
            };
            self.site.kinds.insert(kind.kind, kind);
        }
    }

    /// A kind of the product.
    fn machine_kind(&mut self, text: &Text) -> Option<MachineKind> {
        let found = MachineKind::from_word(text.get_ref());
        if found.is_none() {
            let at = self.at(text);
            let known: Vec<&str> = MachineKind::ALL.iter().map(|kind| kind.as_str()).collect();
            let what = format!("there is no machine kind {:?}", pattern::cut(text.get_ref()));
            self.error(at, "unknown_kind", what, format!("one of {}", known.join(", ")));
        }
        found
    }

    /// A kind that this file has described.
    pub fn described(&mut self, text: &Text) -> Option<MachineKind> {
        let kind = self.machine_kind(text)?;
        if self.site.kinds.contains_key(&kind) {
            return Some(kind);
        }
        let at = self.at(text);
        self.error(at, "unknown_kind", format!("{kind} is not described"), "add [[kinds]] with this name");
        None
    }
}
