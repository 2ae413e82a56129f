//! What `fleet watch` knows: the machines as last answered, the newest events, and where the viewer looks. No terminal and
//! no network here; [`super::draw`] shows it, [`super::watch`] fills it.

use super::events::newest;
use crate::cli::show;
use fleet::machine::Lifecycle;
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};

/// Events that are kept: more than the largest terminal shows.
pub const EVENTS_KEPT_MAX: usize = 200;

/// One machine, as its cell and its line need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    pub slot: String,
    pub state: Lifecycle,
    pub capacity: bool,
    pub faulted: bool,
    pub degraded: bool,
    /// The finding's code.
    pub held: Option<String>,
    pub reason: String,
}

/// The machines of one rack, from the lowest slot up.
pub type Rack = Vec<Cell>;
/// Rows of a hall, each with its racks, by name.
pub type Hall = BTreeMap<String, BTreeMap<String, Rack>>;

#[derive(Debug, Default)]
pub struct Model {
    /// Where the site is.
    pub url: String,
    pub halls: BTreeMap<String, Hall>,
    pub machines: usize,
    pub capacity: usize,
    pub states: BTreeMap<Lifecycle, usize>,
    /// Those that wait for a person, by slot.
    pub held: Vec<Cell>,
    /// When, what about, what; newest last.
    pub events: VecDeque<(String, String, String)>,
    pub seq: Option<u64>,
    /// The slots of machines, by id: events name ids.
    pub slots: BTreeMap<String, String>,
    /// When the machines were answered.
    pub at: Option<String>,
    /// Why they could not be asked; what is shown then is old.
    pub trouble: Option<String>,
    /// Lines of the halls that are above the view.
    pub scroll: usize,
    /// Only rows in which a machine is held.
    pub only_held: bool,
}

impl Model {
    /// The machines as they are now; retired ones stand nowhere.
    pub fn machines(&mut self, machines: &[Value], at: String) {
        *self = Model {
            url: std::mem::take(&mut self.url),
            events: std::mem::take(&mut self.events),
            seq: self.seq,
            scroll: self.scroll,
            only_held: self.only_held,
            at: Some(at),
            ..Model::default()
        };
        for machine in machines {
            let Some(state) = machine["lifecycle"].as_str().and_then(Lifecycle::from_word) else { continue };
            let cell = Cell {
                slot: show::text(&machine["slot"]),
                state,
                capacity: machine["scheduling"] == "open",
                faulted: machine["health"] == "faulted",
                degraded: machine["health"] == "degraded",
                held: machine["held"].as_str().map(show::clean),
                reason: show::text(&machine["reason"]).replace('\n', " "),
            };
            self.slots.insert(show::text(&machine["id"]), cell.slot.clone());
            if state == Lifecycle::Retired {
                continue;
            }
            self.machines += 1;
            self.capacity += usize::from(cell.capacity);
            *self.states.entry(state).or_default() += 1;
            if cell.held.is_some() {
                self.held.push(cell.clone());
            }
            let [hall, row, rack] = place(&cell.slot);
            self.halls.entry(hall).or_default().entry(row).or_default().entry(rack).or_default().push(cell);
        }
        for rack in self.halls.values_mut().flat_map(BTreeMap::values_mut).flat_map(BTreeMap::values_mut) {
            rack.sort_by(|a, b| a.slot.cmp(&b.slot));
        }
        self.held.sort_by(|a, b| a.slot.cmp(&b.slot));
    }

    /// Events that came since; what is about a machine is shown by its slot.
    pub fn happened(&mut self, events: &[Value]) {
        for event in events {
            let machine = event["machine"].as_str().map(show::clean).unwrap_or_default();
            let about = self.slots.get(&machine).cloned().unwrap_or(machine);
            let time = show::time(&event["at"]);
            // The day is today.
            let time = time.get(11..19).unwrap_or_default().to_owned();
            let what = format!("{}: {}", show::text(&event["kind"]), show::text(&event["text"])).replace('\n', " ");
            self.events.push_back((time, about, what));
        }
        let excess = self.events.len().saturating_sub(EVENTS_KEPT_MAX);
        self.events.drain(..excess);
        self.seq = newest(events).or(self.seq);
    }
}

/// Hall, row and rack of a slot; what a slot does not say stands under `-`.
fn place(slot: &str) -> [String; 3] {
    let mut parts = slot.split('/');
    let mut next = || parts.next().filter(|part| !part.is_empty()).unwrap_or("-").to_owned();
    [next(), next(), next()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn events_are_kept_to_a_limit_and_named_by_slot() {
        let mut model = Model::default();
        let machine = json!({ "id": "mach_1", "slot": "h1/r01/k01/u01", "lifecycle": "planned" });
        model.machines(&[machine], "now".to_owned());
        let event =
            |seq: u64| json!({ "seq": seq, "at": 0, "machine": "mach_1", "kind": "page", "text": format!("no {seq}") });
        model.happened(&(1..=EVENTS_KEPT_MAX as u64 + 1).map(event).collect::<Vec<_>>());
        assert_eq!((model.events.len(), model.seq), (EVENTS_KEPT_MAX, Some(EVENTS_KEPT_MAX as u64 + 1)));
        let first = ("00:00:00".to_owned(), "h1/r01/k01/u01".to_owned(), "page: no 2".to_owned());
        assert_eq!(model.events.front(), Some(&first));
        model.happened(&[]);
        assert_eq!(model.seq, Some(EVENTS_KEPT_MAX as u64 + 1));
    }

    #[test]
    fn places() {
        let check = |slot: &str, expect: [&str; 3]| assert_eq!(place(slot), expect, "{slot}");
        check("h1/r01/k01/u01", ["h1", "r01", "k01"]);
        check("h1", ["h1", "-", "-"]);
        check("//k", ["-", "-", "k"]);
    }
}
