//! `cargo xtask bench …`: what things cost. `gateway` is here; it measures as `reference/gateways.md` does, so that the
//! figures can be laid beside each other.
//!
//! The backend and the load share core 0, the gateway has core 1. Peers take turns, round by round. CPU is user and
//! system time of the gateway's whole process tree; the smallest of the rounds counts, because a neighbour only ever
//! adds. Requests per second and delays are medians of the rounds, and lower bounds.
//!
//! Hoheit runs with everything on: key, policy, limits, budget, a journal with fsync before the answer, a receipt for
//! each request, shipped and sealed. What it still does when the load has stopped is counted too and shown apart.

mod ask;
mod cpu;
mod load;
mod nginx;
pub mod offline;
mod peer;
mod print;
mod replicas;
mod routers;
mod streams;
mod whole;

use crate::site::Site;
use crate::{prerequisites, process, root, screen};
use anyhow::{Context, Result};
use ask::Body;
use clap::Args;
pub use cpu::tree_us;
use peer::Peer;
use std::path::{Path, PathBuf};

#[derive(Args)]
pub struct Options {
    /// Print one JSON document to standard output instead of tables.
    #[arg(long)]
    json: bool,
    /// Seconds measured in each round.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Rounds of all peers in turn.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Measure this binary instead of building one in release mode.
    #[arg(long, value_name = "PATH")]
    hoheit: Option<PathBuf>,
    /// Whole answers to requests of these sizes: small, 48k; or none.
    #[arg(long, value_delimiter = ',', default_value = "small")]
    bodies: Vec<Body>,
    /// Streams held at once: an engine that sends 64 tokens at 10 ms. CPU per token, and what each token was delayed.
    #[arg(long, value_delimiter = ',', value_name = "N")]
    streams: Vec<u32>,
    /// Replicas of one model behind the gateway, for each of which it is measured.
    #[arg(long, value_delimiter = ',', value_name = "N")]
    replicas: Vec<u32>,
    /// With --replicas: only these of the strategies of `hoheit up --routing`.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    strategy: Vec<String>,
    /// Measure vllm-router and sglang-router too; they are installed from PyPI into .xtask/, once.
    #[arg(long)]
    peers: bool,
    /// Only these: direct, nginx, hoheit, and peers by their names.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    only: Vec<String>,
}

impl Options {
    /// Whether this one is to be measured.
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }

    fn whole(&self) -> Vec<Body> {
        self.bodies.iter().copied().filter(|body| *body != Body::None).collect()
    }
}

/// Everything that a suite needs to begin.
struct Bench<'a> {
    options: &'a Options,
    /// The binary that is measured.
    hoheit: PathBuf,
    /// The paced engine and its client, where they are needed.
    pace: PathBuf,
    /// For what this run writes; removed at its end.
    folder: PathBuf,
}

/// What all suites found.
#[derive(Default)]
struct Found {
    bodies: Vec<(Body, Vec<whole::Row>)>,
    streams: Vec<(u32, Vec<streams::Row>)>,
    fleets: Vec<replicas::Fleet>,
}

pub fn gateway(options: &Options) -> Result<()> {
    prerequisites::debian(&[
        prerequisites::Needed::of("nginx", "nginx-light"),
        prerequisites::Needed::of("wrk", "wrk"),
        prerequisites::Needed::of("taskset", "util-linux"),
    ])?;
    for router in routers::ROUTERS.iter().filter(|router| options.peers && options.wants(router.name)) {
        router.install()?;
    }
    let folder = root::target().join(format!("bench/{}", std::process::id()));
    let bench = Bench { options, hoheit: built(options)?, pace: root::target().join("release/twin-pace"), folder };
    std::fs::create_dir_all(&bench.folder)?;
    let found = bench.run();
    // A run's folder holds a journal of many megabytes; what is worth keeping was printed.
    let _removed = std::fs::remove_dir_all(&bench.folder);
    let found = found?;
    match options.json {
        true => println!("{}", print::document(options, &found)),
        false => print::tables(&found),
    }
    Ok(())
}

/// Builds what this run needs in release mode, and answers the binary to measure.
fn built(options: &Options) -> Result<PathBuf> {
    let mut packages = Vec::new();
    if options.hoheit.is_none() && options.wants("hoheit") {
        packages.extend(["--package", "hoheit"]);
    }
    if !options.streams.is_empty() {
        packages.extend(["--package", "twin"]);
    }
    if !packages.is_empty() {
        screen::step("building in release mode (the first time takes several minutes)");
        process::run(process::cargo().args(["build", "--release"]).args(packages))?;
    }
    match &options.hoheit {
        Some(binary) => binary.canonicalize().with_context(|| format!("no such file: {}", binary.display())),
        None => Ok(root::target().join("release/hoheit")),
    }
}

impl Bench<'_> {
    fn run(&self) -> Result<Found> {
        let mut found = Found::default();
        if !self.options.whole().is_empty() {
            found.bodies = whole::measure(self, &self.options.whole())?;
        }
        if !self.options.streams.is_empty() {
            found.streams = streams::measure(self, &self.options.streams)?;
        }
        if !self.options.replicas.is_empty() {
            found.fleets = replicas::measure(self, &self.options.replicas)?;
        }
        Ok(found)
    }

    /// A folder of this run.
    fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        Ok(folder)
    }

    /// The ones to measure, in one order for all suites: each round goes through them.
    fn peers(&self, folder: &Path, backend: std::net::SocketAddr) -> Result<Vec<Peer>> {
        let mut peers = Vec::new();
        if self.options.wants("direct") {
            peers.push(Peer::direct(backend));
        }
        if self.options.wants("nginx") {
            peers.push(nginx::proxy(folder, backend)?);
        }
        if self.options.wants("hoheit") {
            let site = self.site(folder, &[])?;
            let key = site.customer()?.key;
            site.engines("bench", &[backend])?;
            peers.push(Peer::hoheit(site, key));
        }
        for router in routers::ROUTERS.iter().filter(|router| self.options.peers && self.options.wants(router.name)) {
            peers.push(router.start(folder, &[backend])?);
        }
        Ok(peers)
    }

    /// On core 1, in a folder that may hold a site already.
    fn site(&self, folder: &Path, more: &[String]) -> Result<Site> {
        Site::start(folder, on_core(1, &self.hoheit), &self.hoheit, more)
    }

    fn say_round(&self, round: u32, what: &str, peer: &str) {
        screen::step(&format!("{what}, round {round} of {}: {peer}", self.options.rounds));
    }
}

/// True if there are two cores to pin to.
fn pinned() -> bool {
    std::thread::available_parallelism().is_ok_and(|cores| cores.get() >= 2)
}

/// The program on this core only, where there are two.
fn on_core(core: u32, program: &Path) -> std::process::Command {
    match pinned() {
        false => std::process::Command::new(program),
        true => {
            let mut command = std::process::Command::new("taskset");
            command.args(["--cpu-list", &core.to_string()]).arg(program);
            command
        }
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// The smallest; none for what has no gateway.
fn least(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    values.flatten().min_by(f64::total_cmp)
}
