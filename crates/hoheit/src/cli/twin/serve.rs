//! `hoheit twin serve`: the factory on loopback around a real site, its own or one that runs already.

mod child;

use super::super::Failure;
use super::super::show;
use agent::link::Address;
use child::{Child, Usage};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use robots::Broker;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use twin::factory::{self, SITES};
use twin::serve::{Counts, Options, ServeError, Twin};

/// How often the site is asked how far its machines are.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A line of progress so often where nobody watches a terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hoheit twin serve --site munich                          a site of its own, and everything around it, until Ctrl-C
  hoheit twin serve --site small --data ./twin --faults-per-hour 60
  hoheit twin serve --site munich --once --stand 60        to accepted, then a minute at rest: what both cost
  hoheit twin serve --site small --robots 4 --mqtt-url mqtt://127.0.0.1:1883
  hoheit twin serve --site sites/small --url http://127.0.0.1:8080 --agents https://127.0.0.1:8443

Without --url it starts `hoheit up` itself, in --data DIR or in a folder that is gone afterwards, and ends it again; another
terminal can watch with the two variables that it prints. A site that runs already must be on this machine, must have been
started with --agents and --bmc-plain-on-loopback, and must have no other site file; HOHEIT_TOKEN or --data says its token.

Simulated are BMCs (Redfish), agents (mutual TLS), people (the control API) and, with a broker, robots (VDA 5050 over MQTT).
Work takes no time. The machines have the serial numbers that the site file says, and others where it says none.")]
pub struct Serve {
    /// munich, small, a site file or its folder.
    #[arg(long, value_name = "SITE")]
    site: String,
    /// Where the site lives that is started, and stays; or, with --url, where the admin token of that one is.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where the site that is started listens.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", conflicts_with = "url")]
    listen: SocketAddr,
    /// A site that runs already, on this machine.
    #[arg(long, value_name = "URL", requires = "agents")]
    url: Option<String>,
    /// Where that one's agents connect: https://HOST:PORT.
    #[arg(long, value_name = "URL", requires = "url")]
    agents: Option<String>,
    /// People at work at once; two stand at a hold point.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(2..=1_000))]
    people: u32,
    /// Robots; people do what is left.
    #[arg(long, value_name = "N", requires = "mqtt_url", value_parser = clap::value_parser!(u32).range(1..=99))]
    robots: Option<u32>,
    /// The robots' broker: mqtt://HOST:PORT.
    #[arg(long, value_name = "URL")]
    mqtt_url: Option<String>,
    /// Breaks so many machines an hour once they are capacity: XIDs, links, parts, as often as in the field against each other.
    #[arg(long, value_name = "X", default_value_t = 0.0)]
    faults_per_hour: f64,
    /// Of the faults.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// End when every machine is capacity.
    #[arg(long)]
    once: bool,
    /// Before that let it stand for so long, and tell what that costs the site.
    #[arg(long, value_name = "SECONDS", default_value_t = 0, requires = "once")]
    stand: u64,
    /// What came of it as one JSON object.
    #[arg(long)]
    json: bool,
}

impl From<ServeError> for Failure {
    fn from(error: ServeError) -> Failure {
        let hint = match &error {
            ServeError::NotHere(_) => "start a site here, or leave --url out",
            ServeError::OtherSite => "give the site file that is applied there, or another --data",
            ServeError::Site(_) => "`hoheit site check` shows them all",
            ServeError::Files { .. } => "or simulate a smaller site",
            _ => "see the site's log",
        };
        Failure::failed(error.to_string()).hint(hint)
    }
}

impl Serve {
    pub fn run(self) -> Result<(), Failure> {
        if !(0.0..=1e6).contains(&self.faults_per_hour) {
            return Err(Failure::usage("--faults-per-hour must be from 0 to 1000000"));
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|error| Failure::failed(format!("The runtime did not start: {error}")))?;
        runtime.block_on(self.serve())
    }

    async fn serve(&self) -> Result<(), Failure> {
        let (text, serials) = site_text(&self.site)?;
        let wrong = |error: &dyn std::fmt::Display| Failure::usage(error.to_string());
        let robots = match (&self.mqtt_url, self.robots) {
            (Some(url), Some(count)) => {
                Some((Broker::new(url, None, None).map_err(|error| wrong(&error))?, count as usize))
            }
            _ => None,
        };
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let (site, url, token, agents) = match (&self.url, &self.agents) {
            (Some(url), Some(agents)) => (None, url.clone(), self.token()?, agents.clone()),
            _ => {
                let child = Child::start(self.data.as_deref(), self.listen, self.mqtt_url.as_deref())?;
                let (url, agents, token) = (child.url.clone(), child.agents.clone(), child.token()?);
                eprintln!("to watch it: export HOHEIT_URL={url} HOHEIT_DATA={}; hoheit fleet watch", child.folder());
                (Some(child), url, token, agents)
            }
        };
        let agents = Address::parse(&agents).map_err(|error| wrong(&error))?;
        let options = Options {
            url,
            token,
            agents,
            text,
            serials,
            people: self.people as usize,
            robots,
            faults_per_hour: self.faults_per_hour,
            seed: self.seed,
        };
        let (begin, before) = (Instant::now(), site.as_ref().and_then(Child::usage));
        let twin = Twin::start(options).await?;
        let applied = begin.elapsed();
        let told = tokio::select! {
            told = self.roll_out(&twin, site.as_ref(), begin, before) => Some(told?),
            _ = terminate.recv() => None,
            _ = interrupt.recv() => None,
        };
        if let Some(mut told) = told {
            told["applied_seconds"] = rounded(applied);
            if self.json {
                show::json(&told)?
            } else {
                show::line(&said(&told))?
            }
            if !self.once {
                tokio::select! {
                    gone = self.stay(&twin) => gone?,
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            }
        }
        eprintln!("stopping: what was begun is ended");
        twin.stop().await;
        if let Some(site) = site {
            tokio::task::spawn_blocking(move || site.stop())
                .await
                .map_err(|error| Failure::failed(error.to_string()))??;
        }
        Ok(())
    }

    fn token(&self) -> Result<String, Failure> {
        if let Ok(token) = std::env::var("HOHEIT_TOKEN") {
            return Ok(token.trim().to_owned());
        }
        let data = self.data.clone().or_else(|| std::env::var_os("HOHEIT_DATA").map(PathBuf::from));
        let Some(data) = data else {
            return Err(Failure::usage("No token to show to the control API.")
                .hint("set HOHEIT_TOKEN, or --data to the folder of that `hoheit up`"));
        };
        child::token(&data)
    }

    /// Until every machine is capacity, and for as long as it shall stand then.
    async fn roll_out(
        &self,
        twin: &Twin,
        site: Option<&Child>,
        begin: Instant,
        before: Option<Usage>,
    ) -> Result<Value, Failure> {
        let bar = ProgressBar::new(twin.machines() as u64);
        if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos}/{len} capacity, {msg}") {
            bar.set_style(style);
        }
        let mut told_at = begin;
        loop {
            let counts = twin.counts().await?;
            bar.set_position(counts.open);
            bar.set_message(progress(&counts, begin.elapsed()));
            if bar.is_hidden() && told_at.elapsed() >= LINE_EVERY {
                told_at = Instant::now();
                eprintln!("{}/{} capacity, {}", counts.open, twin.machines(), progress(&counts, begin.elapsed()));
            }
            for complaint in twin.complaints() {
                bar.suspend(|| eprintln!("tried again: {complaint}"));
            }
            if counts.open >= twin.machines() as u64 {
                break;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        bar.finish_and_clear();
        let took = begin.elapsed();
        let after = site.and_then(Child::usage);
        let done = twin.done();
        let mut told = json!({
            "machines": twin.machines(),
            "seconds": rounded(took),
            "machines_per_minute": (twin.machines() as f64 / took.as_secs_f64() * 60.0).round(),
            "done": done,
            "people": self.people,
            "robots": self.robots.unwrap_or(0),
        });
        if let Some((before, after)) = before.zip(after) {
            told["site_cpu_seconds"] = rounded(after.cpu.saturating_sub(before.cpu));
            told["site_resident_mib"] = json!(after.resident_mib);
        }
        if let Some(own) = child::usage("self") {
            told["twin_cpu_seconds"] = rounded(own.cpu);
            told["twin_resident_mib"] = json!(own.resident_mib);
        }
        if self.stand > 0 {
            eprintln!("every machine is capacity after {:.1} s; standing for {} s", took.as_secs_f64(), self.stand);
            let (begin, before, reports) = (Instant::now(), site.and_then(Child::usage), done.reports);
            tokio::time::sleep(Duration::from_secs(self.stand)).await;
            let seconds = begin.elapsed();
            let mut standing = json!({
                "seconds": rounded(seconds),
                "reports_per_second": ((twin.done().reports - reports) as f64 / seconds.as_secs_f64()).round(),
                "capacity": twin.counts().await?.open,
            });
            if let Some((before, after)) = before.zip(site.and_then(Child::usage)) {
                let core = after.cpu.saturating_sub(before.cpu).as_secs_f64() / seconds.as_secs_f64();
                standing["site_core"] = json!((core * 1_000.0).round() / 1_000.0);
                standing["site_resident_mib"] = json!(after.resident_mib);
            }
            told["standing"] = standing;
        }
        Ok(told)
    }

    /// Stands there, breaks and is mended, until somebody ends it.
    async fn stay(&self, twin: &Twin) -> Result<(), Failure> {
        let bar = ProgressBar::new_spinner();
        loop {
            let counts = twin.counts().await?;
            let line = format!("{} of {} are capacity, {}", counts.open, twin.machines(), states(&counts));
            bar.set_message(format!("{line}; {} faults so far; Ctrl-C ends it", twin.done().faults));
            for complaint in twin.complaints() {
                bar.suspend(|| eprintln!("tried again: {complaint}"));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

fn rounded(time: Duration) -> Value {
    json!((time.as_secs_f64() * 10.0).round() / 10.0)
}

/// `30 planned, 2 received`; what is held comes last.
fn states(counts: &Counts) -> String {
    let there = counts.lifecycles.iter().filter(|(_, count)| *count > 0);
    let mut words: Vec<String> = there.map(|(state, count)| format!("{count} {state}")).collect();
    if counts.held > 0 {
        words.push(format!("{} HELD (hoheit machine list --held)", counts.held));
    }
    words.join(", ")
}

fn progress(counts: &Counts, since: Duration) -> String {
    let pace = counts.open as f64 / since.as_secs_f64().max(0.1) * 60.0;
    format!("{pace:.0} a minute: {}", states(counts))
}

fn said(told: &Value) -> String {
    let text = |value: &Value| show::text(value);
    let mut lines = vec![
        format!(
            "{} machines from planned to capacity in {} s: {} a minute",
            text(&told["machines"]),
            text(&told["seconds"]),
            text(&told["machines_per_minute"])
        ),
        format!(
            "people: {} requests ({} in vain) in {} orders; {} agents, {} reports, {} suites",
            text(&told["done"]["deeds"]),
            text(&told["done"]["conflicts"]),
            text(&told["done"]["orders"]),
            text(&told["done"]["agents"]),
            text(&told["done"]["reports"]),
            text(&told["done"]["suites"])
        ),
    ];
    if !told["site_cpu_seconds"].is_null() {
        lines.push(format!(
            "the site: {} s of CPU, {} MiB; the twin: {} s, {} MiB",
            text(&told["site_cpu_seconds"]),
            text(&told["site_resident_mib"]),
            text(&told["twin_cpu_seconds"]),
            text(&told["twin_resident_mib"])
        ));
    }
    let standing = &told["standing"];
    if !standing.is_null() {
        lines.push(format!(
            "at rest for {} s, {} reports a second: {} of a core, {} MiB; {} machines are capacity",
            text(&standing["seconds"]),
            text(&standing["reports_per_second"]),
            text(&standing["site_core"]),
            text(&standing["site_resident_mib"]),
            text(&standing["capacity"])
        ));
    }
    lines.join("\n")
}

/// A shipped site by name, a file, or the folder in which `site.toml` is; with the serial numbers that it names.
fn site_text(name: &str) -> Result<(String, Option<String>), Failure> {
    let path = Path::new(name);
    if let Some(text) = factory::site_named(name).filter(|_| !path.exists()) {
        return Ok((text.to_owned(), None));
    }
    let path = if path.is_dir() { path.join("site.toml") } else { path.to_owned() };
    let read = |path: &Path| {
        std::fs::read_to_string(path).map_err(|error| {
            let names: Vec<&str> = SITES.iter().map(|(name, _)| *name).collect();
            Failure::failed(format!("{}: {error}", path.display()))
                .hint(format!("a site is a file, or one of {}", names.join(", ")))
        })
    };
    let text = read(&path)?;
    let serials = fleet::site::serials_file(&text).map(|file| read(&path.with_file_name(file)));
    Ok((text, serials.transpose()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_says_on_the_way() {
        let counts = Counts { lifecycles: vec![("planned", 3), ("received", 0), ("accepted", 20)], open: 20, held: 1 };
        let text = progress(&counts, Duration::from_secs(60));
        assert_eq!(text, "20 a minute: 3 planned, 20 accepted, 1 HELD (hoheit machine list --held)");
    }

    #[test]
    fn a_site_is_a_name_a_folder_or_a_file() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../sites/small");
        let named = site_text("small").unwrap();
        assert_eq!(site_text(root).unwrap(), named);
        assert_eq!(site_text(&format!("{root}/site.toml")).unwrap(), named);
        assert!(site_text("nowhere").unwrap_err().hint.unwrap().contains("munich"));
    }
}
