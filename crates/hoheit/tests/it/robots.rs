//! Robots install a machine: `hoheit up`, a real broker, and simulated robots of both versions. People do what no robot can,
//! and stand at the hold points. The protocol itself and its faults are tested in the crates `vda5050` and `robots`.

use crate::client::Client;
use crate::site::{Site, text};
use http::Method;
use robots::Broker;
use robots::sim::{Machine, Options, Sheet, run};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use vda5050::{Names, Version};

const PROGRAM: &str = "/usr/sbin/mosquitto";
const PATIENCE: Duration = Duration::from_secs(120);

/// Mosquitto on a free port of loopback; killed when dropped.
struct Mosquitto {
    child: Child,
    url: String,
    _folder: tempfile::TempDir,
}

impl Mosquitto {
    fn start() -> Option<Mosquitto> {
        if !std::path::Path::new(PROGRAM).exists() {
            eprintln!("skipped: no {PROGRAM} (apt-get install mosquitto)");
            return None;
        }
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mosquitto.conf");
        std::fs::write(
            &file,
            format!("listener {} 127.0.0.1\npersistence false\nuser root\nallow_anonymous true\n", free.port()),
        )
        .unwrap();
        let mut command = Command::new(PROGRAM);
        command.arg("-c").arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        Some(Mosquitto { child, url: format!("mqtt://{free}"), _folder: folder })
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn robot(url: &str, name: &str, version: Version) -> oneshot::Sender<()> {
    let (stop, stopped) = oneshot::channel();
    let clock = Arc::new(|| {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        types::UnixMillis(since.as_millis() as i64)
    });
    let sheet = Sheet::new(name.parse().unwrap(), version);
    let options = Options {
        broker: Broker::new(url, None, None).unwrap(),
        names: Names::default(),
        clock,
        die: || panic!("no fault was asked for"),
    };
    tokio::spawn(run(Machine::new(sheet), options, stopped));
    stop
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn robots_install_a_machine_and_people_stand_at_the_hold_points() {
    let Some(mosquitto) = Mosquitto::start() else { return };
    let site = Site::start(&["--no-model", "--mqtt-url", &mosquitto.url]);
    let client = Client::new();
    let people = ["a", "b"].map(|name| text(&site.cli(&["token", "create", name, "--role", "installer"])["token"]));
    let _robots = [robot(&mosquitto.url, "acme/r1", Version::V3), robot(&mosquitto.url, "acme/r2", Version::V2)];
    let ask = async |token: &str, method: Method, path: &str, body: Value| {
        let authorization = format!("Bearer {token}");
        let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let reply = client.try_send(method, &site.path(path), &headers, &body).await.unwrap();
        (reply.status, reply.json())
    };
    let admin = site.token();
    let small = include_str!("../../../../sites/small/site.toml");
    let file = json!({ "text": small.split("# Whatever differs is said").next().unwrap() });
    let (status, applied) = ask(&admin, Method::PUT, "/api/v1/site", file).await;
    assert_eq!(status, 200, "{applied}");
    let begin = Instant::now();
    let mut confirmed_once = BTreeSet::new();
    loop {
        let (_, machines) = ask(&admin, Method::GET, "/api/v1/machines", Value::Null).await;
        if machines["data"].as_array().unwrap().iter().all(|machine| machine["lifecycle"] == "installed") {
            break;
        }
        assert!(begin.elapsed() < PATIENCE, "{machines:#}\n{}", site.log());
        let (_, tasks) = ask(&people[0], Method::GET, "/api/v1/tasks", Value::Null).await;
        for task in tasks["data"].as_array().unwrap() {
            let path = format!("/api/v1/tasks/{}", task["id"].as_str().unwrap());
            let deed = |what: &str| json!({ "do": what });
            let by_hand = matches!(task["verb"].as_str(), Some("power_on" | "receive"))
                && !task["assignee"].as_str().is_some_and(|who| who.starts_with("robot:"));
            match task["state"].as_str().unwrap() {
                // One person is not enough, however often.
                "held" if confirmed_once.insert(text(&task["id"])) => {
                    for _ in 0..2 {
                        let (status, order) = ask(&people[0], Method::POST, &path, deed("confirm")).await;
                        let tasks = order["tasks"].as_array().unwrap();
                        let held = tasks.iter().find(|one| one["id"] == task["id"]).unwrap();
                        assert_eq!((status, held["state"].as_str()), (200, Some("held")), "{held}");
                    }
                }
                "held" => assert_eq!(ask(&people[1], Method::POST, &path, deed("confirm")).await.0, 200),
                "ready" if by_hand => drop(ask(&people[0], Method::POST, &path, deed("take")).await),
                "assigned" if by_hand => drop(ask(&people[0], Method::POST, &path, deed("start")).await),
                "running" if by_hand => drop(ask(&people[0], Method::POST, &path, deed("done")).await),
                _ => {}
            }
        }
    }
    let (_, orders) = ask(&admin, Method::GET, "/api/v1/orders?state=done", Value::Null).await;
    let orders = orders["data"].as_array().unwrap();
    assert_eq!(orders.len(), 4, "two machines, received and installed");
    let mut workers = BTreeSet::new();
    for task in orders.iter().filter(|order| order["kind"] == "install").flat_map(|it| it["tasks"].as_array().unwrap())
    {
        let who = task["assignee"].as_str().unwrap().to_owned();
        let hands = if task["verb"] == "power_on" { "person:" } else { "robot:acme/" };
        assert!(who.starts_with(hands), "{task}");
        let wanted = if matches!(task["verb"].as_str(), Some("lift" | "power_on")) { 2 } else { 0 };
        assert_eq!(task["confirmations"], wanted, "{task}");
        workers.insert(who);
    }
    assert!(workers.contains("robot:acme/r1") && workers.contains("robot:acme/r2"), "{workers:?}");
}
