//! A unit from the pallet to capacity, over real protocols, while the controller is killed again and again: BMCs over Redfish,
//! agents over mTLS, people over the control API. No machine in a wrong state, no order twice, one certificate each, and
//! the log verifies.

use crate::client::{Client, Reply};
use crate::site::{Site, text, verify};
use agent::clock::SystemClock;
use agent::link::Address;
use agent::swarm::{self, Member};
use agent::token::Token;
use agent::wire::{CommandKind, ValidationReport};
use fleet::observed::{TestOutcome, TestResult};
use http::Method;
use redfish::fake::{Bmc, Options, Server, Shape};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use types::MachineId;

/// In CI: enough that kills meet every state; the long run is `--run-ignored`.
const KILLS: u32 = 8;
const KILLS_LONG: u32 = 100;

/// How long a rollout may take before the test has failed: several times what it takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// The states of a machine that nothing was wrong with, each once.
const LIFE: [&str; 7] = ["planned", "received", "installed", "powered", "provisioned", "validated", "accepted"];

/// `sites/small` with so many racks of one machine, and a baseline that the BMCs in memory have.
fn site_file(machines: usize) -> String {
    let small = include_str!("../../../../sites/small/site.toml");
    let head = small.split("# Whatever differs is said").next().unwrap();
    let change = [
        ("racks = \"k01\"", format!("racks = \"k01..k{machines:02}\"")),
        ("racks = \"h1/r01/k01\"\nkind", format!("racks = \"h1/r01/k01..k{machines:02}\"\nkind")),
        ("slots = \"u01, u13\"", "slots = \"u01\"".to_owned()),
        ("machines = 2", format!("machines = {machines}")),
        ("power_w = 40_000", "power_w = 4_000_000".to_owned()),
        ("cooling_w = 40_000", "cooling_w = 4_000_000".to_owned()),
    ];
    change.iter().fold(head.to_owned(), |file, (from, to)| {
        assert!(file.contains(from), "{from}");
        file.replace(from, to)
    })
}

struct World {
    site: Site,
    client: Client,
    bmcs: BTreeMap<String, (String, Arc<Bmc>)>,
    _server: Server,
    agents: Address,
    members: BTreeMap<String, Member>,
    /// Results that the site has not taken yet, with their commands.
    results: Vec<(String, String, ValidationReport)>,
    people: [String; 2],
    /// Requests until the next kill, and kills left.
    fuse: u32,
    kills: u32,
    dice: u32,
}

impl World {
    async fn start(machines: usize, kills: u32) -> World {
        // A port of its own that stays the same over all boots.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let address = free.to_string();
        let site = Site::start(&["--no-model", "--agents", &address, "--bmc-plain-on-loopback"]);
        let client = Client::new();
        let tree = Arc::new(Shape::dgx_b200().tree());
        let mut bmcs = BTreeMap::new();
        for n in 1..=machines {
            let serial = format!("S{n:03}");
            let uuid = format!("00000000-0000-0000-0000-{n:012}");
            let bmc = Arc::new(Bmc::new(tree.clone(), &serial, &uuid, "admin", "secret"));
            bmcs.insert(format!("h1/r01/k{n:02}/u01"), (serial, bmc));
        }
        let server =
            Server::start(bmcs.values().map(|(_, bmc)| bmc.clone()).collect(), Options::default()).await.unwrap();
        let agents = Address::parse(&format!("https://{address}")).unwrap();
        let people = ["a", "b"].map(|name| text(&site.cli(&["token", "create", name, "--role", "installer"])["token"]));
        let mut world = World {
            site,
            client,
            bmcs,
            _server: server,
            agents,
            members: BTreeMap::new(),
            results: Vec::new(),
            people,
            fuse: u32::MAX,
            kills: 0,
            dice: 7,
        };
        let applied = world.admin(Method::PUT, "/api/v1/site", json!({ "text": site_file(machines) })).await;
        assert_eq!(applied["added"].as_array().map(Vec::len), Some(machines), "{applied}");
        let urls: Vec<_> = world.bmcs.keys().enumerate().map(|(n, slot)| {
            json!({ "machine": slot, "url": world._server.url(n), "username": "admin", "password": "secret" })
        }).collect();
        world.admin(Method::PUT, "/api/v1/bmcs", json!({ "bmcs": urls })).await;
        (world.kills, world.fuse) = (kills, if kills > 0 { 5 } else { u32::MAX });
        world
    }

    /// A number that differs from call to call and not from run to run.
    fn roll(&mut self, below: u32) -> u32 {
        self.dice = self.dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.dice >> 16) % below
    }

    /// One request; the controller may be killed while it is under way. None if there was no whole answer.
    async fn ask(&mut self, token: &str, method: Method, path: &str, body: Value) -> Option<Reply> {
        self.fuse = self.fuse.saturating_sub(1);
        let authorization = format!("Bearer {token}");
        let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
        let (url, body) = (self.site.path(path), if body.is_null() { String::new() } else { body.to_string() });
        if self.fuse > 0 {
            return self.client.try_send(method, &url, &headers, &body).await.filter(|reply| reply.whole);
        }
        let client = self.client.clone();
        let (token, sent) = (authorization.clone(), url.clone());
        let asking = tokio::spawn(async move {
            let headers = [("authorization", token.as_str()), ("content-type", "application/json")];
            client.try_send(method, &sent, &headers, &body).await
        });
        // It is on its way, or not, or answered already: each is a case.
        for _ in 0..self.roll(40) {
            tokio::task::yield_now().await;
        }
        self.site.kill();
        let _lost = asking.await;
        self.site.boot();
        self.client = Client::new();
        self.kills -= 1;
        self.fuse = if self.kills > 0 { 3 + self.roll(40) } else { u32::MAX };
        None
    }

    async fn admin(&mut self, method: Method, path: &str, body: Value) -> Value {
        let token = self.site.token();
        let reply = self.ask(&token, method, path, body).await.expect("nobody is killed yet");
        assert!(reply.status < 300, "{path}: {}", reply.json());
        reply.json()
    }

    async fn list(&mut self, path: &str) -> Option<Vec<Value>> {
        let token = self.site.token();
        let reply = self.ask(&token, Method::GET, path, Value::Null).await?;
        Some(reply.json()["data"].as_array().unwrap().clone())
    }

    /// People do one step of every task that can be worked on.
    async fn people(&mut self) -> Option<()> {
        for task in self.list("/api/v1/tasks?limit=1000").await? {
            let (id, verb) = (text(&task["id"]), text(&task["verb"]));
            let serial = self.bmcs[task["slot"].as_str().unwrap()].0.clone();
            let evidence = match verb.as_str() {
                "scan" => json!([{ "kind": "scan", "value": serial }]),
                "photograph" => json!([{ "kind": "photo", "value": "a.jpg", "sha256": "ab".repeat(32) }]),
                "torque" => json!([{ "kind": "torque", "value": "5.0" }]),
                _ => json!([]),
            };
            let [one, two] = self.people.clone();
            let deeds = match task["state"].as_str().unwrap() {
                "held" => vec![(&one, json!({ "do": "confirm" })), (&two, json!({ "do": "confirm" }))],
                "ready" => vec![(&one, json!({ "do": "take" }))],
                "assigned" => vec![(&one, json!({ "do": "start" }))],
                "running" => vec![(&one, json!({ "do": "done", "evidence": evidence }))],
                state => panic!("{verb} is {state}"),
            };
            for (who, deed) in deeds {
                let reply = self.ask(who, Method::POST, &format!("/api/v1/tasks/{id}"), deed).await?;
                // Somebody else in the zone, or the first confirmation was enough: looked at again in the next round.
                assert!(reply.status == 200 || reply.status == 409, "{verb}: {}", reply.json());
            }
        }
        Some(())
    }

    /// Machines that booted the installer get an agent; agents report, and do what they are told.
    async fn machines(&mut self) -> Option<()> {
        let admin = self.site.token();
        for machine in self.list("/api/v1/machines?lifecycle=powered").await? {
            let (id, slot) = (text(&machine["id"]), text(&machine["slot"]));
            let (serial, bmc) = self.bmcs[&slot].clone();
            if self.members.contains_key(&id) || bmc.booted_from().as_deref() != Some("UefiHttp") {
                continue;
            }
            let path = format!("/api/v1/machines/{id}/agent-token");
            let reply = self.ask(&admin, Method::POST, &path, json!({})).await?;
            assert_eq!(reply.status, 201, "{}", reply.json());
            let token = Token::parse(reply.json()["token"].as_str().unwrap()).unwrap();
            let clock = Arc::new(SystemClock);
            let state = swarm::healthy(8, &serial);
            let member = Member::enrol(&self.agents, &token, &serial, state, clock).await.ok()?;
            self.members.insert(id, member);
        }
        for (id, member) in &mut self.members {
            let Ok((_, commands)) = member.report().await else { return None };
            for command in commands {
                let CommandKind::RunSuite { suite, entry, attempt, .. } = command.what else { continue };
                let test = TestResult {
                    name: "memory".to_owned(),
                    outcome: TestOutcome::Passed,
                    threshold: ">= 100 GB/s".to_owned(),
                    value: "212 GB/s".to_owned(),
                    millis: 1,
                };
                let report = ValidationReport {
                    machine: MachineId(0),
                    serial: String::new(),
                    suite,
                    entry,
                    attempt,
                    age_ms: 5,
                    ended: true,
                    tests: vec![test],
                };
                self.results.push((id.clone(), command.id, report));
            }
        }
        // Told until it is taken, as the agent does.
        while let Some((id, command, report)) = self.results.last().cloned() {
            let member = self.members.get_mut(&id).unwrap();
            member.validation(report).await.ok()?;
            member.done(&command, true, "");
            self.results.pop();
        }
        Some(())
    }

    /// Until every machine is capacity.
    async fn roll_out(&mut self) {
        let begin = Instant::now();
        loop {
            let _people = self.people().await;
            let _machines = self.machines().await;
            if let Some(machines) = self.list("/api/v1/machines?limit=1000").await {
                if machines.iter().all(|machine| machine["scheduling"] == "open") && self.kills == 0 {
                    return;
                }
                if begin.elapsed() > PATIENCE {
                    panic!("{}\n{machines:#?}", self.site.log());
                }
            }
        }
    }

    /// What must be so in the end, however often it died.
    async fn check(&mut self) {
        let jwks = self.site.scratch("jwks.json");
        let vkey = self.site.scratch("log.vkey");
        std::fs::write(&jwks, self.client.get(&self.site.path("/.well-known/jwks.json"), &[]).await.body).unwrap();
        std::fs::write(&vkey, self.client.get(&self.site.path("/log/vkey"), &[]).await.body).unwrap();
        let keys = ["--jwks", jwks.to_str().unwrap(), "--log-key", vkey.to_str().unwrap()];
        let events = self.list("/api/v1/fleet/events?after=0&limit=1000").await.unwrap();
        for machine in self.list("/api/v1/machines?limit=1000").await.unwrap() {
            let id = text(&machine["id"]);
            let whole = self.admin(Method::GET, &format!("/api/v1/machines/{id}"), Value::Null).await;
            let kinds: Vec<_> = whole["orders"]
                .as_array()
                .unwrap()
                .iter()
                .map(|it| (it["kind"].clone(), it["state"].clone()))
                .collect();
            assert_eq!(kinds, [(json!("receive"), json!("done")), (json!("install"), json!("done"))], "{id}");
            let lived: Vec<_> = events
                .iter()
                .filter(|event| event["machine"] == id.as_str())
                .filter_map(|event| LIFE.iter().find(|state| event["kind"] == **state))
                .copied()
                .collect();
            assert_eq!(lived, LIFE, "{id}: each state once, in order");
            let certificates = whole["certificates"].as_array().unwrap();
            assert_eq!(certificates.len(), 1, "{id}");
            let serial = self.bmcs[machine["slot"].as_str().unwrap()].0.clone();
            let (jwt, proof) = (self.site.scratch("machine.jwt"), self.site.scratch("machine.tlog-proof"));
            std::fs::write(&jwt, text(&certificates[0]["jwt"])).unwrap();
            std::fs::write(&proof, text(&certificates[0]["proof"])).unwrap();
            let files = ["acceptance", jwt.to_str().unwrap(), "--proof", proof.to_str().unwrap(), "--serial", &serial];
            let ending = verify(&[&files[..], &keys[..]].concat());
            assert_eq!(ending.code, 0, "{} {}", ending.stdout, ending.stderr);
        }
        let log = self.site.data().join("log");
        let ending = verify(&["log", log.to_str().unwrap(), "--log-key", vkey.to_str().unwrap()]);
        assert_eq!(ending.code, 0, "{} {}", ending.stdout, ending.stderr);
    }
}

async fn rollout(machines: usize, kills: u32) {
    let mut world = World::start(machines, kills).await;
    world.roll_out().await;
    world.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_again_and_again_a_rollout_ends_as_if_it_had_not_been() {
    rollout(3, KILLS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: cargo nextest run -p hoheit --run-ignored only -E 'test(a_hundred_kills)'"]
async fn a_hundred_kills() {
    rollout(6, KILLS_LONG).await;
}
