//! Hoheit as a customer would have it: a key with limits and a budget, a project with a country, rules, a price.

use super::on_core;
use super::peer::{Peer, START_PATIENCE};
use crate::http;
use crate::process::{self, Server};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A running `hoheit up`.
pub struct Site {
    pub address: SocketAddr,
    binary: PathBuf,
    data: PathBuf,
    server: Server,
}

impl Site {
    /// On core 1, in a folder that may hold a site already.
    pub fn start(folder: &Path, binary: &Path, more: &[String]) -> Result<Site> {
        let data = folder.join("site");
        let address: SocketAddr = format!("127.0.0.1:{}", http::free_port()?).parse()?;
        let mut up = on_core(1, binary);
        up.args(["up", "--no-model", "--listen", &address.to_string(), "--data"]).arg(&data).args(more);
        let mut server = Server::start(up, &folder.join("hoheit.log"))?;
        let ready = || http::get(address, "/readyz").is_ok_and(|(status, _)| status == 200);
        server.wait_until(START_PATIENCE, ready).context("hoheit up")?;
        Ok(Site { address, binary: binary.to_owned(), data, server })
    }

    fn make(&self, arguments: &[&str]) -> Result<Value> {
        let mut hoheit = Command::new(&self.binary);
        hoheit.args(arguments).arg("--json").env("HOHEIT_URL", format!("http://{}", self.address));
        hoheit.env("HOHEIT_DATA", &self.data).env_remove("HOHEIT_TOKEN");
        Ok(serde_json::from_str(&process::output(&mut hoheit)?)?)
    }

    /// A tenant, a project and a key; answers the key's secret.
    pub fn key(&self) -> Result<String> {
        let budget = ["--budget-eur", "100000"];
        let tenant = text(&self.make(&["tenant", "create", "bench"])?["id"])?;
        let project = ["project", "create", "bench", "--tenant", &tenant, "--class", "internal", "--country", "DE"];
        let project = text(&self.make(&[&project[..], &budget].concat())?["id"])?;
        let key = ["key", "create", "--project", &project, "--rpm", "4000000000", "--tpm", "4000000000000"];
        text(&self.make(&[&key[..], &budget].concat())?["key"])
    }

    /// Replicas of one model, over the control API: a process for each would take longer than the measurement.
    pub fn engines(&self, replicas: &[SocketAddr]) -> Result<()> {
        let token = std::fs::read_to_string(self.data.join("admin-token")).context("the admin token")?;
        for (number, replica) in replicas.iter().enumerate() {
            if number > 0 && number.is_multiple_of(250) {
                crate::screen::step(&format!("{number} of {} engines registered", replicas.len()));
            }
            // The long body is bound by its bytes: 48 k of them are more than the default's 32 k tokens.
            let engine = json!({
                "url": format!("http://{replica}"), "model": "bench", "country": "DE", "operator": "bench",
                "provider": "bench", "jurisdiction": "DE", "retention": "none", "context_length": 131_072,
            });
            let (status, body) = http::post(self.address, "/api/v1/engines", token.trim(), &engine.to_string())?;
            ensure!(status == 201, "engine {number} was not registered: {status} {body}");
        }
        Ok(())
    }

    pub fn peer(self, key: String) -> Peer {
        Peer { name: "hoheit", address: self.address, key, receipts: true, server: Some(self.server) }
    }
}

fn text(value: &Value) -> Result<String> {
    value.as_str().map(str::to_owned).context("the answer has no such field")
}

/// With one engine and everything on.
pub fn hoheit(folder: &Path, binary: &Path, backend: SocketAddr) -> Result<Peer> {
    let site = Site::start(folder, binary, &[])?;
    let key = site.key()?;
    site.engines(&[backend])?;
    Ok(site.peer(key))
}
