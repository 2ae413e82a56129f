//! Mosquitto on a free port of loopback, somebody who records everything, robots as processes.

use crate::schema;
use robots::connection::{Connection, Incoming};
use robots::{Broker, Clock, Handle, Options, Report, RobotId, Rules};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::timeout;
use types::UnixMillis;
use vda5050::{Names, Topic, Version};

const PROGRAM: &str = "/usr/sbin/mosquitto";
/// Nothing here takes a second; a machine that is busy otherwise may take its time.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Mosquitto {
    child: Child,
    pub port: u16,
    pub folder: TempDir,
}

impl Mosquitto {
    /// None where Mosquitto is not installed; the test then says so and ends.
    pub async fn start(more: impl Fn(&Path) -> String) -> Option<Mosquitto> {
        if !Path::new(PROGRAM).exists() {
            eprintln!("skipped: no {PROGRAM} (apt-get install mosquitto)");
            return None;
        }
        let folder = TempDir::new().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let more = more(folder.path());
        let anonymous = if more.contains("password_file") { "" } else { "allow_anonymous true\n" };
        // As root it would become another user, who may not read the folder.
        let text = format!("listener {port} 127.0.0.1\npersistence false\nuser root\n{anonymous}{more}");
        let file = folder.path().join("mosquitto.conf");
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(PROGRAM);
        let child = command.arg("-c").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mosquitto = Mosquitto { child: child.spawn().unwrap(), port, folder };
        // Until it listens.
        let listening = async {
            while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, listening).await.unwrap();
        Some(mosquitto)
    }

    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    pub fn broker(&self) -> Broker {
        Broker::new(&self.url(), None, None).unwrap()
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A simulated robot in a process of its own.
pub struct Process(pub Child);

impl Process {
    pub fn start(url: &str, robot: &RobotId, arguments: &[&str]) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_twin-robot"));
        command.args(["--broker", url, "--robot", &robot.to_string()]).args(arguments).stdin(Stdio::piped());
        Process(command.spawn().unwrap())
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// As its parent's end would: it says goodbye.
    pub fn end(&mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub type Recorded = Arc<Mutex<Vec<(String, String)>>>;

/// Records all messages, from when it is subscribed.
pub async fn record(broker: &Broker) -> Recorded {
    let mut connection = Connection::open(broker, "recorder", None).await.unwrap();
    connection.subscribe(vec![("#".to_owned(), 0)]).unwrap();
    assert!(matches!(connection.next().await.unwrap(), Incoming::Subscribed));
    let recorded = Recorded::default();
    let kept = recorded.clone();
    tokio::spawn(async move {
        while let Ok(incoming) = connection.next().await {
            if let Incoming::Message { topic, payload, .. } = incoming {
                kept.lock().unwrap().push((topic, String::from_utf8(payload.to_vec()).unwrap()));
            }
        }
    });
    recorded
}

/// Every recorded message against its schema, by our checker and, where it is installed, by Python's.
pub fn validate(recorded: &Recorded) -> BTreeMap<(Version, Topic), usize> {
    let recorded = recorded.lock().unwrap();
    let mut counts = BTreeMap::new();
    let mut lines = Vec::new();
    for (topic, json) in recorded.iter() {
        let (version, _, topic) = Names::default().read(topic).unwrap();
        assert_eq!(schema::faults(version, topic, json), Vec::<String>::new(), "{json}");
        *counts.entry((version, topic)).or_insert(0) += 1;
        writeln!(lines, "{} {} {json}", version.text(), topic.as_str()).unwrap();
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let python = root.join(".xtask/vda5050/bin/python");
    match (python.exists(), schema::folder()) {
        (true, Some(schemas)) => {
            let mut command = Command::new(python);
            command.arg(root.join("tests/vda5050/validate.py")).arg(schemas).stdin(Stdio::piped());
            let mut child = command.spawn().unwrap();
            child.stdin.take().unwrap().write_all(&lines).unwrap();
            assert!(child.wait().unwrap().success());
        }
        _ => eprintln!("not asked: Python's jsonschema (cargo xtask test installs it) with the published schemas"),
    }
    counts
}

pub fn clock() -> Clock {
    Arc::new(|| UnixMillis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64))
}

pub fn options(broker: Broker, robots: Vec<RobotId>) -> Options {
    let mut rules = Rules::default();
    // A robot whose will came is given up at once.
    rules.waits.broken_ms = 0;
    Options { broker, client_id: "fleet".to_owned(), rules, robots, clock: clock() }
}

/// What the controller reads.
pub struct Reader(pub mpsc::Receiver<Report>);

impl Reader {
    pub async fn next(&mut self) -> Report {
        timeout(PATIENCE, self.0.recv()).await.expect("no report").expect("the link ended")
    }

    /// Reads until one is as wanted; all that were read, the last of them.
    pub async fn until(&mut self, wanted: impl Fn(&Report) -> bool) -> Vec<Report> {
        let mut read = Vec::new();
        loop {
            read.push(self.next().await);
            if wanted(&read[read.len() - 1]) {
                return read;
            }
        }
    }

    pub async fn until_free(&mut self, handle: &Handle, robot: &RobotId) {
        while !handle.views().iter().any(|it| it.robot == *robot && it.free()) {
            self.next().await;
        }
    }
}
