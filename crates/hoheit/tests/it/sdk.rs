//! The SDKs that outside developers use, unchanged and exactly pinned, against a site with nano and a scripted engine.
//!
//! The cases stand in `tests/sdk`, one set for each language. Here a site gets the customers and models that they
//! expect, the script runs, and afterwards the engine's own books are compared with the receipts of those who left.
//! What a case needs is named: a key by what is wrong with it, a model by what its engine does.
//!
//! Without the SDKs on this machine (`cargo xtask test` brings them) each test says so and is skipped, unless
//! `HOHEIT_TEST_SDK=required`.

use crate::client::Client;
use crate::site::{Customer, Site, text, verify};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use twin::engine::{Before, Behaviour, Request, Script, ScriptedEngine, State};

/// Models of the scripted engine and what it does with them; `french` and `american` stand where they say.
const MODELS: &[(&str, &str)] = &[
    ("scripted", ""),
    ("once", ""),
    ("wordy", "prompt=90"),
    ("echo", "echo"),
    ("stalls", "tokens=20 end=stall-after:2"),
    ("slow", "pace=700 tokens=1"),
    ("hangs", "hang"),
    ("breaks", "tokens=20 end=die-after:2"),
    ("refuses", "status=400"),
    ("unprocessable", "status=422"),
    ("full", "busy=7"),
    ("html", "html"),
    ("fails", "status=500"),
    ("vanishes", "refuse"),
];

/// Keys by what is wrong with them, as `HOHEIT_KEY_…` names them.
type Keys = Vec<(&'static str, String)>;

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// False, with the reason printed, where what `cargo xtask test` installs is not there.
pub fn here(path: &Path) -> bool {
    let there = path.exists();
    if !there {
        let missing = format!("{} is missing; `cargo xtask test` installs it", path.display());
        assert!(std::env::var("HOHEIT_TEST_SDK").as_deref() != Ok("required"), "{missing}");
        eprintln!("skipped: {missing}");
    }
    there
}

fn python() -> PathBuf {
    root().join(".xtask/venv/bin/python")
}

fn script() -> Script {
    let full_once = AtomicBool::new(true);
    Script::choose(move |ask| match ask.model {
        "full-once" if full_once.swap(false, Ordering::Relaxed) => Behaviour::before(Before::busy("2")),
        "garbage" => Behaviour::before(Before::Garbage("220 mail.example.com ESMTP\r\n".into())),
        model => match MODELS.iter().find(|(name, _)| *name == model) {
            Some((_, behaviour)) => behaviour.parse().unwrap(),
            None => Behaviour::default(),
        },
    })
}

/// A site with all models and customers, and the keys that the scripts take by environment.
async fn stage() -> (Site, ScriptedEngine, Customer, Keys) {
    let engine = ScriptedEngine::start(script()).await.unwrap();
    let site = Site::start(&[]);
    for (model, _) in MODELS {
        site.engine(&engine.url(), model);
    }
    for model in ["garbage", "full-once"] {
        site.engine(&engine.url(), model);
    }
    site.engine_in(&engine.url(), "french", "FR", "FR");
    site.engine_in(&engine.url(), "american", "US", "US");
    let url = engine.url();
    let mut alias = vec!["engine", "add", &url, "--model", "org/alias", "--model-alias", "echo"];
    alias.extend(["--country", "DE", "--operator", "Muster", "--provider", "Muster", "--jurisdiction", "DE"]);
    site.cli(&alias);

    let customer = site.customer("Muster");
    let (revoked_id, revoked) = site.key(&customer.project, &[]);
    site.cli(&["key", "revoke", &revoked_id]);
    let german = site.cli(&["project", "create", "german", "--tenant", &customer.tenant, "--country", "DE"]);
    let key = |more: &[&str]| site.key(&customer.project, more).1;
    let keys = vec![
        ("HOHEIT_KEY", customer.key.clone()),
        ("HOHEIT_KEY_REVOKED", revoked),
        ("HOHEIT_KEY_EXPIRED", key(&["--expires", "2020-01-01T00:00:00Z"])),
        ("HOHEIT_KEY_FOREIGN", site.customer("Andere").key),
        ("HOHEIT_KEY_POOR", key(&["--budget-eur", "0.000001"])),
        ("HOHEIT_KEY_ONE_REQUEST", key(&["--rpm", "1"])),
        ("HOHEIT_KEY_FEW_TOKENS", key(&["--tpm", "100"])),
        ("HOHEIT_KEY_GERMAN", site.key(&text(&german["id"]), &[]).1),
    ];
    (site, engine, customer, keys)
}

/// Runs a script's cases; the test fails with its lines.
async fn run(mut command: Command) {
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    let failed: Vec<_> = said.lines().filter(|line| !line.starts_with("ok ")).collect();
    assert!(output.status.success() && failed.is_empty(), "{failed:#?}\n{said}{complained}");
    assert!(said.lines().count() >= 40, "cases are missing:\n{said}");
}

/// What a receipt says, as the operator reads it.
async fn claims(site: &Site, receipt: &str) -> Value {
    let authorization = format!("Bearer {}", site.token());
    let url = site.path(&format!("/api/v1/receipts/{receipt}"));
    let reply = Client::new().get(&url, &[("authorization", &authorization)]).await;
    assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
    reply.json()["claims"].clone()
}

/// Each of these ended with its client. Where the client had read all that was sent before it left (its `user` says so)
/// the receipt says exactly what the engine counted. Otherwise something may have been on its way between the engine and
/// the gateway: it reached nobody, and the receipt may leave it out but never adds to it.
async fn left_early(site: &Site, requests: &[&Request]) {
    for request in requests {
        let model = &request.model;
        assert_eq!(request.state, State::Cancelled, "{model}: the engine did not see that the client left");
        let claims = claims(site, request.header("x-request-id").unwrap()).await;
        assert_eq!(claims["outcome"], "aborted", "{claims}");
        let (said, counted) = (claims["usage"]["output"].as_u64().unwrap(), request.counted.output);
        match request.json()["user"].as_str() {
            Some("read-all") => assert_eq!(said, counted, "{claims}"),
            _ => assert!(said <= counted, "{counted}: {claims}"),
        }
    }
}

async fn check(command: impl FnOnce() -> Command) {
    let (site, engine, customer, keys) = stage().await;
    let mut command = command();
    command.env("HOHEIT_URL", &site.url).envs(keys).current_dir(root());
    for name in ["OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "HTTP_PROXY", "http_proxy"]
    {
        command.env_remove(name);
    }
    run(command).await;

    // A cancelled request is seen by the engine when its connection closes, which nobody waits for.
    let requests = engine.until(|requests| requests.iter().all(|request| request.state != State::Running)).await;
    let of = |model: &str| requests.iter().filter(|request| request.model == model).collect::<Vec<_>>();
    for (model, at_least) in [("stalls", 3), ("hangs", 2)] {
        assert!(of(model).len() >= at_least, "{model}");
        left_early(&site, &of(model)).await;
    }
    assert_eq!(of("stalls").iter().filter(|request| request.json()["user"] == "read-all").count(), 1);
    assert_eq!(of("once").len(), 2, "a replay asked the engine again");
    assert_eq!(of("slow").len(), 1, "a caller who was told to wait asked the engine");
    assert_eq!(of("full-once").len(), 2);
    assert_eq!(of("american").len(), 0, "policy refused it, and it was asked");
    let keys_seen = requests.iter().filter(|request| request.header("authorization").is_some()).count();
    assert_eq!(keys_seen, 0, "the customer's key reached the engine");

    // What both SDKs left behind is one whole chain.
    let folder = site.export(&customer.tenant, "export");
    let jwks = site.scratch("jwks.json");
    let client = Client::new();
    std::fs::write(&jwks, client.get(&site.path("/.well-known/jwks.json"), &[]).await.body).unwrap();
    let log_key = client.get(&site.path("/log/vkey"), &[]).await;
    let log_key = std::str::from_utf8(&log_key.body).unwrap().trim();
    let arguments = ["chain", folder.to_str().unwrap(), "--jwks", jwks.to_str().unwrap(), "--log-key", log_key];
    let ending = verify(&arguments);
    assert_eq!(ending.code, 0, "{ending:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openai_from_pypi() {
    if here(&python()) {
        check(|| {
            let mut command = Command::new(python());
            command.arg("tests/sdk/check.py");
            command
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openai_from_npm() {
    if here(&root().join("tests/sdk/node_modules/openai")) {
        check(|| {
            let mut command = Command::new("node");
            command.arg("tests/sdk/check.mjs");
            command
        })
        .await;
    }
}

/// The README's Python is run as it stands there, but for the address and the key.
#[test]
fn the_readme_is_true() {
    if !here(&python()) {
        return;
    }
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let (_, rest) = readme.split_once("```python\n").expect("README.md shows Python");
    let (snippet, _) = rest.split_once("```").unwrap();
    let site = Site::start(&[]);
    let customer = site.customer("Muster");
    assert!(snippet.contains("http://127.0.0.1:8080") && snippet.contains("hk_…"), "{snippet}");
    let program = snippet.replace("http://127.0.0.1:8080", &site.url).replace("hk_…", &customer.key);
    let output = Command::new(python()).arg("-c").arg(program).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (id, answer) = said.split_once(' ').unwrap_or_else(|| panic!("a receipt and an answer: {said}"));
    assert!(!answer.trim().is_empty(), "{said}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert_eq!(runtime.block_on(claims(&site, id))["outcome"], "completed");
}
