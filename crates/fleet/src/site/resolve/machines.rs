//! Machines: units shared out over racks, then what differs machine by machine, then serial numbers.

use super::{MACHINES_MAX, Resolve};
use crate::site::document::{At, Document, Machines};
use crate::site::pattern;
use crate::site::place;
use crate::site::problem::Place;
use crate::site::serials;
use crate::site::{File, PlacedMachine};
use std::collections::{BTreeMap, BTreeSet};

impl Resolve<'_> {
    pub(super) fn units(&mut self, document: &Document) {
        let mut wanted: BTreeMap<String, (u32, Place)> = BTreeMap::new();
        for At { it, .. } in &document.units {
            let at = self.at(&it.racks);
            let names = self.names(&it.names);
            let racks = self.racks_of(&it.racks);
            let slots = place::units(it.slots.get_ref());
            let slots = self.or_none(&it.slots, slots);
            let Some(kind) = self.described(&it.kind) else { continue };
            if names.is_empty() || racks.is_empty() {
                continue;
            }
            if !racks.len().is_multiple_of(names.len()) {
                let what = format!("{} racks cannot be shared out evenly among {} units", racks.len(), names.len());
                self.error(at, "uneven_units", what, "correct the ranges, or write one [[units]] for each");
                continue;
            }
            if self.site.machines.len() + racks.len().saturating_mul(slots.len()) > MACHINES_MAX {
                self.error(
                    at,
                    "too_many",
                    format!("these are more than {MACHINES_MAX} machines"),
                    "correct the ranges",
                );
                continue;
            }
            let each = racks.len() / names.len();
            let (suite, firmware) = match self.site.kinds.get(&kind) {
                Some(kind) => (kind.suite.clone(), kind.firmware.clone()),
                None => continue,
            };
            for (unit, racks) in names.iter().zip(racks.chunks(each)) {
                if let Some(count) = it.machines {
                    let at = self.at(&it.names);
                    wanted.insert(unit.clone(), (count, at));
                }
                for rack in racks {
                    let path = self.site.racks[*rack].path();
                    for u in &slots {
                        self.site.machines.push(PlacedMachine {
                            rack: *rack,
                            u: *u,
                            slot: place::slot(&path, *u),
                            kind,
                            unit: unit.clone(),
                            suite: suite.clone(),
                            firmware: firmware.clone(),
                            serials: BTreeMap::new(),
                            wanted: true,
                            at,
                        });
                    }
                }
            }
        }
        self.doubled_slots();
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for machine in &self.site.machines {
            *counts.entry(machine.unit.as_str()).or_default() += 1;
        }
        let has: Vec<usize> = wanted.keys().map(|unit| counts.get(unit.as_str()).copied().unwrap_or(0)).collect();
        for ((unit, (count, at)), has) in wanted.into_iter().zip(has) {
            if has != count as usize {
                let what = format!("unit {unit} has {has} machines and must have {count}");
                self.error(at, "unit_size", what, "correct racks, slots or machines");
            }
        }
    }

    fn doubled_slots(&mut self) {
        let mut seen: BTreeMap<String, Place> = BTreeMap::new();
        let mut doubled = Vec::new();
        self.site.machines.retain(|machine| match seen.get(&machine.slot) {
            Some(first) => {
                doubled.push((machine.slot.clone(), machine.at, *first));
                false
            }
            None => {
                seen.insert(machine.slot.clone(), machine.at);
                true
            }
        });
        for (slot, at, first) in doubled {
            let what = format!("slot {slot} has two machines, the first from line {}", first.line);
            self.error(at, "doubled_slot", what, "a slot holds one machine: correct racks or slots");
        }
    }

    pub(super) fn machine_changes(&mut self, document: &Document) {
        let mut index: BTreeMap<String, usize> =
            self.site.machines.iter().enumerate().map(|(at, machine)| (machine.slot.clone(), at)).collect();
        let mut empty = BTreeSet::new();
        for At { it, .. } in &document.machines {
            let at = self.at(&it.slots);
            let slots = self.slots(it);
            if it.serials.len() > 1 && slots.len() > 1 && !it.serials.is_empty() {
                self.error(at, "doubled_serial", "one serial for several machines", "write one [[machines]] for each");
                continue;
            }
            for (rack, u) in slots {
                let slot = place::slot(&self.site.racks[rack].path(), u);
                let found = match index.get(&slot) {
                    Some(found) => Some(*found),
                    None => self.added(it, rack, u, at),
                };
                let Some(found) = found else { continue };
                index.insert(slot.clone(), found);
                if it.empty {
                    empty.insert(slot);
                }
                self.change(it, found, at);
            }
        }
        self.site.machines.retain(|machine| !empty.contains(&machine.slot));
    }

    fn slots(&mut self, it: &Machines) -> Vec<(usize, u32)> {
        let paths = pattern::paths(it.slots.get_ref(), 4);
        let mut found = Vec::new();
        for path in self.or_none(&it.slots, paths) {
            let [hall, row, rack, slots] = &path[..] else { continue };
            let part = |names: &Option<Vec<String>>| names.as_ref().map_or("*".to_owned(), |names| braces(names));
            let text = toml::Spanned::new(it.slots.span(), [part(hall), part(row), part(rack)].join("/"));
            let racks = self.racks_of(&text);
            let units: Result<Vec<u32>, _> = slots.iter().flatten().map(|name| place::unit(name)).collect();
            let units = self.or_none(&it.slots, units);
            for rack in racks {
                match slots {
                    Some(_) => found.extend(units.iter().map(|u| (rack, *u))),
                    None => {
                        found.extend(self.site.machines.iter().filter(|it| it.rack == rack).map(|it| (rack, it.u)));
                    }
                }
            }
        }
        found
    }

    /// A machine that no unit placed.
    fn added(&mut self, it: &Machines, rack: usize, u: u32, at: Place) -> Option<usize> {
        let slot = place::slot(&self.site.racks[rack].path(), u);
        let (Some(kind), Some(unit)) = (&it.kind, &it.unit) else {
            let advice = "correct the slot, or give kind and unit to add a machine here";
            self.error(at, "unknown_machine", format!("there is no machine in {slot}"), advice);
            return None;
        };
        let (kind, unit) = (self.described(kind)?, self.name(unit, &[])?);
        let described = self.site.kinds.get(&kind)?;
        let (suite, firmware) = (described.suite.clone(), described.firmware.clone());
        if self.site.machines.len() >= MACHINES_MAX {
            self.error(at, "too_many", format!("these are more than {MACHINES_MAX} machines"), "correct the ranges");
            return None;
        }
        let serials = BTreeMap::new();
        self.site.machines.push(PlacedMachine {
            rack,
            u,
            slot,
            kind,
            unit,
            suite,
            firmware,
            serials,
            wanted: true,
            at,
        });
        Some(self.site.machines.len() - 1)
    }

    fn change(&mut self, it: &Machines, index: usize, at: Place) {
        let kind = it.kind.as_ref().and_then(|text| self.described(text));
        let unit = it.unit.as_ref().and_then(|text| self.name(text, &[]));
        let suite = it.suite.as_ref().and_then(|text| self.name(text, &[]));
        let described = kind.and_then(|kind| self.site.kinds.get(&kind)).cloned();
        let mut wrong = Vec::new();
        let machine = &mut self.site.machines[index];
        if let Some(described) = described
            && described.kind != machine.kind
        {
            machine.kind = described.kind;
            machine.suite = described.suite;
            machine.firmware = described.firmware;
        }
        machine.unit = unit.unwrap_or_else(|| machine.unit.clone());
        machine.suite = suite.unwrap_or_else(|| machine.suite.clone());
        machine.wanted = it.wanted.unwrap_or(machine.wanted);
        machine.firmware.extend(it.firmware.clone());
        for (part, serial) in &it.serials {
            if serials::is_part(part) && serials::is_serial(serial.get_ref()) {
                machine.serials.insert(part.clone(), serial.get_ref().clone());
            } else {
                wrong.push(serial);
            }
        }
        machine.at = at;
        for serial in wrong {
            let at = self.at(serial);
            self.error(
                at,
                "serial_line",
                "this is no part and serial number",
                "write for example gpu1 = \"1654422005434\"",
            );
        }
    }

    pub(super) fn serials(&mut self, document: &Document, text: Option<&str>) {
        let named = document.site.as_ref().and_then(|head| head.it.serials.as_ref());
        if let (Some(named), None) = (named, text) {
            let at = self.at(named);
            let what = format!("the serials' file {} is not there", pattern::cut(named.get_ref()));
            self.error(at, "no_serials", what, "put it beside this file, or remove serials from [site]");
        }
        let index: BTreeMap<String, usize> =
            self.site.machines.iter().enumerate().map(|(at, machine)| (machine.slot.clone(), at)).collect();
        let mut places: BTreeMap<(usize, String), Place> = BTreeMap::new();
        for line in serials::read(text.unwrap_or_default(), self.problems) {
            let Some(machine) = index.get(line.slot) else {
                let what = format!("there is no machine in {}", pattern::cut(line.slot));
                self.error(line.at, "unknown_machine", what, "correct the slot: hall/row/rack/u01");
                continue;
            };
            let serials = &mut self.site.machines[*machine].serials;
            if serials.insert(line.part.to_owned(), line.serial.to_owned()).is_some_and(|old| old != line.serial) {
                let what = format!("{} of {} has two serials", line.part, line.slot);
                self.error(line.at, "doubled_part", what, "a part has one serial: remove one");
            }
            places.insert((*machine, line.part.to_owned()), line.at);
        }
        self.doubled_serials(&places);
    }

    fn doubled_serials(&mut self, places: &BTreeMap<(usize, String), Place>) {
        let mut seen: BTreeMap<&str, (String, Place)> = BTreeMap::new();
        let mut doubled = Vec::new();
        for (index, machine) in self.site.machines.iter().enumerate() {
            for (part, serial) in &machine.serials {
                let at = places.get(&(index, part.clone())).copied().unwrap_or(machine.at);
                let here = format!("{part} of {}", machine.slot);
                match seen.get(serial.as_str()) {
                    Some((other, first)) => doubled.push((at, serial.clone(), other.clone(), *first, here)),
                    None => {
                        seen.insert(serial, (here, at));
                    }
                }
            }
        }
        for (at, serial, other, first, here) in doubled {
            let file = if first.file == File::Serials { "serials line" } else { "line" };
            let what = format!("serial {serial} is {here} and {other} ({file} {})", first.line);
            self.error(at, "doubled_serial", what, "a serial exists once: read the label again");
        }
    }
}

fn braces(names: &[String]) -> String {
    match names {
        [one] => one.clone(),
        many => format!("{{{}}}", many.join(",")),
    }
}
