//! `cargo xtask soak`: the release build under mixed load for an hour. Customers ask for whole answers and streams, leave in
//! the middle, read slowly, send long prompts and what is refused; engines are killed and come back.
//!
//! It fails unless, at the end, memory, files and threads were flat, every receipt that an answer named is in the export, receipts say of tokens
//! what the answers said, nothing is open, the chains verify offline and the server ends by itself. It is not a benchmark:
//! customers pause between requests, so that an hour is an hour of everything and not of the fastest path.

mod audit;
mod customer;
mod engines;
mod watch;

use crate::site::Site;
use crate::{process, root, screen};
use anyhow::{Context, Result, ensure};
use clap::Args;
use customer::{Customer, Tally};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[derive(Args)]
pub struct Options {
    /// How long the load lasts.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=10_080))]
    minutes: u64,
    /// Connections that ask at once.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    customers: u64,
    /// Milliseconds that a customer waits between two requests.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u64).range(0..=60_000))]
    pause: u64,
    /// Seconds between two kills of an engine.
    #[arg(long, default_value_t = 45, value_parser = clap::value_parser!(u64).range(5..=3_600))]
    restart: u64,
    /// Soak the programs of this folder (hoheit, hoheit-verify, twin-engine) instead of building them in release mode.
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Where the programs lie.
struct Programs(PathBuf);

impl Programs {
    fn of(options: &Options) -> Result<Programs> {
        if let Some(folder) = &options.programs {
            return Ok(Programs(
                folder.canonicalize().with_context(|| format!("no such folder: {}", folder.display()))?,
            ));
        }
        screen::step("building in release mode (the first time takes several minutes)");
        let packages = ["--package", "hoheit", "--package", "verify", "--package", "twin"];
        process::run(process::cargo().args(["build", "--release", "--bins"]).args(packages))?;
        Ok(Programs(root::target().join("release")))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

pub fn run(options: &Options) -> Result<()> {
    let programs = Programs::of(options)?;
    let folder = root::target().join(format!("soak/{}", std::process::id()));
    std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let result = soak(options, &programs, &folder);
    match &result {
        // An hour's journal, database and export are gigabytes; the samples are small and stay.
        Ok(()) => {
            drop(std::fs::remove_dir_all(folder.join("site")).and(std::fs::remove_dir_all(folder.join("export"))))
        }
        Err(_) => screen::step(&format!("what it left: {}", folder.display())),
    }
    result
}

fn soak(options: &Options, programs: &Programs, folder: &Path) -> Result<()> {
    let mut fleet = engines::Fleet::start(&programs.path("twin-engine"), folder)?;
    let hoheit = programs.path("hoheit");
    let site = Site::start(folder, Command::new(&hoheit), &hoheit, &[])?;
    let customer = site.customer()?;
    for (model, addresses) in fleet.models() {
        site.engines(model, &addresses)?;
    }
    screen::step(&format!("soaking for {} minutes; samples in {}", options.minutes, folder.display()));
    let over = Arc::new(AtomicBool::new(false));
    let customers: Vec<_> = (0..options.customers)
        .map(|number| {
            let pause = Duration::from_millis(options.pause);
            let customer = Customer::new(number, site.address, customer.key.clone(), pause);
            let over = over.clone();
            std::thread::spawn(move || customer.ask_until(&over))
        })
        .collect();
    let load = Duration::from_secs(options.minutes * 60);
    let watched = watch::over(&site, &mut fleet, folder, load, Duration::from_secs(options.restart));
    // Customers end before anything is said, so that a failure leaves no thread behind.
    over.store(true, Ordering::Relaxed);
    let mut tally = Tally::default();
    for asked in customers {
        tally.add(asked.join().map_err(|_| anyhow::anyhow!("a customer panicked"))?);
    }
    let watched = watched?;
    screen::step(&format!("{} requests; waiting until all is shipped, then exporting and verifying", tally.asked()));
    watch::settled(&site)?;
    let begin = Instant::now();
    let audited = audit::audit(&site, &programs.path("hoheit-verify"), &customer.tenant, folder, &tally)?;
    let audit_seconds = begin.elapsed().as_secs();
    ensure!(site.server.stop()?.success(), "the server did not end well");
    let flat = watched.memory();
    let found = json!({
        "minutes": options.minutes, "requests": tally.asked(), "by_kind": tally.kinds(), "engine_kills": watched.kills,
        "receipts": audited.receipts, "outcomes": audited.outcomes, "named_by_answers": tally.named.len(),
        "tokens_compared": audited.compared, "audit_seconds": audit_seconds, "memory": flat.document(),
        "threads": watched.ends(|sample| sample.threads), "files_open": watched.ends(|sample| sample.files),
        "cpu_seconds": watched.cpu_seconds(),
    });
    match options.json {
        true => println!("{found}"),
        false => println!("{}", serde_json::to_string_pretty(&found)?),
    }
    watched.check()?;
    flat.check()
}
