//! The load: wrk from Debian, with a script that sends our request and prints what it measured as one line of JSON.

use super::ask::{self, Body};
use super::peer::Peer;
use super::{cpu, on_core};
use crate::process;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub const CONNECTIONS: u32 = 32;

/// One measured round of one peer.
pub struct Round {
    pub requests: u64,
    /// Answers other than 200, and socket errors.
    pub bad: u64,
    pub requests_per_second: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// CPU µs per request while the load ran.
    pub cpu_us: Option<f64>,
    /// And with what was done after it.
    pub cpu_us_settled: Option<f64>,
}

/// Writes wrk's script. Lua's long brackets take the body as it is.
fn script(folder: &Path, peer: &Peer, body: Body) -> Result<PathBuf> {
    let path = folder.join(format!("{}-{}.lua", peer.name, body.name()));
    let text = format!(
        r#"wrk.method = "POST"
wrk.path = "/v1/chat/completions"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer {key}"
wrk.body = [==[{body}]==]
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('{{"requests":%d,"duration_us":%d,"bad":%d,"p50_us":%d,"p99_us":%d}}\n',
    summary.requests, summary.duration, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"#,
        key = peer.key,
        body = ask::request(body),
    );
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}

/// Puts load on a peer for this long.
pub fn run(folder: &Path, peer: &Peer, body: Body, duration: Duration) -> Result<Round> {
    let mut wrk = on_core(0, &process::found("wrk").context("wrk is missing")?);
    wrk.args(["--threads", "1", "--connections", &CONNECTIONS.to_string(), "--timeout", "10s"])
        .arg(format!("--duration={}s", duration.as_secs()))
        .arg("--script")
        .arg(script(folder, peer, body)?)
        .arg(format!("http://{}", peer.address));
    let before = peer.process().map(cpu::settled_us).transpose()?;
    let text = process::output(&mut wrk)?;
    let after = peer.process().map(cpu::tree_us).transpose()?;
    let settled = peer.process().map(cpu::settled_us).transpose()?;
    let line = text.lines().rfind(|line| line.starts_with('{')).context("wrk printed no result")?;
    let result: Value = serde_json::from_str(line)?;
    let field = |name: &str| result[name].as_u64().with_context(|| format!("wrk printed no {name}"));
    let requests = field("requests")?;
    ensure!(requests > 0, "{} answered nothing:\n{text}", peer.name);
    let per_request = |end: Option<u64>| Some((end? - before?) as f64 / requests as f64);
    Ok(Round {
        requests,
        bad: field("bad")?,
        requests_per_second: requests as f64 * 1e6 / field("duration_us")? as f64,
        p50_ms: field("p50_us")? as f64 / 1e3,
        p99_ms: field("p99_us")? as f64 / 1e3,
        cpu_us: per_request(after),
        cpu_us_settled: per_request(settled),
    })
}

/// One request by hand first: a gateway that refuses is very fast.
pub fn check(peer: &Peer, body: Body) -> Result<()> {
    use std::io::{Read, Write};
    let body = ask::request(body);
    let mut socket = std::net::TcpStream::connect(peer.address)?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(
        socket,
        "POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        peer.key,
        body.len()
    )?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    if !answer.starts_with("HTTP/1.1 200") || !answer.contains("chatcmpl-bench") {
        bail!("it answered:\n{answer}");
    }
    ensure!(!peer.receipts || answer.to_ascii_lowercase().contains("hoheit-receipt: rcp_"), "no receipt:\n{answer}");
    Ok(())
}
