//! nginx: as an engine with a static answer, and as a proxy, the floor that a gateway is measured against.

use super::peer::{Backend, Peer, START_PATIENCE};
use super::{ask, on_core};
use crate::http;
use crate::process::{self, Server};
use anyhow::{Context, Result};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

/// A static answer, on the core of the load.
pub fn backend(folder: &Path) -> Result<Backend> {
    backend_at(folder, &[free_address()?])
}

/// The same on each of these ports: as many replicas.
pub fn backend_at(folder: &Path, addresses: &[SocketAddr]) -> Result<Backend> {
    let location = format!("default_type application/json; return 200 '{}';", ask::answer());
    let server = start(folder, "backend", 0, addresses, "", &location)?;
    Ok(Backend { address: *addresses.first().context("no address to listen on")?, _server: server })
}

/// A proxy with kept connections. It passes each chunk on as it comes, and writes no body to disk.
pub fn proxy(folder: &Path, backend: SocketAddr) -> Result<Peer> {
    let address = free_address()?;
    let upstream = format!("upstream engine {{ server {backend}; keepalive 512; keepalive_requests 1000000000; }}");
    let location = "proxy_pass http://engine; proxy_http_version 1.1; proxy_set_header Connection \"\"; \
                    proxy_buffering off;";
    let server = start(folder, "nginx", 1, &[address], &upstream, location)?;
    Ok(Peer::open("nginx", address, server))
}

fn free_address() -> Result<SocketAddr> {
    Ok(format!("127.0.0.1:{}", http::free_port()?).parse()?)
}

fn start(
    folder: &Path,
    name: &str,
    core: u32,
    addresses: &[SocketAddr],
    upstream: &str,
    location: &str,
) -> Result<Server> {
    let folder = folder.join(name);
    fs::create_dir_all(&folder)?;
    // Workers drop root; they write nothing that matters, but nginx insists on its folders.
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("  {kind}_temp_path {kind};\n"))
        .collect();
    let listen: String = addresses.iter().map(|address| format!("    listen {address};\n")).collect();
    // A listening socket takes one of the connections; each replica may be kept one by each lane of a gateway.
    let connections = 2_048 + 4 * addresses.len();
    let configuration = format!(
        "daemon off;\nworker_processes 1;\nworker_rlimit_nofile {files};\npid nginx.pid;\nerror_log stderr warn;\n\
         events {{ worker_connections {connections}; }}\n\
         http {{\n  access_log off;\n  keepalive_timeout 600;\n  keepalive_requests 1000000000;\n  \
         client_body_buffer_size 256k;\n{temporary}  {upstream}\n  \
         server {{\n{listen}    location / {{ {location} }}\n  }}\n}}\n",
        files = connections + 256,
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, configuration)?;
    let mut command = on_core(core, &process::found("nginx").context("nginx is missing")?);
    command.arg("-p").arg(&folder).arg("-c").arg(&file).args(["-e", "stderr"]);
    let mut server = Server::start(command, &folder.join("log"))?;
    let ready = || addresses.last().is_some_and(|address| std::net::TcpStream::connect(address).is_ok());
    server.wait_until(START_PATIENCE, ready).with_context(|| format!("nginx as {name}"))?;
    Ok(server)
}
