//! Whole answers: 32 kept connections in a closed loop, a body at a time, all peers in turn.

use super::ask::Body;
use super::load::{self, Round};
use super::peer::Peer;
use super::{Bench, least, median, nginx};
use anyhow::{Context, Result, ensure};
use std::time::Duration;

/// What came out for one peer.
pub struct Row {
    pub name: &'static str,
    pub rounds: Vec<Round>,
}

impl Row {
    pub fn median(&self, of: impl Fn(&Round) -> f64) -> f64 {
        median(self.rounds.iter().map(of))
    }

    pub fn least(&self, of: impl Fn(&Round) -> Option<f64>) -> Option<f64> {
        least(self.rounds.iter().map(of))
    }
}

pub fn measure(bench: &Bench<'_>, bodies: &[Body]) -> Result<Vec<(Body, Vec<Row>)>> {
    let folder = bench.folder("whole")?;
    let backend = nginx::backend(&folder)?;
    let peers = bench.peers(&folder, backend.address)?;
    bodies.iter().map(|body| Ok((*body, rounds(bench, &folder, &peers, *body)?))).collect()
}

fn rounds(bench: &Bench<'_>, folder: &std::path::Path, peers: &[Peer], body: Body) -> Result<Vec<Row>> {
    for peer in peers {
        load::check(peer, body).with_context(|| format!("{} does not answer as it should", peer.name))?;
    }
    let mut rows: Vec<Row> = peers.iter().map(|peer| Row { name: peer.name, rounds: Vec::new() }).collect();
    for round in 1..=bench.options.rounds {
        for (peer, row) in peers.iter().zip(&mut rows) {
            bench.say_round(round, body.name(), peer.name);
            row.rounds.push(one(folder, peer, body, bench.options.seconds)?);
        }
    }
    Ok(rows)
}

/// One round of one peer; 2 s of warm-up fill connections, caches and the allocator.
pub fn one(folder: &std::path::Path, peer: &Peer, body: Body, seconds: u64) -> Result<Round> {
    load::run(folder, peer, body, Duration::from_secs(2))?;
    let measured = load::run(folder, peer, body, Duration::from_secs(seconds))?;
    ensure!(measured.bad == 0, "{} answered {} of {} requests badly", peer.name, measured.bad, measured.requests);
    Ok(measured)
}
