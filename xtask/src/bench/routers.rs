//! The routers that we are compared with, from PyPI, each in an environment of its own (one overwrites another's command),
//! on loopback (their default is every address), with its own port for Prometheus. Round robin: their cheapest policy.
//!
//! A router is measured only when it says that it knows every worker: one that routes to half of them is not the same job.

use super::on_core;
use super::peer::Peer;
use crate::process::Server;
use crate::{http, prerequisites, root};
use anyhow::{Context, Result};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// A router on PyPI.
pub struct Router {
    pub name: &'static str,
    version: &'static str,
    /// Words before the options.
    words: &'static [&'static str],
    level: &'static str,
    /// More workers than this it did not register in our measurements.
    pub workers_max: usize,
}

pub const ROUTERS: [Router; 2] = [
    Router { name: "vllm-router", version: "0.1.17", words: &[], level: "warning", workers_max: 2_000 },
    Router { name: "sglang-router", version: "0.3.2", words: &["launch"], level: "warn", workers_max: 256 },
];

/// Registering a worker asks it for its health and its models: a few milliseconds for each.
const REGISTER_PATIENCE: Duration = Duration::from_secs(120);

impl Router {
    /// Installs it, once.
    pub fn install(&self) -> Result<()> {
        prerequisites::package(self.name, self.version)
    }

    pub fn start(&self, folder: &Path, workers: &[SocketAddr]) -> Result<Peer> {
        let address: SocketAddr = format!("127.0.0.1:{}", http::free_port()?).parse()?;
        let mut command = on_core(1, &root::tools().join(self.name).join("bin").join(self.name));
        command.args(self.words).args(["--host", "127.0.0.1", "--port", &address.port().to_string()]);
        command.arg("--worker-urls").args(workers.iter().map(|worker| format!("http://{worker}")));
        command.args(["--policy", "round_robin", "--log-level", self.level, "--prometheus-host", "127.0.0.1"]);
        command.args(["--prometheus-port", &http::free_port()?.to_string()]);
        let mut server = Server::start(command, &folder.join(format!("{}-{}.log", self.name, workers.len())))?;
        let knows_all = || workers_of(address).is_some_and(|known| known == workers.len() as u64);
        let waited = server.wait_until(REGISTER_PATIENCE, knows_all);
        waited.with_context(|| format!("{} does not know all of its {} workers", self.name, workers.len()))?;
        Ok(Peer::open(self.name, address, server))
    }
}

/// How many healthy workers it says it has.
fn workers_of(address: SocketAddr) -> Option<u64> {
    let (_, body) = http::get(address, "/workers").ok().filter(|(status, _)| *status == 200)?;
    let workers = serde_json::from_str::<Value>(&body).ok()?["workers"].as_array()?.clone();
    Some(workers.iter().filter(|worker| worker["is_healthy"] == true).count() as u64)
}
