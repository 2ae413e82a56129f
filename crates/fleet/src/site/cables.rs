//! The cable plan: by rule (port i of every machine to the switch that its template names), and by exception. What is
//! written cable by cable has its port first; the rules fill the lowest free ports in the order of the file, and uplinks
//! take the highest. So a file means one plan, and a label printed today is right tomorrow.

use super::document::{At, Document, Text};
use super::pattern;
use super::place;
use super::problem::Place;
use super::resolve::{CABLES_MAX, Resolve};
use super::{Cable, PlacedMachine};
use std::collections::{BTreeMap, BTreeSet};

/// Which ports of each switch are taken, and by what.
struct Panel {
    index: BTreeMap<String, usize>,
    taken: Vec<BTreeMap<u32, String>>,
    /// Full switches, said once each.
    said: BTreeSet<usize>,
}

impl Panel {
    fn new(it: &Resolve<'_>) -> Self {
        let index = it.site.switches.iter().enumerate().map(|(at, switch)| (switch.name.clone(), at)).collect();
        let mut panel = Self { index, taken: vec![BTreeMap::new(); it.site.switches.len()], said: BTreeSet::new() };
        for cable in it.site.cables.iter().chain(&it.site.uplinks) {
            for (here, there) in [(&cable.port_a, &cable.port_b), (&cable.port_b, &cable.port_a)] {
                if let Some((name, port)) = here.rsplit_once(':')
                    && let (Some(switch), Ok(port)) = (panel.index.get(name), port.parse())
                {
                    panel.taken[*switch].insert(port, there.clone());
                }
            }
        }
        panel
    }

    fn lowest(&self, switch: usize, ports: u32) -> Option<u32> {
        let taken = &self.taken[switch];
        // Rules fill from below, so the first gap is nearly always right behind what is taken there.
        (1..=ports).find(|port| !taken.contains_key(port))
    }

    fn highest(&self, switch: usize, ports: u32) -> Option<u32> {
        let taken = &self.taken[switch];
        (1..=ports).rev().find(|port| !taken.contains_key(port))
    }

    fn full(&mut self, it: &mut Resolve<'_>, switch: usize, at: Place) {
        if self.said.insert(switch) {
            let (name, ports) = (it.site.switches[switch].name.clone(), it.site.switches[switch].ports);
            let what = format!("switch {name} has {ports} ports, and more cables than that");
            it.error(at, "switch_full", what, "use another switch for some of them, or one with more ports");
        }
    }
}

pub(super) fn machines(it: &mut Resolve<'_>, document: &Document) {
    let ports = |machine: &PlacedMachine| it.site.kinds.get(&machine.kind).map_or(0, |kind| kind.ports.len());
    if it.site.machines.iter().map(ports).sum::<usize>() > CABLES_MAX {
        it.error(Place::START, "too_many", format!("these are more than {CABLES_MAX} cables"), "correct ports");
        return;
    }
    let mut panel = Panel::new(it);
    let mut plan: BTreeMap<(usize, String), String> = BTreeMap::new();
    written(it, document, &mut panel, &mut plan);
    ruled(it, document, &mut panel, &mut plan);
    let machines = std::mem::take(&mut it.site.machines);
    let mut uncabled: BTreeMap<(crate::machine::MachineKind, String), (usize, String)> = BTreeMap::new();
    for (index, machine) in machines.iter().enumerate() {
        let ports = it.site.kinds.get(&machine.kind).map(|kind| kind.ports.clone()).unwrap_or_default();
        for port in ports {
            match plan.remove(&(index, port.clone())) {
                Some(port_b) => it.site.cables.push(cable(format!("{}:{port}", machine.slot), port_b)),
                None => {
                    let entry = uncabled.entry((machine.kind, port)).or_insert_with(|| (0, machine.slot.clone()));
                    entry.0 += 1;
                }
            }
        }
    }
    it.site.machines = machines;
    for ((kind, port), (count, first)) in uncabled {
        let at = it.site.kinds.get(&kind).map_or(Place::START, |kind| kind.at);
        let what = format!("port {port} of {count} {kind} has no cable, first {first}");
        it.error(at, "uncabled", what, "add it to [[cabling]], or take it out of ports");
    }
}

/// `[[cables]]`: one cable each.
fn written(it: &mut Resolve<'_>, document: &Document, panel: &mut Panel, plan: &mut BTreeMap<(usize, String), String>) {
    let slots: BTreeMap<String, usize> =
        it.site.machines.iter().enumerate().map(|(at, machine)| (machine.slot.clone(), at)).collect();
    for At { it: table, at } in &document.cables {
        let Some(machine) = slots.get(&slot_name(table.machine.get_ref())) else {
            let at = it.at(&table.machine);
            let what = format!("there is no machine in {}", pattern::cut(table.machine.get_ref()));
            it.error(at, "unknown_machine", what, "correct the slot: hall/row/rack/u01");
            continue;
        };
        let (slot, kind) = (it.site.machines[*machine].slot.clone(), it.site.machines[*machine].kind);
        let port = table.port.get_ref().clone();
        if !it.site.kinds.get(&kind).is_some_and(|kind| kind.ports.contains(&port)) {
            let at = it.at(&table.port);
            let what = format!("a {kind} has no port {}", pattern::cut(&port));
            it.error(at, "unknown_port", what, "one of the ports of its kind");
            continue;
        }
        let Some(switch) = panel.index.get(table.switch.get_ref()).copied() else {
            unknown_switch(it, &table.switch, table.switch.get_ref());
            continue;
        };
        let (name, ports) = (it.site.switches[switch].name.clone(), it.site.switches[switch].ports);
        if table.switch_port == 0 || table.switch_port > ports {
            let what = format!("switch {name} has no port {}", table.switch_port);
            it.error(*at, "unknown_port", what, format!("1 to {ports}"));
            continue;
        }
        let (here, there) = (format!("{slot}:{port}"), format!("{name}:{}", table.switch_port));
        if let Some(other) = panel.taken[switch].get(&table.switch_port) {
            let what = format!("port {there} is used twice, by {other} and {here}");
            it.error(*at, "port_twice", what, "a port takes one cable: choose another");
            continue;
        }
        if let Some(other) = plan.get(&(*machine, port.clone())) {
            let what = format!("port {here} is used twice, to {other} and {there}");
            it.error(*at, "port_twice", what, "a port takes one cable: remove one");
            continue;
        }
        panel.taken[switch].insert(table.switch_port, here);
        plan.insert((*machine, port), there);
    }
}

/// `[[cabling]]`: rules.
fn ruled(it: &mut Resolve<'_>, document: &Document, panel: &mut Panel, plan: &mut BTreeMap<(usize, String), String>) {
    // (kind, port) to the line of the rule that has it.
    let mut ruled: BTreeMap<(crate::machine::MachineKind, String), Place> = BTreeMap::new();
    for At { it: table, .. } in &document.cabling {
        let at = it.at(&table.ports);
        let Some(kind) = it.described(&table.kind) else { continue };
        let ports = it.names(&table.ports);
        let has = it.site.kinds.get(&kind).map(|kind| kind.ports.clone()).unwrap_or_default();
        let mut mine = Vec::new();
        for (rail, port) in ports.into_iter().enumerate() {
            if !has.contains(&port) {
                it.error(at, "unknown_port", format!("a {kind} has no port {port}"), "add it to ports of its kind");
            } else if let Some(first) = ruled.insert((kind, port.clone()), at) {
                let what = format!("port {port} of {kind} is used twice, first in line {}", first.line);
                it.error(at, "port_twice", what, "a port takes one cable: remove it from one rule");
            } else {
                mine.push((rail + 1, port));
            }
        }
        let mut unknown = BTreeSet::new();
        for index in 0..it.site.machines.len() {
            if it.site.machines[index].kind != kind {
                continue;
            }
            for (rail, port) in &mine {
                if plan.contains_key(&(index, port.clone())) {
                    continue;
                }
                let machine = &it.site.machines[index];
                let (name, here) = (target(it, machine, &table.to, *rail), format!("{}:{port}", machine.slot));
                let Some(switch) = panel.index.get(&name).copied() else {
                    if unknown.insert(name.clone()) {
                        unknown_switch(it, &table.to, &name);
                    }
                    // Said already: it is not also uncabled.
                    plan.insert((index, port.clone()), "unknown:0".to_owned());
                    continue;
                };
                let there = match panel.lowest(switch, it.site.switches[switch].ports) {
                    Some(number) => {
                        panel.taken[switch].insert(number, here);
                        format!("{name}:{number}")
                    }
                    None => {
                        panel.full(it, switch, at);
                        format!("{name}:0")
                    }
                };
                plan.insert((index, port.clone()), there);
            }
        }
    }
}

fn target(it: &Resolve<'_>, machine: &PlacedMachine, to: &Text, rail: usize) -> String {
    let rack = &it.site.racks[machine.rack];
    let rail = rail.to_string();
    let values = [
        ("hall", rack.hall.as_str()),
        ("row", &rack.row),
        ("rack", &rack.name),
        ("unit", &machine.unit),
        ("rail", &rail),
    ];
    pattern::fill(to.get_ref(), &values)
}

fn unknown_switch(it: &mut Resolve<'_>, text: &Text, name: &str) {
    let at = it.at(text);
    let what = format!("there is no switch {}", pattern::cut(name));
    it.error(at, "unknown_switch", what, "correct it, or add it to [[switches]]");
}

/// `h1/r01/k01/u1` is `h1/r01/k01/u01`.
fn slot_name(text: &str) -> String {
    match text.rsplit_once('/') {
        Some((rack, u)) => place::unit(u).map_or_else(|_| text.to_owned(), |u| place::slot(rack, u)),
        None => text.to_owned(),
    }
}

fn cable(port_a: String, port_b: String) -> Cable {
    Cable { id: format!("c-{}", port_a.replace(['/', ':'], "-")), port_a, port_b }
}

/// `[[uplinks]]`: every one of `from` with every one of `to`.
pub(super) fn uplinks(it: &mut Resolve<'_>, document: &Document) {
    let mut panel = Panel::new(it);
    let mut cables = 0usize;
    for At { it: table, .. } in &document.uplinks {
        let at = it.at(&table.from);
        let mut rounds: Vec<Vec<(String, String)>> = vec![Vec::new()];
        for (name, text) in &table.each {
            let values = it.names(text);
            if rounds.len().saturating_mul(values.len()) > pattern::NAMES_MAX {
                it.error(at, "too_many", "these are too many rounds", "correct each");
                return;
            }
            let longer = |round: &Vec<(String, String)>, value: &String| {
                round.iter().cloned().chain([(name.clone(), value.clone())]).collect()
            };
            rounds = rounds.iter().flat_map(|round| values.iter().map(move |value| longer(round, value))).collect();
        }
        for round in rounds {
            let values: Vec<(&str, &str)> = round.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let from = switches(it, &panel, &table.from, &values);
            let to = switches(it, &panel, &table.to, &values);
            let (Some(from), Some(to)) = (from, to) else { break };
            let each = table.cables.unwrap_or(1);
            cables = cables.saturating_add(from.len().saturating_mul(to.len()).saturating_mul(each as usize));
            if cables > CABLES_MAX {
                it.error(at, "too_many", format!("these are more than {CABLES_MAX} cables"), "correct the ranges");
                return;
            }
            for (a, b) in from.iter().flat_map(|a| to.iter().map(move |b| (*a, *b))) {
                for _ in 0..each {
                    uplink(it, &mut panel, a, b, at);
                }
            }
        }
    }
}

/// The switches of a template; `None`, with an error, if one is not there.
fn switches(it: &mut Resolve<'_>, panel: &Panel, text: &Text, values: &[(&str, &str)]) -> Option<Vec<usize>> {
    let names = pattern::names(&pattern::fill(text.get_ref(), values));
    let mut found = Vec::new();
    for name in it.or_none(text, names) {
        match panel.index.get(&name) {
            Some(switch) => found.push(*switch),
            None => {
                unknown_switch(it, text, &name);
                return None;
            }
        }
    }
    (!found.is_empty()).then_some(found)
}

fn uplink(it: &mut Resolve<'_>, panel: &mut Panel, a: usize, b: usize, at: Place) {
    let (name_a, name_b) = (it.site.switches[a].name.clone(), it.site.switches[b].name.clone());
    let Some(port_a) = panel.highest(a, it.site.switches[a].ports) else { return panel.full(it, a, at) };
    panel.taken[a].insert(port_a, name_b.clone());
    let Some(port_b) = panel.lowest(b, it.site.switches[b].ports) else { return panel.full(it, b, at) };
    panel.taken[b].insert(port_b, name_a.clone());
    it.site.uplinks.push(cable(format!("{name_a}:{port_a}"), format!("{name_b}:{port_b}")));
}
