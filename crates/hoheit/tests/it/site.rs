//! A running `hoheit up` and the command line that talks to it. Dropped, it is killed.

use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a start or a stop may take before the test has failed: far longer than either takes.
const PATIENCE: Duration = Duration::from_secs(60);

const BINARY: &str = env!("CARGO_BIN_EXE_hoheit");

/// `hoheit` without what the environment of the person who runs the tests says.
pub fn hoheit(arguments: &[&str]) -> Command {
    // A measurement names a release build.
    let binary = std::env::var_os("HOHEIT_MEASURED").unwrap_or_else(|| BINARY.into());
    let mut command = Command::new(binary);
    command.args(arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("HOHEIT_") || name.starts_with("OTEL_")) {
            command.env_remove(name);
        }
    }
    command
}

/// A data folder, and the process that serves from it.
pub struct Site {
    root: TempDir,
    process: Option<Child>,
    pub url: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

/// A tenant with one project and one key.
#[derive(Debug, Clone)]
pub struct Customer {
    pub tenant: String,
    pub project: String,
    pub key: String,
}

impl Site {
    /// Starts in a new folder; `arguments` follow `hoheit up`.
    pub fn start(arguments: &[&str]) -> Site {
        Site::start_with(arguments, &[])
    }

    pub fn start_with(arguments: &[&str], environment: &[(&str, &str)]) -> Site {
        let mut site = Site {
            root: tempfile::tempdir().unwrap(),
            process: None,
            url: String::new(),
            arguments: arguments.iter().map(ToString::to_string).collect(),
            environment: environment.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
        };
        site.boot();
        site
    }

    pub fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    /// What all boots wrote to standard error.
    pub fn log_file(&self) -> PathBuf {
        self.root.path().join("log.txt")
    }

    /// A folder of the test's own, gone with the site.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Starts the process and waits until it says that it serves.
    pub fn boot(&mut self) {
        assert!(self.process.is_none(), "it runs already");
        let data = self.data();
        let log = File::options().create(true).append(true).open(self.log_file()).unwrap();
        let mut command = hoheit(&["up", "--data", data.to_str().unwrap()]);
        if !self.arguments.iter().any(|argument| argument == "--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        command.args(&self.arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        let mut process = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        self.process = Some(process);
        let Some((_, url)) = line.trim().split_once("serves on ") else {
            let log = std::fs::read_to_string(self.log_file()).unwrap_or_default();
            panic!("hoheit up did not start: {line:?}\n{log}");
        };
        self.url = url.to_owned();
        // It may print more; a full pipe would stop it.
        std::thread::spawn(move || drop(std::io::copy(&mut lines, &mut std::io::sink())));
    }

    pub fn id(&self) -> u32 {
        self.process.as_ref().expect("it runs").id()
    }

    /// SIGKILL, now.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.kill().unwrap();
        process.wait().unwrap();
    }

    pub fn terminate(&self) {
        let id = rustix::process::Pid::from_raw(self.id() as i32).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    }

    /// SIGTERM, and its exit code once it has ended.
    pub fn stop(&mut self) -> Option<i32> {
        self.terminate();
        self.wait()
    }

    pub fn wait(&mut self) -> Option<i32> {
        let mut process = self.process.take().expect("it runs");
        let begin = Instant::now();
        loop {
            if let Some(status) = process.try_wait().unwrap() {
                return status.code();
            }
            if begin.elapsed() > PATIENCE {
                process.kill().unwrap();
                panic!("hoheit did not stop");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn token(&self) -> String {
        std::fs::read_to_string(self.data().join("admin-token")).unwrap().trim().to_owned()
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        hoheit(arguments).env("HOHEIT_URL", &self.url).env("HOHEIT_TOKEN", self.token()).output().unwrap()
    }

    /// Runs a command with `--json` and returns what it printed.
    pub fn cli(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}", String::from_utf8_lossy(&output.stdout)))
    }

    pub fn tenant(&self, name: &str) -> String {
        text(&self.cli(&["tenant", "create", name])["id"])
    }

    pub fn project(&self, tenant: &str, more: &[&str]) -> String {
        text(&self.cli(&[&["project", "create", "project", "--tenant", tenant], more].concat())["id"])
    }

    /// The key's id and the key.
    pub fn key(&self, project: &str, more: &[&str]) -> (String, String) {
        let made = self.cli(&[&["key", "create", "--project", project], more].concat());
        (text(&made["id"]), text(&made["key"]))
    }

    pub fn customer(&self, name: &str) -> Customer {
        let tenant = self.tenant(name);
        let project = self.project(&tenant, &[]);
        let (_, key) = self.key(&project, &[]);
        Customer { tenant, project, key }
    }

    /// Registers an engine at a German endpoint.
    pub fn engine(&self, url: &str, model: &str) -> Value {
        self.engine_in(url, model, "DE", "DE")
    }

    pub fn engine_in(&self, url: &str, model: &str, country: &str, jurisdiction: &str) -> Value {
        let place = ["--country", country, "--operator", "Muster", "--provider", "Muster", "--retention", "none"];
        self.cli(&[&["engine", "add", url, "--model", model, "--jurisdiction", jurisdiction], &place[..]].concat())
    }

    pub fn path(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    pub fn chat_url(&self) -> String {
        self.path("/v1/chat/completions")
    }

    pub fn log(&self) -> String {
        let mut text = String::new();
        File::open(self.log_file()).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    /// Every receipt and proof of a tenant in a folder, as an auditor gets it.
    pub fn export(&self, tenant: &str, name: &str) -> PathBuf {
        let folder = self.scratch(name);
        self.cli(&["receipt", "export", "--tenant", tenant, "--out", folder.to_str().unwrap(), "--wait"]);
        folder
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _gone = process.kill();
            let _reaped = process.wait();
        }
    }
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}")).to_owned()
}

/// Runs `hoheit-verify` in memory and returns its ending.
pub fn verify(arguments: &[&str]) -> verify::Ending {
    verify::run(std::iter::once("hoheit-verify").chain(arguments.iter().copied()).map(Into::into))
}
