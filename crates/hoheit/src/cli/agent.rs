//! `hoheit agent`: what runs on each machine, and its validation without a site.

use super::Failure;
use super::show;
use ::agent::clock::SystemClock;
use ::agent::enrol::Claim;
use ::agent::link::Address;
use ::agent::run::{self, Options};
use ::agent::supervise;
use ::agent::token::Token;
use ::agent::validate::{self, Place, Suite};
use ::agent::wire::REPORT_EVERY_MS;
use clap::{Args, Subcommand};
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use fleet::observed::{TestOutcome, TestResult};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hoheit agent run --site https://site.example:8443 --token-file /run/hoheit/token --state /var/lib/hoheit-agent
  hoheit agent validate --suite generic
  hoheit agent show")]
pub struct Agent {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Enrol once, then report and do what the site asks, until stopped.
    #[command(
        after_help = "Examples:\n  hoheit agent run --site https://site.example:8443 --token-file /run/hoheit/token --state /var/lib/hoheit-agent"
    )]
    Run(Run),
    /// Run a suite here and print what came of it; tells nobody.
    #[command(
        after_help = "Examples:\n  hoheit agent validate --suite generic --level 1\n  hoheit agent validate --suite ./suite.toml"
    )]
    Validate(Validate),
    /// What the agent would say of this machine.
    #[command(after_help = "Examples:\n  hoheit agent show")]
    Show(Show),
}

#[derive(Debug, Args)]
struct Run {
    /// The site's listener for agents.
    #[arg(long, value_name = "URL")]
    site: String,
    /// File with the one-time token; needed until the machine has enrolled.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The agent's folder: identity, logs of engines, scratch space of disk checks.
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// NVIDIA's management library, if it is not where the driver puts it.
    #[arg(long, value_name = "PATH")]
    nvml: Option<PathBuf>,
    /// Engines to keep alive (TOML, `[[engine]]` each).
    #[arg(long, value_name = "FILE")]
    engines: Option<PathBuf>,
    /// How thorough validation is: 1 a minute, 2 minutes, 3 an hour, 4 hours.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=4))]
    level: u8,
    /// The chassis serial, where the firmware does not tell it.
    #[arg(long, value_name = "SERIAL")]
    serial: Option<String>,
}

#[derive(Debug, Args)]
struct Validate {
    /// A file, or the name of one that the agent brings: dgx-b200, rtx-pro, generic.
    #[arg(long, value_name = "FILE|NAME")]
    suite: String,
    /// Tests above are left out.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=4))]
    level: u8,
    /// Where disk checks write.
    #[arg(long, value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Show {
    /// NVIDIA's management library, if it is not where the driver puts it.
    #[arg(long, value_name = "PATH")]
    nvml: Option<PathBuf>,
}

impl Agent {
    pub async fn run(self) -> Result<(), Failure> {
        match self.verb {
            Verb::Run(run) => run.run().await,
            Verb::Validate(validate) => validate.run().await,
            Verb::Show(show) => show.run(),
        }
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| Failure::failed(format!("{}: {error}", path.display())))
}

impl Run {
    async fn run(self) -> Result<(), Failure> {
        let address = Address::parse(&self.site).map_err(|error| Failure::usage(error.to_string()))?;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.state)?;
        // Gone after the first time, as it should be.
        let token = match self.token_file.as_deref().filter(|it| it.exists()) {
            Some(path) => Some(Token::parse(&read(path)?).map_err(|error| Failure::usage(error.to_string()))?),
            None => None,
        };
        let engines = match &self.engines {
            Some(path) => supervise::parse(&read(path)?).map_err(|error| Failure::usage(error.to_string()))?,
            None => Vec::new(),
        };
        let serial = self.serial.or_else(run::chassis_serial).ok_or_else(|| {
            Failure::failed("the firmware tells no serial number").hint("run as root, or give --serial")
        })?;
        let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
        let claim = Claim { serial, hostname };
        let options =
            Options { address, folder: self.state, token, claim, nvml: self.nvml, engines, level: self.level };
        tracing_subscriber::fmt().with_writer(std::io::stderr).init();
        run::run(options, Arc::new(SystemClock), stopped()).await.map_err(|error| {
            let hint = match &error {
                run::RunError::NoToken => Some("the site prints one: put it into a file and give --token-file"),
                _ => None,
            };
            let failure = Failure::failed(error.to_string());
            match hint {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        })
    }
}

/// SIGINT or SIGTERM.
async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut end) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = end.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

impl Validate {
    async fn run(self) -> Result<(), Failure> {
        let path = Path::new(&self.suite);
        let suite = if path.exists() { Suite::parse(&read(path)?) } else { Suite::named(&self.suite) };
        let suite = suite.map_err(|error| Failure::usage(error.to_string()))?;
        let place = Place { folder: self.folder, level: self.level };
        let results = validate::run(&suite, &place, |it| {
            if !self.json {
                eprintln!("{} {}", word(it.outcome), it.name);
            }
        })
        .await;
        if self.json {
            show::json(&serde_json::to_value(&results).map_err(|error| Failure::failed(error.to_string()))?)?;
        } else {
            show::line(&table(&results))?;
        }
        let bad = results.iter().filter(|it| !matches!(it.outcome, TestOutcome::Passed | TestOutcome::Skipped)).count();
        if bad > 0 {
            return Err(Failure::failed(format!("{bad} of {} tests did not pass", results.len())));
        }
        Ok(())
    }
}

fn word(outcome: TestOutcome) -> &'static str {
    match outcome {
        TestOutcome::Passed => "passed",
        TestOutcome::Failed => "failed",
        TestOutcome::TimedOut => "timed out",
        TestOutcome::Skipped => "skipped",
    }
}

fn table(results: &[TestResult]) -> String {
    let mut table = Table::new();
    table.load_preset(NOTHING);
    table.set_header(["TEST", "OUTCOME", "WANTED", "CAME", "SECONDS"]);
    for it in results {
        let came = it.value.lines().last().unwrap_or_default().to_owned();
        let seconds = format!("{}.{}", it.millis / 1_000, it.millis % 1_000 / 100);
        table.add_row([&it.name, word(it.outcome), &it.threshold, &came, &seconds]);
    }
    table.trim_fmt()
}

impl Show {
    fn run(self) -> Result<(), Failure> {
        let (driver, gpus, no_nvml) = match ::agent::nvml::Gpus::open(self.nvml.as_deref()) {
            Ok(gpus) => (gpus.driver.clone(), gpus.look().gpus, None),
            Err(error) => (String::new(), Default::default(), Some(error.to_string())),
        };
        show::json(&serde_json::json!({
            "serial": run::chassis_serial(),
            "driver": driver,
            "no_nvml": no_nvml,
            "gpus": gpus,
            "report_every_ms": REPORT_EVERY_MS,
        }))
    }
}
