//! `cargo xtask bench gateway`: what a gateway costs, measured as `reference/gateways.md` does, so that the figures can
//! be laid beside each other.
//!
//! One static backend (nginx) and the load (wrk) share core 0, the gateway has core 1. 32 keep-alive connections in a
//! closed loop, a request of 0.65 kB, an answer of 0.42 kB. Peers take turns, round by round. CPU is user and system
//! time of the gateway's whole process tree; the smallest of the rounds counts, because a neighbour only ever adds.
//! Requests per second and delays are medians of the rounds, and lower bounds.
//!
//! Hoheit runs with everything on: key, policy, limits, budget, a journal with fsync before the answer, a receipt for
//! each request, shipped and sealed. What it still does when the load has stopped is counted too and shown apart.

mod cpu;
mod load;
mod peers;

use crate::{prerequisites, process, root, screen};
use anyhow::{Context, Result, ensure};
use clap::Args;
use load::Round;
use peers::Peer;
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Args)]
pub struct Options {
    /// Print one JSON document to standard output instead of a table.
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
}

/// What came out for one peer.
struct Row {
    name: &'static str,
    rounds: Vec<Round>,
}

impl Row {
    fn median(&self, of: impl Fn(&Round) -> f64) -> f64 {
        let mut values: Vec<f64> = self.rounds.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(0.0)
    }

    /// The smallest of the rounds; none for the row that has no gateway.
    fn least(&self, of: impl Fn(&Round) -> Option<f64>) -> Option<f64> {
        self.rounds.iter().filter_map(of).min_by(f64::total_cmp)
    }
}

pub fn gateway(options: &Options) -> Result<()> {
    prerequisites::debian(&[
        prerequisites::Needed::of("nginx", "nginx-light"),
        prerequisites::Needed::of("wrk", "wrk"),
        prerequisites::Needed::of("taskset", "util-linux"),
    ])?;
    let hoheit = match &options.hoheit {
        Some(binary) => binary.canonicalize().with_context(|| format!("no such file: {}", binary.display()))?,
        None => {
            screen::step("building hoheit in release mode (the first time takes several minutes)");
            process::run(process::cargo().args(["build", "--release", "--package", "hoheit"]))?;
            root::target().join("release/hoheit")
        }
    };
    let folder = root::target().join(format!("bench/{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let rows = measure(options, &hoheit, &folder);
    // A run's folder holds a journal of many megabytes; what is worth keeping was printed.
    let _removed = std::fs::remove_dir_all(&folder);
    let rows = rows?;
    match options.json {
        true => println!("{}", document(options, &rows)),
        false => table(&rows),
    }
    Ok(())
}

fn measure(options: &Options, hoheit: &std::path::Path, folder: &std::path::Path) -> Result<Vec<Row>> {
    let backend = peers::backend(folder)?;
    let gateways: [Peer; 3] =
        [Peer::direct(&backend), peers::nginx(folder, &backend)?, peers::hoheit(folder, hoheit, &backend)?];
    for peer in &gateways {
        load::check(folder, peer).with_context(|| format!("{} does not answer as it should", peer.name))?;
    }
    let mut rows: Vec<Row> = gateways.iter().map(|peer| Row { name: peer.name, rounds: Vec::new() }).collect();
    for round in 1..=options.rounds {
        for (peer, row) in gateways.iter().zip(&mut rows) {
            screen::step(&format!("round {round} of {}: {}", options.rounds, peer.name));
            // 2 s of warm-up fill connections, caches and the allocator.
            load::run(folder, peer, Duration::from_secs(2))?;
            let measured = load::run(folder, peer, Duration::from_secs(options.seconds))?;
            ensure!(
                measured.bad == 0,
                "{} answered {} of {} requests badly",
                peer.name,
                measured.bad,
                measured.requests
            );
            row.rounds.push(measured);
        }
    }
    Ok(rows)
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

fn document(options: &Options, rows: &[Row]) -> String {
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            json!({
                "name": row.name,
                // Nothing stands in the way of `direct`, and nothing is what it costs.
                "cpu_us_per_request": rounded(row.least(|round| round.cpu_us).unwrap_or_default()),
                "cpu_us_per_request_settled": rounded(row.least(|round| round.cpu_us_settled).unwrap_or_default()),
                "requests_per_second": row.median(|round| round.requests_per_second).round(),
                "p50_ms": rounded(row.median(|round| round.p50_ms)),
                "p99_ms": rounded(row.median(|round| round.p99_ms)),
            })
        })
        .collect();
    json!({
        "rows": rows,
        "connections": load::CONNECTIONS,
        "seconds": options.seconds,
        "rounds": options.rounds,
        "request_bytes": peers::request().len(),
        "answer_bytes": peers::answer().len(),
        "pinned": peers::pinned(),
    })
    .to_string()
}

fn table(rows: &[Row]) {
    println!("| gateway | CPU µs/request | and settled | requests/s | p50 ms | p99 ms |");
    println!("|---|---|---|---|---|---|");
    for row in rows {
        let cpu = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.1}"));
        println!(
            "| {} | {} | {} | {:.0} | {:.3} | {:.2} |",
            row.name,
            cpu(row.least(|round| round.cpu_us)),
            cpu(row.least(|round| round.cpu_us_settled)),
            row.median(|round| round.requests_per_second),
            row.median(|round| round.p50_ms),
            row.median(|round| round.p99_ms),
        );
    }
    println!(
        "\n{} connections, CPU is the smallest of the rounds, the rest medians. \"Settled\" adds what Hoheit does after",
        load::CONNECTIONS
    );
    println!("the load has stopped: receipts shipped to the store and sealed in the log.");
}
