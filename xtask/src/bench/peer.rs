//! Something that takes the load, and what can stand behind it.

use crate::process::Server;
use crate::site::Site;
use std::net::SocketAddr;
use std::time::Duration;

pub const START_PATIENCE: Duration = Duration::from_secs(30);

/// Its server ends with it.
pub struct Peer {
    pub name: &'static str,
    pub address: SocketAddr,
    pub key: String,
    /// Each answer must name a receipt.
    pub receipts: bool,
    pub server: Option<Server>,
}

impl Peer {
    /// Nothing between load and backend: what the machine itself can do.
    pub fn direct(backend: SocketAddr) -> Peer {
        Peer { name: "direct", address: backend, key: "none".into(), receipts: false, server: None }
    }

    /// A gateway that asks for no key.
    pub fn open(name: &'static str, address: SocketAddr, server: Server) -> Peer {
        Peer { name, address, key: "none".into(), receipts: false, server: Some(server) }
    }

    /// Hoheit with this key.
    pub fn hoheit(site: Site, key: String) -> Peer {
        Peer { name: "hoheit", address: site.address, key, receipts: true, server: Some(site.server) }
    }

    /// The process whose CPU counts.
    pub fn process(&self) -> Option<u32> {
        self.server.as_ref().map(Server::id)
    }
}

/// An engine that answers.
pub struct Backend {
    pub address: SocketAddr,
    pub _server: Server,
}
