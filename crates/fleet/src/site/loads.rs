//! Who carries what: racks their weight and power, feeds their racks, halls their heat. Power is the nameplate's: what a
//! machine draws at most. Every feed is counted as if its other side had failed, because that is the day it is for.

use super::Site;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RackLoad {
    pub hall: String,
    pub row: String,
    pub name: String,
    pub machines: usize,
    pub switches: usize,
    pub used_u: u32,
    pub height_u: u32,
    /// Without the empty rack.
    pub load_g: u64,
    pub load_g_max: u64,
    pub max_w: u64,
    pub typical_w: u64,
    /// What each side can give.
    pub feed_w: u64,
    pub feeds: Vec<String>,
    pub cooling_w: Option<u64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FeedLoad {
    pub name: String,
    pub fed_by: Option<String>,
    pub racks: usize,
    /// With the other side lost.
    pub max_w: u64,
    pub typical_w: u64,
    pub power_w: u64,
}

/// A hall's heat, which is its power.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CoolingLoad {
    pub hall: String,
    pub max_w: u64,
    pub typical_w: u64,
    /// Without the spare units.
    pub cooling_w: u64,
    pub power_w: Option<u64>,
}

impl Site {
    /// In the order of `racks`.
    pub fn rack_loads(&self) -> Vec<RackLoad> {
        let mut loads: Vec<RackLoad> = self
            .racks
            .iter()
            .map(|rack| RackLoad {
                hall: rack.hall.clone(),
                row: rack.row.clone(),
                name: rack.name.clone(),
                height_u: rack.height_u,
                load_g_max: rack.load_g_max,
                feed_w: rack.feed_w,
                feeds: [Some(rack.feed_a.clone()), rack.feed_b.clone()].into_iter().flatten().collect(),
                cooling_w: rack.cooling_w,
                ..RackLoad::default()
            })
            .collect();
        for machine in &self.machines {
            let (Some(load), Some(kind)) = (loads.get_mut(machine.rack), self.kinds.get(&machine.kind)) else {
                continue;
            };
            load.machines += 1;
            load.used_u = load.used_u.saturating_add(kind.height_u);
            load.load_g = load.load_g.saturating_add(kind.mass_g);
            load.max_w = load.max_w.saturating_add(kind.max_w);
            load.typical_w = load.typical_w.saturating_add(kind.typical_w);
        }
        for switch in &self.switches {
            let Some(load) = switch.place.and_then(|(rack, _)| loads.get_mut(rack)) else { continue };
            load.switches += 1;
            load.used_u = load.used_u.saturating_add(switch.height_u);
            load.load_g = load.load_g.saturating_add(switch.mass_g);
            load.max_w = load.max_w.saturating_add(switch.power_w);
            load.typical_w = load.typical_w.saturating_add(switch.power_w);
        }
        loads
    }

    /// A feed and everything above it; stops where it has been before.
    pub(super) fn sources<'a>(&'a self, feed: &'a str, fed_by: &BTreeMap<&'a str, &'a str>) -> BTreeSet<&'a str> {
        let mut sources = BTreeSet::new();
        let mut next = Some(feed);
        while let Some(feed) = next.filter(|feed| sources.insert(*feed)) {
            next = fed_by.get(feed).copied();
        }
        sources
    }

    pub(super) fn fed_by(&self) -> BTreeMap<&str, &str> {
        self.feeds.iter().filter_map(|feed| Some((feed.name.as_str(), feed.fed_by.as_deref()?))).collect()
    }

    /// In the order of `feeds`.
    pub fn feed_loads(&self) -> Vec<FeedLoad> {
        let fed_by = self.fed_by();
        let mut sums: BTreeMap<&str, (usize, u64, u64)> = BTreeMap::new();
        for (rack, load) in self.racks.iter().zip(self.rack_loads()) {
            let mut sources = self.sources(&rack.feed_a, &fed_by);
            if let Some(b) = &rack.feed_b {
                sources.extend(self.sources(b, &fed_by));
            }
            for source in sources {
                let sum = sums.entry(source).or_default();
                sum.0 += 1;
                sum.1 = sum.1.saturating_add(load.max_w);
                sum.2 = sum.2.saturating_add(load.typical_w);
            }
        }
        let load = |feed: &super::Feed| {
            let (racks, max_w, typical_w) = sums.get(feed.name.as_str()).copied().unwrap_or_default();
            let (name, fed_by, power_w) = (feed.name.clone(), feed.fed_by.clone(), feed.power_w);
            FeedLoad { name, fed_by, racks, max_w, typical_w, power_w }
        };
        self.feeds.iter().map(load).collect()
    }

    /// In the order of `halls`.
    pub fn cooling_loads(&self) -> Vec<CoolingLoad> {
        let mut loads: BTreeMap<&str, CoolingLoad> = BTreeMap::new();
        for (rack, load) in self.racks.iter().zip(self.rack_loads()) {
            let sum = loads.entry(rack.hall.as_str()).or_default();
            sum.max_w = sum.max_w.saturating_add(load.max_w);
            sum.typical_w = sum.typical_w.saturating_add(load.typical_w);
        }
        for unit in self.cooling.iter().filter(|unit| !unit.spare) {
            let sum = loads.entry(unit.hall.as_str()).or_default();
            sum.cooling_w = sum.cooling_w.saturating_add(unit.cooling_w);
        }
        let named = |hall: &super::Hall| {
            let load = loads.remove(hall.name.as_str()).unwrap_or_default();
            CoolingLoad { hall: hall.name.clone(), power_w: hall.power_w, ..load }
        };
        self.halls.iter().map(named).collect()
    }
}
