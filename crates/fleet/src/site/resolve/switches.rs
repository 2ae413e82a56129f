//! Switches, and the slots in which they stand.

use super::{Resolve, SWITCH_PORTS_MAX};
use crate::site::Switch;
use crate::site::document::{At, Document, Switches};
use crate::site::pattern::NAMES_MAX;
use crate::site::place;
use std::collections::BTreeMap;

impl Resolve<'_> {
    pub(super) fn switches(&mut self, document: &Document) {
        let mut seen = BTreeMap::new();
        for At { it, .. } in &document.switches {
            let at = self.at(&it.names);
            let names = self.names(&it.names);
            let mass_g = it.mass_kg.as_ref().map_or(0, |kg| self.grams(kg));
            let places = self.switch_places(it, names.len());
            if self.site.switches.len() + names.len() > NAMES_MAX {
                self.error(at, "too_many", format!("these are more than {NAMES_MAX} switches"), "correct the ranges");
                continue;
            }
            if it.ports > SWITCH_PORTS_MAX {
                self.error(at, "too_many", format!("a switch has at most {SWITCH_PORTS_MAX} ports"), "correct ports");
                continue;
            }
            for (index, name) in names.into_iter().enumerate() {
                if self.once(&mut seen, "switch", &name, at) {
                    self.site.switches.push(Switch {
                        name,
                        role: it.role,
                        ports: it.ports,
                        power_w: it.power_w,
                        mass_g,
                        height_u: it.height_u.unwrap_or(1),
                        place: places.get(index).copied(),
                        at,
                    });
                }
            }
        }
    }

    /// As many slots as there are switches, rack by rack; none if they stand elsewhere.
    fn switch_places(&mut self, it: &Switches, count: usize) -> Vec<(usize, u32)> {
        let Some(text) = &it.racks else { return Vec::new() };
        let at = self.at(text);
        let racks = self.racks_of(text);
        let slots = match &it.slots {
            Some(text) => {
                let units = place::units(text.get_ref());
                self.or_none(text, units)
            }
            None => {
                self.error(at, "no_slots", "these switches have racks and no slots", "add slots = \"u01, u02\"");
                return Vec::new();
            }
        };
        let room = racks.len().saturating_mul(slots.len());
        if room < count && !racks.is_empty() && !slots.is_empty() {
            let what = format!("{count} switches do not fit into {} racks x {} slots", racks.len(), slots.len());
            self.error(at, "no_room", what, "add racks or slots");
        }
        racks.iter().flat_map(|rack| slots.iter().map(move |u| (*rack, *u))).take(count).collect()
    }
}
