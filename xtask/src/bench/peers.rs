//! What is measured: the static backend itself, nginx in front of it, and Hoheit in front of it with everything on.

use crate::{http, process};
use anyhow::{Context, Result};
use process::Server;
use serde_json::Value;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const START_PATIENCE: Duration = Duration::from_secs(30);

/// Something that takes the load. Its server ends with it.
pub struct Peer {
    pub name: &'static str,
    pub address: SocketAddr,
    pub key: String,
    /// Each answer must name a receipt.
    pub receipts: bool,
    server: Option<Server>,
}

impl Peer {
    pub fn direct(backend: &Backend) -> Peer {
        Peer { name: "direct", address: backend.address, key: "none".into(), receipts: false, server: None }
    }

    /// The process whose CPU counts.
    pub fn process(&self) -> Option<u32> {
        self.server.as_ref().map(Server::id)
    }
}

/// 0.65 kB: a shared system prompt and a short question.
pub fn request() -> String {
    let system = "You are the assistant of a company in Munich. Answer briefly, in the language of the question, and \
                  only from what you know. If you do not know, say so. Never invent names, numbers, dates or sources. \
                  Do not give legal advice; name the department that can. Keep personal data out of your answers. \
                  Write in full sentences, without headings and without lists, and stay under one hundred words.";
    format!(
        r#"{{"model":"bench","messages":[{{"role":"system","content":"{system}"}},{{"role":"user","content":"Which form do I need to order a new laptop, and who signs it?"}}],"max_tokens":64,"temperature":0.2}}"#
    )
}

/// 0.42 kB, as an engine answers.
pub fn answer() -> String {
    r#"{"id":"chatcmpl-bench","object":"chat.completion","created":1795000000,"model":"bench","choices":[{"index":0,"message":{"role":"assistant","content":"Please use the equipment form on the intranet; your team lead signs it first."},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":121,"completion_tokens":17,"total_tokens":138,"prompt_tokens_details":{"cached_tokens":96}},"service_tier":"default"}"#.to_owned()
}

/// True if there are two cores to pin to.
pub fn pinned() -> bool {
    std::thread::available_parallelism().is_ok_and(|cores| cores.get() >= 2)
}

/// The program on this core only, where there are two.
pub fn on_core(core: u32, program: &Path) -> Command {
    match pinned() {
        false => Command::new(program),
        true => {
            let mut command = Command::new("taskset");
            command.args(["--cpu-list", &core.to_string()]).arg(program);
            command
        }
    }
}

pub struct Backend {
    address: SocketAddr,
    _server: Server,
}

/// nginx with a static answer, on the core of the load.
pub fn backend(folder: &Path) -> Result<Backend> {
    let location = format!("default_type application/json; return 200 '{}';", answer());
    let (server, address) = start_nginx(folder, "backend", 0, "", &location)?;
    Ok(Backend { address, _server: server })
}

/// nginx as a proxy with kept connections: the floor that a gateway is measured against.
pub fn nginx(folder: &Path, backend: &Backend) -> Result<Peer> {
    let upstream =
        format!("upstream engine {{ server {}; keepalive 64; keepalive_requests 1000000000; }}", backend.address);
    let location = "proxy_pass http://engine; proxy_http_version 1.1; proxy_set_header Connection \"\";";
    let (server, address) = start_nginx(folder, "nginx", 1, &upstream, location)?;
    Ok(Peer { name: "nginx", address, key: "none".into(), receipts: false, server: Some(server) })
}

fn start_nginx(folder: &Path, name: &str, core: u32, upstream: &str, location: &str) -> Result<(Server, SocketAddr)> {
    let folder = folder.join(name);
    fs::create_dir_all(&folder)?;
    let address: SocketAddr = format!("127.0.0.1:{}", http::free_port()?).parse()?;
    // Workers drop root; they write nothing that matters, but nginx insists on its folders.
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("  {kind}_temp_path {kind};\n"))
        .collect();
    let configuration = format!(
        "daemon off;\nworker_processes 1;\npid nginx.pid;\nerror_log stderr warn;\nevents {{ worker_connections 1024; }}\n\
         http {{\n  access_log off;\n  keepalive_timeout 600;\n  keepalive_requests 1000000000;\n{temporary}  {upstream}\n  \
         server {{\n    listen {address};\n    location / {{ {location} }}\n  }}\n}}\n"
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, configuration)?;
    let mut command = on_core(core, &process::found("nginx").context("nginx is missing")?);
    command.arg("-p").arg(&folder).arg("-c").arg(&file).args(["-e", "stderr"]);
    let mut server = Server::start(command, &folder.join("log"))?;
    let ready = || std::net::TcpStream::connect(address).is_ok();
    server.wait_until(START_PATIENCE, ready).with_context(|| format!("nginx as {name}"))?;
    Ok((server, address))
}

/// Hoheit as a customer would have it: a key with limits and a budget, a project with a country, rules, a price.
pub fn hoheit(folder: &Path, binary: &Path, backend: &Backend) -> Result<Peer> {
    let data = folder.join("site");
    let address: SocketAddr = format!("127.0.0.1:{}", http::free_port()?).parse()?;
    let mut up = on_core(1, binary);
    up.args(["up", "--no-model", "--listen", &address.to_string(), "--data"]).arg(&data);
    let mut server = Server::start(up, &folder.join("hoheit.log"))?;
    let ready = || http::get(address, "/readyz").is_ok_and(|(status, _)| status == 200);
    server.wait_until(START_PATIENCE, ready).context("hoheit up")?;
    let make = |arguments: &[&str]| -> Result<Value> {
        let mut hoheit = Command::new(binary);
        hoheit.args(arguments).arg("--json").env("HOHEIT_URL", format!("http://{address}")).env("HOHEIT_DATA", &data);
        hoheit.env_remove("HOHEIT_TOKEN");
        Ok(serde_json::from_str(&process::output(&mut hoheit)?)?)
    };
    let text = |value: &Value| value.as_str().map(str::to_owned).context("the answer has no such field");
    let tenant = text(&make(&["tenant", "create", "bench"])?["id"])?;
    let project = make(&[
        "project",
        "create",
        "bench",
        "--tenant",
        &tenant,
        "--class",
        "internal",
        "--country",
        "DE",
        "--budget-eur",
        "100000",
    ])?;
    let project = text(&project["id"])?;
    let url = format!("http://{}", backend.address);
    make(&[
        "engine",
        "add",
        &url,
        "--model",
        "bench",
        "--country",
        "DE",
        "--operator",
        "bench",
        "--provider",
        "bench",
        "--jurisdiction",
        "DE",
        "--retention",
        "none",
    ])?;
    let key = make(&[
        "key",
        "create",
        "--project",
        &project,
        "--budget-eur",
        "100000",
        "--rpm",
        "4000000000",
        "--tpm",
        "4000000000000",
    ])?;
    Ok(Peer { name: "hoheit", address, key: text(&key["key"])?, receipts: true, server: Some(server) })
}
