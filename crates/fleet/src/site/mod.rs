//! The site as it shall be: halls, rows, racks, slots, feeds, cooling, switches, cables and machines, from `site.toml`.
//!
//! [`read`] takes the text (and the serials' CSV, if the file names one) and answers with the site and with everything that
//! is wrong, each with its line and what to do. A [`Site`] exists only if nothing is an error. [`Site::machines`] is what the
//! control plane is given; [`diff`] says what a changed file would do to machines that exist.
//!
//! Not here: files (the caller reads them), ids (the store gives them; a machine's name is its slot) and what machines are
//! at present (that is observed, never planned). Nothing is kept between calls, so nothing can be half done.

mod cables;
mod check;
mod diff;
mod document;
mod loads;
mod pattern;
mod place;
mod plan;
mod problem;
mod resolve;
mod serials;

pub use diff::{Change, Diff, Refused, diff, settle};
pub use document::{FORMAT, SITE_BYTES_MAX};
pub use loads::{CoolingLoad, FeedLoad, RackLoad};
pub use pattern::{NAME_LEN_MAX, NAMES_MAX};
pub use plan::{PlannedMachine, Totals};
pub use problem::{File, PROBLEMS_MAX, Place, Problem, Severity};
pub use resolve::{CABLES_MAX, MACHINES_MAX, RACKS_MAX};

use crate::machine::MachineKind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A site without errors.
#[derive(Debug, Clone, PartialEq)]
pub struct Site {
    pub name: String,
    /// What the grid gives, in sum.
    pub power_w: Option<u64>,
    /// Where that is written.
    pub power_at: Place,
    pub halls: Vec<Hall>,
    pub feeds: Vec<Feed>,
    pub cooling: Vec<Cooling>,
    pub racks: Vec<Rack>,
    pub kinds: BTreeMap<MachineKind, Kind>,
    pub machines: Vec<PlacedMachine>,
    pub switches: Vec<Switch>,
    /// From machines to switches, machine by machine.
    pub cables: Vec<Cable>,
    /// Between switches.
    pub uplinks: Vec<Cable>,
    /// Robots, as `manufacturer/serial`, to where they may drive: beginnings of slots.
    pub robots: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hall {
    pub name: String,
    pub power_w: Option<u64>,
    pub floor_g_per_m2: Option<u64>,
    pub at: Place,
}

/// A source of power that can fail by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feed {
    pub name: String,
    pub power_w: u64,
    pub fed_by: Option<String>,
    pub at: Place,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cooling {
    pub name: String,
    pub hall: String,
    pub cooling_w: u64,
    /// May stand still: it is not counted.
    pub spare: bool,
    pub at: Place,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rack {
    pub hall: String,
    pub row: String,
    pub name: String,
    pub kind: String,
    pub height_u: u32,
    pub empty_g: u64,
    pub load_g_max: u64,
    pub footprint_cm2: Option<u64>,
    pub feed_w: u64,
    pub cooling_w: Option<u64>,
    pub feed_a: String,
    pub feed_b: Option<String>,
    /// Exclusive zone: only one task at a time. Its own path where the file draws none around it.
    pub zone: String,
    /// Why nothing may stand here.
    pub blocked: Option<String>,
    pub at: Place,
}

impl Rack {
    pub fn path(&self) -> String {
        format!("{}/{}/{}", self.hall, self.row, self.name)
    }
}

/// What every machine of a kind is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    pub kind: MachineKind,
    pub height_u: u32,
    pub mass_g: u64,
    pub max_w: u64,
    pub typical_w: u64,
    pub psus: u32,
    pub psu_w: u64,
    pub psus_needed: u32,
    pub ports: Vec<String>,
    pub parts: BTreeMap<String, u32>,
    pub firmware: BTreeMap<String, String>,
    pub secure_boot: Option<bool>,
    pub suite: String,
    pub at: Place,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedMachine {
    /// Index into `Site::racks`.
    pub rack: usize,
    /// Lowest unit.
    pub u: u32,
    /// `hall/row/rack/u11`: its name.
    pub slot: String,
    pub kind: MachineKind,
    pub unit: String,
    pub suite: String,
    pub firmware: BTreeMap<String, String>,
    pub serials: BTreeMap<String, String>,
    pub wanted: bool,
    pub at: Place,
}

/// Which layer of the fabric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Leaf,
    Spine,
    Core,
    /// Out of band: BMCs.
    Management,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switch {
    pub name: String,
    pub role: Role,
    pub ports: u32,
    pub power_w: u64,
    pub mass_g: u64,
    pub height_u: u32,
    /// Index into `Site::racks` and lowest unit, if it stands in a rack of this file.
    pub place: Option<(usize, u32)>,
    pub at: Place,
}

/// One cable, with the ports that its two labels say: `h1/r01/k01/u01:hca1`, `leaf-su01-1:17`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cable {
    pub id: String,
    pub port_a: String,
    pub port_b: String,
}

/// What came of a site file.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// There is none if there is an error.
    pub site: Option<Site>,
    /// As far as it could be understood, errors or not; for showing what does not fit, for nothing else.
    pub draft: Site,
    /// Errors, then warnings, each in the file's order.
    pub problems: Vec<Problem>,
    /// How many more there were.
    pub left_out: usize,
}

impl Reading {
    pub fn errors(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter().filter(|problem| problem.severity == Severity::Error)
    }

    pub fn warnings(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter().filter(|problem| problem.severity == Severity::Warning)
    }
}

/// The CSV that a site file names, for the caller to bring along.
pub fn serials_file(text: &str) -> Option<String> {
    let lines = problem::Lines::new(text);
    document::read(text, &lines, &mut problem::Problems::default()).site?.it.serials.map(|name| name.into_inner())
}

/// Reads and checks a site.
pub fn read(text: &str, serials: Option<&str>) -> Reading {
    let lines = problem::Lines::new(text);
    let mut problems = problem::Problems::default();
    let document = document::read(text, &lines, &mut problems);
    let draft = resolve::resolve(&document, serials, &lines, &mut problems);
    check::check(&draft, &mut problems);
    let site = (!problems.any_error()).then(|| draft.clone());
    let (problems, left_out) = problems.sorted();
    Reading { site, draft, problems, left_out }
}

#[cfg(test)]
mod tests;
