//! What the size of a fleet costs: N replicas of one model, each a port of one static nginx, a site for each N, and each
//! way of choosing that `hoheit up` offers. The question is one number: how much is left of what one replica gives.

use super::ask::Body;
use super::peer::Peer;
use super::routers::ROUTERS;
use super::whole::{self, Row};
use super::{Bench, load, nginx};
use crate::{process, screen};
use anyhow::{Context, Result};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

/// Where to look for free ports: below those that Linux gives to outgoing connections.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

/// One gateway with one strategy, at each number of replicas.
pub struct Fleet {
    pub gateway: &'static str,
    pub strategy: String,
    pub rows: Vec<(u32, Row)>,
}

pub fn measure(bench: &Bench<'_>, counts: &[u32]) -> Result<Vec<Fleet>> {
    let folder = bench.folder("replicas")?;
    let most = counts.iter().copied().max().unwrap_or(1) as usize;
    let addresses = free_addresses(most)?;
    let backend = nginx::backend_at(&folder, &addresses)?;
    let replicas = |count: &u32| &addresses[..*count as usize];
    let mut fleets = Vec::new();
    if bench.options.wants("hoheit") {
        // Registered once; each strategy starts the same folders again.
        let mut keys = Vec::new();
        for count in counts {
            let site = bench.site(&bench.folder(&format!("replicas/{count}"))?, &[])?;
            screen::step(&format!("registering {count} engines"));
            keys.push(site.customer()?.key);
            site.engines("bench", replicas(count))?;
        }
        for strategy in strategies(bench)? {
            let more: Vec<String> = match strategy.as_str() {
                "default" => Vec::new(),
                named => vec!["--routing".to_owned(), named.to_owned()],
            };
            let start = |(count, key): (&u32, &String)| -> Result<Peer> {
                let folder = bench.folder(&format!("replicas/{count}"))?;
                Ok(Peer::hoheit(bench.site(&folder, &more)?, key.clone()))
            };
            let peers = counts.iter().zip(&keys).map(start).collect::<Result<Vec<_>>>()?;
            fleets.push(fleet(bench, &folder, "hoheit", strategy, counts, &peers)?);
        }
    }
    for router in ROUTERS.iter().filter(|router| bench.options.peers && bench.options.wants(router.name)) {
        let counts: Vec<u32> = counts.iter().copied().filter(|count| *count as usize <= router.workers_max).collect();
        let mut started = Vec::new();
        for count in &counts {
            match router.start(&folder, replicas(count)) {
                Ok(peer) => started.push((*count, peer)),
                // Not measured, and said so: it is a finding about the peer, not a fault of this run.
                Err(error) => screen::step(&format!("not measured: {error:#}")),
            }
        }
        let (counts, peers): (Vec<u32>, Vec<Peer>) = started.into_iter().unzip();
        fleets.push(fleet(bench, &folder, router.name, "round_robin".to_owned(), &counts, &peers)?);
    }
    drop(backend);
    Ok(fleets)
}

fn fleet(
    bench: &Bench<'_>,
    folder: &Path,
    gateway: &'static str,
    strategy: String,
    counts: &[u32],
    peers: &[Peer],
) -> Result<Fleet> {
    let mut rows: Vec<(u32, Row)> =
        counts.iter().map(|count| (*count, Row { name: gateway, rounds: Vec::new() })).collect();
    for peer in peers {
        load::check(peer, Body::Small).with_context(|| format!("{gateway}, {strategy}"))?;
    }
    for round in 1..=bench.options.rounds {
        for (peer, (count, row)) in peers.iter().zip(&mut rows) {
            bench.say_round(round, &format!("{count} replicas, {strategy}"), gateway);
            row.rounds.push(whole::one(folder, peer, Body::Small, bench.options.seconds)?);
        }
    }
    Ok(Fleet { gateway, strategy, rows })
}

/// Those that were asked for, or else all that this binary offers: `[possible values: …]` after `--routing` in its help.
fn strategies(bench: &Bench<'_>) -> Result<Vec<String>> {
    if !bench.options.strategy.is_empty() {
        return Ok(bench.options.strategy.clone());
    }
    let help = process::output(std::process::Command::new(&bench.hoheit).args(["up", "--help"]))?;
    Ok(offered(&help))
}

fn offered(help: &str) -> Vec<String> {
    let values = || {
        let option = help.split_once("--routing")?.1;
        // Up to the next option: its values may stand in a list or in one line.
        let option = option.split("\n      --").next()?;
        if let Some((_, line)) = option.split_once("[possible values: ") {
            return Some(line.split(']').next()?.split(',').map(|value| value.trim().to_owned()).collect());
        }
        let listed: Vec<String> = option
            .lines()
            .filter_map(|line| line.trim().strip_prefix("- ")?.split(':').next().map(str::to_owned))
            .collect();
        (!listed.is_empty()).then_some(listed)
    };
    values().unwrap_or_else(|| vec!["default".to_owned()])
}

/// Ports that are free now; nginx opens them a moment later.
fn free_addresses(count: usize) -> Result<Vec<SocketAddr>> {
    let free = PORTS.filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    let addresses: Vec<SocketAddr> = free.take(count).map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect();
    anyhow::ensure!(addresses.len() == count, "only {} of {count} ports are free", addresses.len());
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strategies_are_read_from_the_help() {
        assert_eq!(offered("      --model <PATH>\n"), ["default"]);
        let line = "      --routing <HOW>\n          How. [default: a] [possible values: prefix, least-loaded]\n";
        assert_eq!(offered(line), ["prefix", "least-loaded"]);
        let list = "      --routing <HOW>\n          Possible values:\n          - prefix: a: b\n          - load\n\n      --x\n          - y\n";
        assert_eq!(offered(list), ["prefix", "load"]);
    }
}
