//! `hoheit site`: the site file. `check` and `plan` read it from disk and ask nobody: a hall is planned before there is a
//! control plane in it. `apply` and `show` ask the control plane.

mod apply;
mod plan;

use super::Failure;
use super::client::Connection;
use super::show;
use clap::{Args, Subcommand};
use fleet::site::{self, Problem, Reading, Severity};
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hoheit site check site.toml
  hoheit site plan site.toml --hall h1
  hoheit site apply site.toml

The format is explained in docs/site.md; sites/small and sites/munich are ready examples.")]
pub struct Site {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: SiteCommand,
}

#[derive(Debug, Subcommand)]
enum SiteCommand {
    /// Read a site file and say everything that is wrong, line by line. Needs no network.
    #[command(after_help = "\
Examples:
  hoheit site check sites/munich/site.toml
  hoheit site check site.toml --json | jq '.problems[] | select(.severity == \"error\")'

Exit code 0: no error (warnings are possible); 1: errors, or the file cannot be read.")]
    Check {
        /// The site file. The CSV that it names under serials is read from the same folder.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Show halls, rows and racks with their weight and power, feeds, cooling, and what does not fit. Needs no network.
    #[command(after_help = "\
Examples:
  hoheit site plan sites/munich/site.toml               a line per row
  hoheit site plan sites/munich/site.toml --hall h1     a line per rack
  hoheit site plan site.toml --json

Power is the nameplate's; a feed's load is what it carries when its other side has failed. What exceeds a limit is
marked with '!'. A file with errors is shown as far as it could be read, and the exit code is 1.")]
    Plan {
        /// The site file. The CSV that it names under serials is read from the same folder.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Only this hall, a line per rack.
        #[arg(long, value_name = "HALL")]
        hall: Option<String>,
    },
    /// Make a site file the site: its machines become planned, what changed is asked of the others.
    #[command(after_help = "\
Examples:
  hoheit site apply site.toml --dry-run     only say what would happen
  hoheit site apply site.toml

All of it or nothing. Exit code 1: errors in the file, or something must be settled by a person first.")]
    Apply {
        /// The site file. The CSV that it names under serials is read from the same folder.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The CSV with serial numbers, if it stands elsewhere.
        #[arg(long, value_name = "FILE")]
        serials: Option<PathBuf>,
        /// Only say what would happen.
        #[arg(long)]
        dry_run: bool,
    },
    /// Show the site file that is applied.
    #[command(after_help = "Examples:\n  hoheit site show > site.toml")]
    Show,
}

impl Site {
    pub async fn run(self) -> Result<(), Failure> {
        let as_json = self.connection.json;
        match self.command {
            SiteCommand::Check { file } => check(&file, as_json),
            SiteCommand::Plan { file, hall } => plan::run(&file, hall.as_deref(), as_json),
            SiteCommand::Apply { file, serials, dry_run } => {
                apply::run(&self.connection.control()?, &file, serials.as_deref(), dry_run, as_json).await
            }
            SiteCommand::Show => apply::show(&self.connection.control()?, as_json).await,
        }
    }
}

/// A site as it was read, with the names of its files for what is said about it.
struct Found {
    file: PathBuf,
    serials: PathBuf,
    reading: Reading,
}

/// Reads a site file and the serials beside it.
fn read(file: &Path) -> Result<Found, Failure> {
    let open = |path: &Path| {
        std::fs::read_to_string(path).map_err(|error| {
            Failure::failed(format!("{}: {error}", path.display()))
                .hint("name a site file; sites/small/site.toml is one")
        })
    };
    let text = open(file)?;
    let beside = site::serials_file(&text).map(|name| file.with_file_name(name));
    let serials = beside.as_deref().filter(|path| path.is_file()).map(open).transpose()?;
    let reading = site::read(&text, serials.as_deref());
    Ok(Found { file: file.to_owned(), serials: beside.unwrap_or_default(), reading })
}

fn check(file: &Path, as_json: bool) -> Result<(), Failure> {
    let found = read(file)?;
    let reading = &found.reading;
    if as_json {
        show::json(&serde_json::json!({
            "site": reading.draft.name,
            "totals": reading.draft.totals(),
            "problems": reading.problems,
            "left_out": reading.left_out,
        }))?;
    } else {
        problems(&found)?;
        if reading.site.is_some() {
            let totals = reading.draft.totals();
            let what = format!("{}: {} machines, {} GPUs, no errors", reading.draft.name, totals.machines, totals.gpus);
            show::line(&show::clean(&what))?;
        }
    }
    verdict(&found)
}

/// A line for each problem, as compilers write them.
fn problems(found: &Found) -> Result<(), Failure> {
    for problem in &found.reading.problems {
        show::line(&show::clean(&text(found, problem)))?;
    }
    match found.reading.left_out {
        0 => Ok(()),
        count => show::line(&format!("… and {count} more")),
    }
}

fn text(found: &Found, it: &Problem) -> String {
    let word = match it.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let file = match it.place.file {
        site::File::Site => found.file.display(),
        site::File::Serials => found.serials.display(),
    };
    let site::Place { line, column, .. } = it.place;
    format!("{file}:{line}:{column}: {word}[{}]: {}\n  what to do: {}", it.code, it.what, it.advice)
}

fn verdict(found: &Found) -> Result<(), Failure> {
    let errors = found.reading.errors().count();
    if found.reading.site.is_some() {
        return Ok(());
    }
    let noun = if errors == 1 { "error" } else { "errors" };
    Err(Failure::failed(format!("{}: {errors} {noun}", found.file.display()))
        .hint("correct the lines named above; docs/site.md"))
}
