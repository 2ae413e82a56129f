//! `hoheit twin run`: a factory in virtual time, and what would be if.

use super::super::Failure;
use super::super::show;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::{Path, PathBuf};
use twin::factory::{self, Checks, SCENARIOS, SITES, Scenario};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hoheit twin run munich-rollout
  hoheit twin run munich-rollout --robots 24 --people 40 --csv rollout.csv
  hoheit twin run munich-180-days --spares gpu=20 --spares nic=2 --seed 7
  hoheit twin run my-factory.toml --json

SCENARIO is a file, or the name of one that comes with the program: munich-rollout, munich-180-days. Its format and where
its figures come from: docs/twin.md. The same scenario and seed give the same table.")]
pub struct Run {
    /// A scenario's file or name.
    #[arg(value_name = "SCENARIO")]
    scenario: String,
    /// Another course of chance.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// What if: so many days.
    #[arg(long, value_name = "N")]
    days: Option<u32>,
    /// What if: so many robots.
    #[arg(long, value_name = "N")]
    robots: Option<usize>,
    /// What if: so many people, shared among the shifts.
    #[arg(long, value_name = "N")]
    people: Option<usize>,
    /// What if: so many of a part on the shelf; may be given again.
    #[arg(long, value_name = "PART=N", value_parser = stock)]
    spares: Vec<(String, usize)>,
    /// What if: so many times the field's rate of faults.
    #[arg(long, value_name = "X")]
    fault_factor: Option<f64>,
    /// What if: so many machines come on a day of delivery.
    #[arg(long, value_name = "N")]
    deliveries: Option<usize>,
    /// Write one row a day to this file.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// One JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

fn stock(text: &str) -> Result<(String, usize), String> {
    let wrong = || format!("\"{text}\" is not a part and a number, such as gpu=20");
    let (part, count) = text.split_once('=').ok_or_else(wrong)?;
    Ok((part.to_owned(), count.parse().map_err(|_| wrong())?))
}

impl Run {
    pub fn run(self) -> Result<(), Failure> {
        let (text, folder) = self.text()?;
        let mut scenario = Scenario::parse(&text).map_err(|error| self.wrong(&error.to_string()))?;
        scenario.seed = self.seed.unwrap_or(scenario.seed);
        scenario.days = self.days.unwrap_or(scenario.days);
        scenario.robots.count = self.robots.unwrap_or(scenario.robots.count);
        scenario.people.count = self.people.unwrap_or(scenario.people.count);
        scenario.faults.factor = self.fault_factor.unwrap_or(scenario.faults.factor);
        scenario.delivery.machines_per_day = self.deliveries.unwrap_or(scenario.delivery.machines_per_day);
        scenario.spares.stock.extend(self.spares.iter().cloned());
        scenario.check().map_err(|error| self.wrong(&error.to_string()))?;
        let machines = site(&scenario.site, &folder)?.machines();
        // Hidden where nobody looks: not a terminal.
        let bar = ProgressBar::new(u64::from(scenario.days));
        if let Ok(style) = ProgressStyle::with_template("simulating {bar:30} day {pos} of {len}, {eta} left") {
            bar.set_style(style);
        }
        let told = factory::run(&machines, &scenario, Checks::default(), |day| bar.set_position(u64::from(day)));
        bar.finish_and_clear();
        let report = told.map_err(|broken| {
            Failure::failed(broken.to_string()).hint("this is a bug of ours; report it with the scenario and the seed")
        })?;
        if let Some(path) = &self.csv {
            let failed = |error: std::io::Error| Failure::failed(format!("{}: {error}", path.display()));
            std::fs::write(path, report.csv()).map_err(failed)?;
        }
        if self.json {
            let value = serde_json::to_value(&report).map_err(|error| Failure::failed(error.to_string()))?;
            return show::json(&value);
        }
        show::line(&report.text())
    }

    /// The scenario's text, and where its site file is looked for.
    fn text(&self) -> Result<(String, PathBuf), Failure> {
        let path = Path::new(&self.scenario);
        if let Some(text) = factory::scenario_named(&self.scenario).filter(|_| !path.exists()) {
            return Ok((text.to_owned(), PathBuf::from(".")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| {
            let names: Vec<&str> = SCENARIOS.iter().map(|(name, _)| *name).collect();
            Failure::failed(format!("{}: {error}", path.display()))
                .hint(format!("give a file, or one of {}", names.join(", ")))
        })?;
        Ok((text, path.parent().map_or_else(PathBuf::new, Path::to_owned)))
    }

    fn wrong(&self, what: &str) -> Failure {
        Failure::usage(format!("{}: {what}", self.scenario)).hint("docs/twin.md has the format; nothing was simulated")
    }
}

/// A shipped site by name, else the file beside the scenario; with its CSV of serial numbers.
pub fn site(name: &str, folder: &Path) -> Result<fleet::site::Site, Failure> {
    let failed = |path: &Path, error: std::io::Error| Failure::failed(format!("{}: {error}", path.display()));
    let reading = match factory::site_named(name) {
        Some(text) => fleet::site::read(text, None),
        None => {
            let path = folder.join(name);
            let text = std::fs::read_to_string(&path).map_err(|error| {
                let names: Vec<&str> = SITES.iter().map(|(name, _)| *name).collect();
                failed(&path, error).hint(format!("a site is a file, or one of {}", names.join(", ")))
            })?;
            let serials = fleet::site::serials_file(&text).map(|it| path.with_file_name(it));
            let serials = serials.map(|it| std::fs::read_to_string(&it).map_err(|error| failed(&it, error)));
            fleet::site::read(&text, serials.transpose()?.as_deref())
        }
    };
    let errors: Vec<String> = reading.errors().map(ToString::to_string).collect();
    reading.site.ok_or_else(|| {
        Failure::failed(format!("the site has errors:\n  {}", errors.join("\n  ")))
            .hint("`hoheit site check` shows them all")
    })
}
