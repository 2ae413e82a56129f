//! The engines: three good ones, one that breaks its streams, one that lies about usage. One of the good ones is killed with
//! SIGKILL from time to time, in the middle of what it answers, and comes back at its address.

use crate::http;
use crate::process::Server;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const START_PATIENCE: Duration = Duration::from_secs(10);

/// Served by the good ones.
pub const MODEL: &str = "soak";
/// Breaks each stream after a few events.
pub const BREAKS: &str = "soak-breaks";
/// Says a hundred times what it produced.
pub const LIES: &str = "soak-lies";

const KINDS: [(&str, &str); 5] = [
    (MODEL, "tokens=40 pace=5"),
    (MODEL, "tokens=24 per-event=2 pace=2"),
    (MODEL, "tokens=32 crlf comments split=64"),
    (BREAKS, "tokens=32 end=die-after:4"),
    (LIES, "tokens=16 usage=too-large"),
];
/// How many of them are killed in turn.
const KILLED: usize = 3;

struct Engine {
    address: SocketAddr,
    server: Option<Server>,
}

pub struct Fleet {
    program: PathBuf,
    folder: PathBuf,
    engines: Vec<Engine>,
    kills: usize,
}

impl Fleet {
    pub fn start(program: &Path, folder: &Path) -> Result<Fleet> {
        let mut fleet = Fleet { program: program.to_owned(), folder: folder.to_owned(), engines: Vec::new(), kills: 0 };
        for number in 0..KINDS.len() {
            let address: SocketAddr = format!("127.0.0.1:{}", http::free_port()?).parse()?;
            let server = Some(fleet.engine(number, address)?);
            fleet.engines.push(Engine { address, server });
        }
        Ok(fleet)
    }

    fn engine(&self, number: usize, address: SocketAddr) -> Result<Server> {
        let (model, behaviour) = KINDS[number];
        let mut command = Command::new(&self.program);
        command.args(["--listen", &address.to_string(), "--model", model, "--behaviour", behaviour]);
        let mut server = Server::start(command, &self.folder.join(format!("engine-{number}.log")))?;
        server.wait_until(START_PATIENCE, || TcpStream::connect(address).is_ok()).context("an engine")?;
        Ok(server)
    }

    /// Which models are served where.
    pub fn models(&self) -> BTreeMap<&'static str, Vec<SocketAddr>> {
        let mut models: BTreeMap<&str, Vec<SocketAddr>> = BTreeMap::new();
        for (engine, (model, _)) in self.engines.iter().zip(KINDS) {
            models.entry(model).or_default().push(engine.address);
        }
        models
    }

    /// Kills the next one.
    pub fn kill_one(&mut self) -> Result<()> {
        let number = self.kills % KILLED;
        self.kills += 1;
        match self.engines[number].server.take() {
            Some(server) => server.kill(),
            None => Ok(()),
        }
    }

    /// Brings back whatever was killed.
    pub fn bring_back(&mut self) -> Result<()> {
        for number in 0..KILLED {
            if self.engines[number].server.is_none() {
                let server = self.engine(number, self.engines[number].address)?;
                self.engines[number].server = Some(server);
            }
        }
        Ok(())
    }

    pub fn kills(&self) -> usize {
        self.kills
    }
}
