//! What the control plane is given: one machine after the other, with what was asked for and its cables.

use super::{Cable, PlacedMachine, Role, Site};
use crate::machine::Spec;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A machine as it shall be. Its name is `spec.slot`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedMachine {
    /// Generation 1; whoever stores it raises it when something differs.
    pub spec: Spec,
    pub mass_g: u32,
    /// Exclusive zone of its rack, for tasks.
    pub zone: String,
    /// For orders: id and both ports.
    pub cables: Vec<Cable>,
}

/// The site in figures.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    pub halls: usize,
    pub rows: usize,
    pub racks: usize,
    pub units: usize,
    pub machines: usize,
    pub machines_by_kind: BTreeMap<String, usize>,
    pub gpus: u64,
    pub switches_by_role: BTreeMap<String, usize>,
    pub machine_cables: usize,
    pub uplink_cables: usize,
    pub mass_g: u64,
    /// Nameplate, machines and switches.
    pub max_w: u64,
    pub typical_w: u64,
    pub power_w: Option<u64>,
}

impl Site {
    /// Every machine, in the order of the file. All slots are different.
    pub fn machines(&self) -> Vec<PlannedMachine> {
        let mut cables: BTreeMap<&str, Vec<&Cable>> = BTreeMap::new();
        for cable in &self.cables {
            if let Some((slot, _)) = cable.port_a.rsplit_once(':') {
                cables.entry(slot).or_default().push(cable);
            }
        }
        let leaves: BTreeSet<&str> =
            self.switches.iter().filter(|it| it.role == Role::Leaf).map(|it| it.name.as_str()).collect();
        self.machines
            .iter()
            .filter_map(|machine| {
                let mine = cables.remove(machine.slot.as_str()).unwrap_or_default();
                self.planned(machine, &leaves, mine.into_iter().cloned().collect())
            })
            .collect()
    }

    fn planned(&self, it: &PlacedMachine, leaves: &BTreeSet<&str>, cables: Vec<Cable>) -> Option<PlannedMachine> {
        let (rack, kind) = (self.racks.get(it.rack)?, self.kinds.get(&it.kind)?);
        let switches = cables.iter().filter_map(|cable| Some(cable.port_b.rsplit_once(':')?.0));
        let mut domains: BTreeSet<String> = switches.filter(|name| leaves.contains(name)).map(str::to_owned).collect();
        domains.insert(rack.feed_a.clone());
        domains.extend(rack.feed_b.clone());
        let spec = Spec {
            generation: 1,
            kind: it.kind,
            slot: it.slot.clone(),
            unit: it.unit.clone(),
            domains: domains.into_iter().collect(),
            zone: Some(rack.zone.clone()).filter(|zone| *zone != rack.path()),
            serials: it.serials.clone(),
            parts: kind.parts.clone(),
            firmware: it.firmware.clone(),
            secure_boot: kind.secure_boot,
            suite: it.suite.clone(),
            wanted: it.wanted,
            drain: None,
        };
        let mass_g = u32::try_from(kind.mass_g).unwrap_or(u32::MAX);
        Some(PlannedMachine { spec, mass_g, zone: rack.zone.clone(), cables })
    }

    pub fn totals(&self) -> Totals {
        let mut totals = Totals {
            halls: self.halls.len(),
            rows: self.racks.iter().map(|rack| (&rack.hall, &rack.row)).collect::<BTreeSet<_>>().len(),
            racks: self.racks.len(),
            units: self.machines.iter().map(|machine| &machine.unit).collect::<BTreeSet<_>>().len(),
            machines: self.machines.len(),
            machine_cables: self.cables.len(),
            uplink_cables: self.uplinks.len(),
            power_w: self.power_w,
            ..Totals::default()
        };
        for machine in &self.machines {
            let Some(kind) = self.kinds.get(&machine.kind) else { continue };
            *totals.machines_by_kind.entry(machine.kind.to_string()).or_default() += 1;
            totals.gpus += u64::from(kind.parts.get("gpu").copied().unwrap_or(0));
            totals.mass_g = totals.mass_g.saturating_add(kind.mass_g);
            totals.max_w = totals.max_w.saturating_add(kind.max_w);
            totals.typical_w = totals.typical_w.saturating_add(kind.typical_w);
        }
        for switch in &self.switches {
            let role = format!("{:?}", switch.role).to_lowercase();
            *totals.switches_by_role.entry(role).or_default() += 1;
            totals.mass_g = totals.mass_g.saturating_add(switch.mass_g);
            totals.max_w = totals.max_w.saturating_add(switch.power_w);
            totals.typical_w = totals.typical_w.saturating_add(switch.power_w);
        }
        totals
    }
}
