//! Streams: `twin-pace` sends 64 tokens at 10 ms, each with the time at which it was sent, and holds N streams through each
//! peer. CPU is per token, the request and the end of the answer included; a token's delay is its arrival minus its time.

use super::peer::{Backend, Peer, START_PATIENCE};
use super::{Bench, ask, cpu, least, median, on_core};
use crate::http;
use crate::process::Server;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// One measured round of one peer.
pub struct Round {
    pub tokens_per_second: f64,
    pub delay_p50_ms: f64,
    pub delay_p99_ms: f64,
    pub first_p50_ms: f64,
    pub cpu_us: Option<f64>,
    /// Cores that it kept busy.
    pub cores: Option<f64>,
}

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

pub fn measure(bench: &Bench<'_>, counts: &[u32]) -> Result<Vec<(u32, Vec<Row>)>> {
    let folder = bench.folder("streams")?;
    std::fs::write(folder.join("request.json"), ask::stream_request())?;
    let engine = engine(&folder, &bench.pace)?;
    let peers = bench.peers(&folder, engine.address)?;
    let mut found: Vec<(u32, Vec<Row>)> = counts
        .iter()
        .map(|count| (*count, peers.iter().map(|peer| Row { name: peer.name, rounds: Vec::new() }).collect()))
        .collect();
    for round in 1..=bench.options.rounds {
        for (count, rows) in &mut found {
            for (peer, row) in peers.iter().zip(rows) {
                bench.say_round(round, &format!("{count} streams"), peer.name);
                let measured = hold(bench, &folder, peer, *count);
                row.rounds.push(measured.with_context(|| format!("{count} streams through {}", peer.name))?);
            }
        }
    }
    Ok(found)
}

/// The paced engine, on the core of the load.
fn engine(folder: &Path, pace: &Path) -> Result<Backend> {
    let address: SocketAddr = format!("127.0.0.1:{}", http::free_port()?).parse()?;
    let mut command = on_core(0, pace);
    command.args(["engine", "--listen", &address.to_string()]);
    let mut server = Server::start(command, &folder.join("engine.log"))?;
    let ready = || std::net::TcpStream::connect(address).is_ok();
    server.wait_until(START_PATIENCE, ready).context("the paced engine")?;
    Ok(Backend { address, _server: server })
}

/// Two seconds of warm-up, then the measured ones. The gateway's CPU is read at the two moments that the client names.
fn hold(bench: &Bench<'_>, folder: &Path, peer: &Peer, streams: u32) -> Result<Round> {
    let measured = Duration::from_secs(bench.options.seconds);
    let mut client = on_core(0, &bench.pace);
    client.args(["client", "--address", &peer.address.to_string(), "--key", &peer.key]);
    client.arg("--body").arg(folder.join("request.json"));
    client.args(["--streams", &streams.to_string(), "--measured-ms", &measured.as_millis().to_string()]);
    let mut child = client.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("start the client")?;
    let cpu_now = || peer.process().map(cpu::tree_us).transpose();
    let (mut begin, mut result) = (None, None);
    for line in BufReader::new(child.stdout.take().context("the client has no output")?).lines() {
        let line = line?;
        match line.as_str() {
            "begin" => begin = cpu_now()?,
            line => result = Some((cpu_now()?, serde_json::from_str::<Value>(line)?)),
        }
    }
    let status = child.wait()?;
    let Some((end, result)) = result.filter(|_| status.success()) else { bail!("the client ended with {status}") };
    let number = |name: &str| result[name].as_f64().with_context(|| format!("the client printed no {name}"));
    ensure!(result["bad"] == 0, "{} streams went wrong, one of them: {}", result["bad"], result["complaint"]);
    let tokens = number("tokens")?;
    ensure!(tokens > 0.0, "no token arrived");
    let spent = begin.zip(end).map(|(begin, end)| (end - begin) as f64);
    Ok(Round {
        tokens_per_second: number("tokens_per_second")?,
        delay_p50_ms: number("delay_p50_ms")?,
        delay_p99_ms: number("delay_p99_ms")?,
        first_p50_ms: number("first_p50_ms")?,
        cpu_us: spent.map(|spent| spent / tokens),
        cores: spent.map(|spent| spent / measured.as_micros() as f64),
    })
}
