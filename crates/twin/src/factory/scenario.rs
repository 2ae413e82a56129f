//! What is asked: a small TOML file, in hours and minutes as people think. Every field has a default; what is not known is
//! refused with its line. Nothing here is measured by us: defaults are assumptions, and docs/twin.md says whose.

use fleet::order::Verb;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The only format.
pub const FORMAT: u32 = 1;
/// A scenario is a page of text.
pub const SCENARIO_BYTES_MAX: usize = 64 * 1024;
/// Ten years; a study of more is a slip of the finger.
pub const DAYS_MAX: u32 = 3_650;
/// A robot for each machine of the largest site that we plan for.
pub const ROBOTS_MAX: usize = 2_000;
pub const PEOPLE_MAX: usize = 2_000;
/// A hundred times the field: more faults than machines in a day.
pub const FACTOR_MAX: f64 = 100.0;

/// Where a study begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// Nothing is on the premises.
    Pallet,
    /// Everything is accepted.
    Capacity,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    pub format: u32,
    pub name: String,
    /// A shipped site's name, or a site file's path, relative to this file.
    pub site: String,
    #[serde(default = "one")]
    pub seed: u64,
    pub days: u32,
    pub start: Start,
    #[serde(default)]
    pub delivery: Delivery,
    #[serde(default)]
    pub robots: Robots,
    #[serde(default)]
    pub people: People,
    #[serde(default)]
    pub work: Work,
    #[serde(default)]
    pub machines: Machines,
    #[serde(default)]
    pub faults: Faults,
    #[serde(default)]
    pub spares: Spares,
}

fn one() -> u64 {
    1
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Delivery {
    pub machines_per_day: usize,
    /// Hour of the day at which the trucks stand at the dock.
    pub hour: u32,
    /// From Monday.
    pub days_per_week: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Robots {
    pub count: usize,
    pub payload_kg: u32,
    pub verbs: Vec<Verb>,
    /// From where it stands to its next task.
    pub drive_minutes: f64,
    pub battery_hours: f64,
    pub charge_hours: f64,
    /// Of a thousand tasks, in how many it goes silent.
    pub dies_per_thousand: f64,
    pub mend_hours: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct People {
    pub count: usize,
    /// `06-14`: hours of the day; people are shared among them in turn.
    pub shifts: Vec<String>,
    /// From Monday.
    pub days_per_week: u32,
    pub walk_minutes: f64,
    /// For both at a hold point.
    pub confirm_minutes: f64,
    /// Operators at their desks, day and night: how long until one has looked at what is held.
    pub desk_minutes: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Work {
    /// How long each verb takes.
    pub minutes: BTreeMap<Verb, f64>,
    /// Either way, as a share.
    pub spread: f64,
    /// Of a thousand tasks, how many fail and are begun anew.
    pub fails_per_thousand: BTreeMap<Verb, f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Machines {
    pub bmc_minutes: f64,
    pub boot_minutes: f64,
    pub firmware_hours: f64,
    /// Share of new machines whose firmware is not the baseline.
    pub firmware_old: f64,
    pub provision_hours: f64,
    pub suite_hours: f64,
    /// Share of runs that are cut off.
    pub suite_cut_off: f64,
    /// Share of faults that a suite finds.
    pub suite_finds: f64,
    /// Share of new machines with a dead GPU.
    pub dead_on_arrival: f64,
    /// Until running work has ended, on average.
    pub work_ends_minutes: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Times the field's rate; 0 for none.
    pub factor: f64,
    /// Share of machines that make half of the faults.
    pub lemons: f64,
    /// Share of lemons that an examination finds out.
    pub lemons_cured: f64,
    /// Of faults of the network, share that is a whole switch.
    pub switches: f64,
    /// Until a switch is exchanged or back.
    pub switch_hours: f64,
    /// Share of faults without a known part that reseating and a cold start end.
    pub inspection_mends: f64,
    /// Until somebody notices wrong results.
    pub silent_hours: f64,
    /// A repeat offender at its examination.
    pub offender_hours: f64,
    /// Until a redundant part that failed is planned in.
    pub redundant_days: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Spares {
    /// Kind of part to pieces on the shelf; what is taken is ordered at once.
    pub stock: BTreeMap<String, usize>,
    pub order_days: f64,
}

impl Default for Delivery {
    fn default() -> Self {
        Self { machines_per_day: 64, hour: 6, days_per_week: 6 }
    }
}

impl Default for Robots {
    fn default() -> Self {
        use Verb::{Cable, Extract, Insert, Lift, Move, Photograph, Scan, Torque};
        Self {
            count: 12,
            payload_kg: 200,
            verbs: vec![Move, Lift, Insert, Torque, Cable, Scan, Photograph, Extract],
            drive_minutes: 3.0,
            battery_hours: 6.0,
            charge_hours: 1.5,
            dies_per_thousand: 1.0,
            mend_hours: 4.0,
        }
    }
}

impl Default for People {
    fn default() -> Self {
        Self {
            count: 20,
            shifts: vec!["06-14".to_owned(), "14-22".to_owned()],
            days_per_week: 7,
            walk_minutes: 4.0,
            confirm_minutes: 4.0,
            desk_minutes: 20.0,
        }
    }
}

impl Default for Work {
    fn default() -> Self {
        let minutes = |verb: Verb| match verb {
            Verb::Receive => 10.0,
            Verb::Move => 20.0,
            Verb::Lift => 20.0,
            Verb::Insert => 25.0,
            Verb::Torque => 10.0,
            Verb::Cable => 10.0,
            Verb::Scan => 2.0,
            Verb::Photograph => 3.0,
            Verb::Swap => 45.0,
            Verb::Extract => 25.0,
            Verb::PowerOn => 5.0,
        };
        let fails = |verb: Verb| match verb {
            Verb::Cable | Verb::Insert => 10.0,
            Verb::Torque | Verb::Scan => 5.0,
            _ => 2.0,
        };
        Self {
            minutes: Verb::ALL.iter().map(|verb| (*verb, minutes(*verb))).collect(),
            spread: 0.3,
            fails_per_thousand: Verb::ALL.iter().map(|verb| (*verb, fails(*verb))).collect(),
        }
    }
}

impl Default for Machines {
    fn default() -> Self {
        Self {
            bmc_minutes: 3.0,
            boot_minutes: 10.0,
            firmware_hours: 2.0,
            firmware_old: 0.5,
            provision_hours: 1.0,
            suite_hours: 24.0,
            suite_cut_off: 0.005,
            suite_finds: 0.95,
            dead_on_arrival: 0.01,
            work_ends_minutes: 30.0,
        }
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            factor: 1.0,
            lemons: 3.0 / 63.0,
            lemons_cured: 0.8,
            switches: 0.2,
            switch_hours: 4.0,
            inspection_mends: 0.585,
            silent_hours: 48.0,
            offender_hours: 72.0,
            redundant_days: 7.0,
        }
    }
}

impl Default for Spares {
    fn default() -> Self {
        let stock = [("gpu", 100), ("nic", 20), ("psu", 20), ("drive", 20), ("board", 10), ("cable", 50)];
        Self { stock: stock.map(|(kind, count)| (kind.to_owned(), count)).into(), order_days: 14.0 }
    }
}

/// Why a scenario was not read. Whoever wrote it is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScenarioError {
    #[error("{0}")]
    Toml(String),
    #[error("a scenario has at most {SCENARIO_BYTES_MAX} bytes, this has {0}")]
    TooLong(usize),
    #[error("{field} is {found}; it must be {wanted}")]
    OutOfRange { field: &'static str, found: String, wanted: String },
}

/// `06-14`, as hours; over midnight if the second is not after the first.
pub(super) fn shift(text: &str) -> Option<(u32, u32)> {
    let (from, to) = text.split_once('-')?;
    let (from, to) = (from.parse::<u32>().ok()?, to.parse::<u32>().ok()?);
    (from < 24 && to <= 24).then_some((from, to))
}

impl Scenario {
    pub fn parse(text: &str) -> Result<Scenario, ScenarioError> {
        if text.len() > SCENARIO_BYTES_MAX {
            return Err(ScenarioError::TooLong(text.len()));
        }
        let mut scenario: Scenario =
            toml::from_str(text).map_err(|error| ScenarioError::Toml(error.to_string().trim_end().to_owned()))?;
        // A file that names some verbs means the others as they are.
        for (verb, minutes) in Work::default().minutes {
            scenario.work.minutes.entry(verb).or_insert(minutes);
        }
        for (verb, fails) in Work::default().fails_per_thousand {
            scenario.work.fails_per_thousand.entry(verb).or_insert(fails);
        }
        scenario.check()?;
        Ok(scenario)
    }

    /// Also after a caller changed something.
    pub fn check(&self) -> Result<(), ScenarioError> {
        let within = |field, found: f64, least: f64, most: f64| match (least..=most).contains(&found) {
            true => Ok(()),
            false => {
                let wanted = format!("from {least} to {most}");
                Err(ScenarioError::OutOfRange { field, found: found.to_string(), wanted })
            }
        };
        within("format", self.format.into(), FORMAT.into(), FORMAT.into())?;
        within("days", self.days.into(), 1.0, DAYS_MAX.into())?;
        within("delivery.machines_per_day", self.delivery.machines_per_day as f64, 1.0, 100_000.0)?;
        within("delivery.hour", self.delivery.hour.into(), 0.0, 23.0)?;
        within("delivery.days_per_week", self.delivery.days_per_week.into(), 1.0, 7.0)?;
        within("robots.count", self.robots.count as f64, 0.0, ROBOTS_MAX as f64)?;
        within("robots.payload_kg", self.robots.payload_kg.into(), 0.0, 4_000.0)?;
        within("robots.dies_per_thousand", self.robots.dies_per_thousand, 0.0, 1_000.0)?;
        within("robots.battery_hours", self.robots.battery_hours, 0.1, 1_000.0)?;
        // Two must stand at a hold point.
        within("people.count", self.people.count as f64, 2.0, PEOPLE_MAX as f64)?;
        within("people.days_per_week", self.people.days_per_week.into(), 1.0, 7.0)?;
        within("work.spread", self.work.spread, 0.0, 0.9)?;
        within("faults.factor", self.faults.factor, 0.0, FACTOR_MAX)?;
        within("spares.order_days", self.spares.order_days, 0.0, 365.0)?;
        let shares = [
            ("machines.firmware_old", self.machines.firmware_old),
            ("machines.suite_cut_off", self.machines.suite_cut_off),
            ("machines.suite_finds", self.machines.suite_finds),
            ("machines.dead_on_arrival", self.machines.dead_on_arrival),
            ("faults.lemons", self.faults.lemons),
            ("faults.lemons_cured", self.faults.lemons_cured),
            ("faults.switches", self.faults.switches),
            ("faults.inspection_mends", self.faults.inspection_mends),
        ];
        for (field, share) in shares {
            within(field, share, 0.0, 1.0)?;
        }
        let year = 365.0 * 24.0;
        let hours = [
            ("robots.drive_minutes", self.robots.drive_minutes / 60.0),
            ("robots.charge_hours", self.robots.charge_hours),
            ("robots.mend_hours", self.robots.mend_hours),
            ("people.walk_minutes", self.people.walk_minutes / 60.0),
            ("people.confirm_minutes", self.people.confirm_minutes / 60.0),
            ("people.desk_minutes", self.people.desk_minutes / 60.0),
            ("machines.bmc_minutes", self.machines.bmc_minutes / 60.0),
            ("machines.boot_minutes", self.machines.boot_minutes / 60.0),
            ("machines.firmware_hours", self.machines.firmware_hours),
            ("machines.provision_hours", self.machines.provision_hours),
            ("machines.suite_hours", self.machines.suite_hours),
            ("machines.work_ends_minutes", self.machines.work_ends_minutes / 60.0),
            ("faults.switch_hours", self.faults.switch_hours),
            ("faults.silent_hours", self.faults.silent_hours),
            ("faults.offender_hours", self.faults.offender_hours),
            ("faults.redundant_days", self.faults.redundant_days * 24.0),
        ];
        for (field, hours) in hours {
            within(field, hours, 0.0, year)?;
        }
        for (verb, minutes) in &self.work.minutes {
            within("work.minutes", *minutes, 0.0, 90.0).map_err(|error| named(error, *verb))?;
        }
        for (verb, fails) in &self.work.fails_per_thousand {
            within("work.fails_per_thousand", *fails, 0.0, 500.0).map_err(|error| named(error, *verb))?;
        }
        // Parts are on people's shelf: who exchanges one takes it from there.
        if self.robots.verbs.contains(&Verb::Swap) {
            let wanted = "verbs without swap, which is people's".to_owned();
            return Err(ScenarioError::OutOfRange { field: "robots.verbs", found: "swap".to_owned(), wanted });
        }
        if self.people.shifts.is_empty() || !self.people.shifts.iter().all(|text| shift(text).is_some()) {
            let found = self.people.shifts.join(", ");
            let wanted = "hours of the day such as \"06-14\"".to_owned();
            return Err(ScenarioError::OutOfRange { field: "people.shifts", found, wanted });
        }
        // Fewer people than shifts would leave one without anybody; a single one cannot confirm for two.
        within("people.count", (self.people.count / self.people.shifts.len()) as f64, 2.0, PEOPLE_MAX as f64).map_err(
            |_| ScenarioError::OutOfRange {
                field: "people.count",
                found: self.people.count.to_string(),
                wanted: format!("at least two for each of {} shifts", self.people.shifts.len()),
            },
        )
    }
}

fn named(error: ScenarioError, verb: Verb) -> ScenarioError {
    match error {
        ScenarioError::OutOfRange { field, found, wanted } => {
            ScenarioError::OutOfRange { field, found: format!("{found} for {verb}"), wanted }
        }
        other => other,
    }
}
