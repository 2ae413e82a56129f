//! Hoheit as a customer would have it: a key with limits and a budget, a project with a country, rules, a price.

use crate::http;
use crate::process::{self, Server};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// For a start, which makes keys and a database.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// A running `hoheit up`.
pub struct Site {
    pub address: SocketAddr,
    binary: PathBuf,
    data: PathBuf,
    pub server: Server,
}

/// Who asks.
pub struct Customer {
    pub tenant: String,
    /// The secret.
    pub key: String,
}

impl Site {
    /// In a folder that may hold a site already. `up` is the program, pinned or not, before its first argument.
    pub fn start(folder: &Path, mut up: Command, binary: &Path, more: &[String]) -> Result<Site> {
        let data = folder.join("site");
        let address: SocketAddr = format!("127.0.0.1:{}", http::free_port()?).parse()?;
        up.args(["up", "--no-model", "--listen", &address.to_string(), "--data"]).arg(&data).args(more);
        let mut server = Server::start(up, &folder.join("hoheit.log"))?;
        let ready = || http::get(address, "/readyz").is_ok_and(|(status, _)| status == 200);
        server.wait_until(START_PATIENCE, ready).context("hoheit up")?;
        Ok(Site { address, binary: binary.to_owned(), data, server })
    }

    /// Runs one of `hoheit`'s commands against it.
    pub fn make(&self, arguments: &[&str]) -> Result<Value> {
        let mut hoheit = Command::new(&self.binary);
        hoheit.args(arguments).arg("--json").env("HOHEIT_URL", format!("http://{}", self.address));
        hoheit.env("HOHEIT_DATA", &self.data).env_remove("HOHEIT_TOKEN");
        Ok(serde_json::from_str(&process::output(&mut hoheit)?)?)
    }

    /// A tenant, a project and a key.
    pub fn customer(&self) -> Result<Customer> {
        let budget = ["--budget-eur", "100000"];
        let tenant = text(&self.make(&["tenant", "create", "bench"])?["id"])?;
        let project = ["project", "create", "bench", "--tenant", &tenant, "--class", "internal", "--country", "DE"];
        let project = text(&self.make(&[&project[..], &budget].concat())?["id"])?;
        let key = ["key", "create", "--project", &project, "--rpm", "4000000000", "--tpm", "4000000000000"];
        let key = text(&self.make(&[&key[..], &budget].concat())?["key"])?;
        Ok(Customer { tenant, key })
    }

    /// Replicas of one model, over the control API: a process for each would take longer than the measurement.
    pub fn engines(&self, model: &str, replicas: &[SocketAddr]) -> Result<()> {
        let token = std::fs::read_to_string(self.data.join("admin-token")).context("the admin token")?;
        for (number, replica) in replicas.iter().enumerate() {
            if number > 0 && number.is_multiple_of(250) {
                crate::screen::step(&format!("{number} of {} engines registered", replicas.len()));
            }
            // The long body is bound by its bytes: 48 k of them are more than the default's 32 k tokens.
            let engine = json!({
                "url": format!("http://{replica}"), "model": model, "country": "DE", "operator": "bench",
                "provider": "bench", "jurisdiction": "DE", "retention": "none", "context_length": 131_072,
            });
            let (status, body) = http::post(self.address, "/api/v1/engines", token.trim(), &engine.to_string())?;
            ensure!(status == 201, "engine {number} was not registered: {status} {body}");
        }
        Ok(())
    }
}

fn text(value: &Value) -> Result<String> {
    value.as_str().map(str::to_owned).context("the answer has no such field")
}
