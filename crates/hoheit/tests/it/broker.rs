//! A platform that orders, as SAP Service Manager does: a script of our own that knows the specification and nothing of our
//! code, against the whole process, with a gateway that serves the keys which bindings are. And schemathesis over the
//! specification's official OpenAPI file.

use crate::client::{Client, Reply};
use crate::sdk::{here, root};
use crate::site::{Site, text};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;
use twin::engine::{Behaviour, ScriptedEngine};

/// A platform with its registration.
pub struct Manager {
    http: Client,
    osb: String,
    authorization: String,
    catalog: Value,
}

/// What signs contexts, and its public half as the platform's `/v1/info` shows it.
struct Signer(RsaKeyPair);

impl Signer {
    fn new() -> Signer {
        Signer(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    fn info(&self) -> String {
        let der = AsDer::<PublicKeyX509Der>::as_der(self.0.public_key()).unwrap();
        STANDARD.encode(format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            STANDARD.encode(der.as_ref())
        ))
    }

    /// A context for this instance. Written out, as Go's encoder writes a map: sorted, escaped for HTML.
    fn context(&self, instance: &str, subaccount: &str) -> Value {
        let message = format!(
            "{{\"instance_name\":\"Vertrieb \\u0026 Einkauf\",\"platform\":\"service-manager\",\"service_instance_id\":\"{instance}\",\"subaccount_id\":\"{subaccount}\"}}"
        );
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
        let mut context: Value = serde_json::from_str(&message).unwrap();
        context["signature"] = json!(STANDARD.encode(signature));
        context
    }
}

impl Manager {
    /// As an administrator registers a broker: the platform reads the catalog at once.
    pub async fn register(site: &Site, more: &[&str]) -> (Manager, String) {
        let made = site.cli(&[&["broker", "register", "btp"], more].concat());
        assert_eq!(made["url"], site.path("/osb"));
        let user = format!("{}:{}", text(&made["username"]), text(&made["password"]));
        let mut manager = Manager {
            http: Client::new(),
            osb: text(&made["url"]),
            authorization: format!("Basic {}", STANDARD.encode(user)),
            catalog: Value::Null,
        };
        manager.catalog = manager.send(Method::GET, "/v2/catalog", &Value::Null).await.json();
        (manager, text(&made["id"]))
    }

    /// The same platform after a start, which has another port.
    pub fn at(self, site: &Site) -> Manager {
        Manager { osb: site.path("/osb"), http: Client::new(), ..self }
    }

    async fn send(&self, method: Method, path: &str, body: &Value) -> Reply {
        let identity = format!("sapcp {}", STANDARD.encode(r#"{"user_id":"anna"}"#));
        let headers = [
            ("authorization", self.authorization.as_str()),
            ("x-broker-api-version", "2.14"),
            ("x-broker-api-originating-identity", &identity),
            ("x-correlation-id", "c-1"),
            ("content-type", "application/json"),
        ];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let reply =
            self.http.try_send(method, &format!("{}{path}", self.osb), &headers, &body).await.expect("an answer");
        assert_eq!(
            (reply.header("content-type"), reply.header("x-correlation-id")),
            ("application/json", "c-1"),
            "{path}"
        );
        reply
    }

    fn service(&self) -> &Value {
        &self.catalog["services"][0]
    }

    fn plan(&self, name: &str) -> String {
        let plans = self.service()["plans"].as_array().unwrap();
        text(&plans.iter().find(|plan| plan["name"] == name).unwrap()["id"])
    }

    /// The body of an order.
    pub fn order(&self, plan: &str, context: Value, parameters: Value) -> Value {
        json!({ "service_id": self.service()["id"], "plan_id": self.plan(plan), "organization_guid": "-", "space_guid": "-",
            "context": context, "parameters": parameters })
    }

    fn ids(&self, plan: &str) -> String {
        format!("service_id={}&plan_id={}", text(&self.service()["id"]), self.plan(plan))
    }

    pub async fn put(&self, id: &str, body: &Value) -> Reply {
        self.send(Method::PUT, &format!("/v2/service_instances/{id}?accepts_incomplete=true"), body).await
    }

    async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, &format!("/v2/service_instances/{path}"), &Value::Null).await
    }

    pub async fn delete(&self, path: &str, plan: &str) -> Reply {
        let path = format!("/v2/service_instances/{path}?accepts_incomplete=true&{}", self.ids(plan));
        self.send(Method::DELETE, &path, &Value::Null).await
    }

    pub async fn bind(&self, instance: &str, id: &str, body: &Value) -> Reply {
        self.send(Method::PUT, &format!("/v2/service_instances/{instance}/service_bindings/{id}"), body).await
    }
}

#[track_caller]
pub fn expect(reply: Reply, status: u16) -> Value {
    assert_eq!(reply.status, status, "{}", String::from_utf8_lossy(&reply.body));
    reply.json()
}

/// Asks with the credentials of a binding, as an OpenAI client takes them; status and code.
async fn ask(credentials: &Value) -> (u16, String) {
    let url = format!("{}/chat/completions", text(&credentials["openai"]["base_url"]));
    let body = json!({ "model": "scripted", "messages": [{ "role": "user", "content": "hi" }] });
    let reply = Client::new().post(&url, &text(&credentials["openai"]["api_key"]), &body).await;
    (reply.status, reply.code())
}

fn served() -> (u16, String) {
    (200, String::new())
}

fn ended() -> (u16, String) {
    (401, "key_revoked".to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_manager_orders_binds_rotates_and_leaves() {
    let engine = ScriptedEngine::start(Behaviour::tokens(3)).await.unwrap();
    let mut site = Site::start(&["--no-model"]);
    site.engine(&engine.url(), "scripted");
    let (own, next, stranger) = (Signer::new(), Signer::new(), Signer::new());
    let file = |name: &str, signer: &Signer| -> PathBuf {
        let path = site.scratch(name);
        std::fs::write(&path, signer.info()).unwrap();
        path
    };
    let (own_key, next_key) = (file("own.key", &own), file("next.key", &next));
    let required = ["--subaccount", "sub", "--signature", "required", "--signature-key", own_key.to_str().unwrap()];
    let (sm, broker) = Manager::register(&site, &required).await;

    // Signed, or nothing: right, wrong, for another instance, for another customer.
    let plain = sm.order("inference-shared", Value::Null, json!({ "monthly_budget_eur": 5 }));
    let order = |context: Value| {
        let mut body = plain.clone();
        body["context"] = context;
        body
    };
    for wrong in [
        stranger.context("one", "sub"),
        next.context("one", "sub"),
        own.context("two", "sub"),
        own.context("one", "other"),
        json!({ "subaccount_id": "sub" }),
    ] {
        expect(sm.put("one", &order(wrong)).await, 400);
    }
    assert_eq!(site.cli(&["project", "list"])["data"], json!([]));
    let asked = order(own.context("one", "sub"));
    expect(sm.put("one", &asked).await, 201);
    expect(sm.put("one", &asked).await, 200);
    let mut other = asked.clone();
    other["parameters"]["monthly_budget_eur"] = json!(6);
    expect(sm.put("one", &other).await, 409);

    // A binding serves at once.
    let bind =
        |context: Value| json!({ "service_id": asked["service_id"], "plan_id": asked["plan_id"], "context": context });
    expect(sm.bind("one", "b1", &bind(stranger.context("one", "sub"))).await, 400);
    let first = expect(sm.bind("one", "b1", &bind(own.context("one", "sub"))).await, 201);
    assert_eq!(ask(&first["credentials"]).await, served());
    assert_eq!(first["credentials"]["serviceurls"]["AI_API_URL"], site.url);

    // The platform changes its key: before, the successor; after, the old one is a stranger's.
    site.cli(&["broker", "update", &broker, "--successor-key", next_key.to_str().unwrap()]);
    expect(sm.put("two", &sm.order("grounded-answers", next.context("two", "sub"), json!({}))).await, 201);
    expect(sm.bind("one", "b1", &bind(own.context("one", "sub"))).await, 200);
    site.cli(&["broker", "update", &broker, "--signature-key", next_key.to_str().unwrap()]);
    expect(sm.bind("one", "b2", &bind(own.context("one", "sub"))).await, 400);

    // Nothing is lost with the process: the same calls, the same answers.
    site.kill();
    site.boot();
    let sm = sm.at(&site);
    let again = expect(sm.bind("one", "b1", &bind(next.context("one", "sub"))).await, 200);
    assert_eq!(again["credentials"]["clientsecret"], first["credentials"]["clientsecret"]);
    let first = again;

    // Rotation: both are good until the predecessor is deleted; then it is not, from the answer on.
    let mut rotation = bind(next.context("one", "sub"));
    rotation["predecessor_binding_id"] = json!("b1");
    let second = expect(sm.bind("one", "b2", &rotation).await, 201);
    assert_eq!(ask(&first["credentials"]).await, served());
    assert_eq!(ask(&second["credentials"]).await, served());
    expect(sm.delete("one/service_bindings/b1", "inference-shared").await, 200);
    assert_eq!(ask(&first["credentials"]).await, ended());
    assert_eq!(ask(&second["credentials"]).await, served());
    expect(sm.delete("one/service_bindings/b1", "inference-shared").await, 410);

    // Both instances are projects of one tenant; the customer sees who ordered.
    let instances = site.cli(&["broker", "instances", &broker]);
    let [one, two] = [0, 1].map(|row| instances["data"][row].clone());
    assert_eq!((&one["tenant"], &one["state"], &two["state"]), (&two["tenant"], &json!("ready"), &json!("ready")));
    let audit = site.cli(&["audit"]);
    let made =
        audit["data"].as_array().unwrap().iter().find(|entry| entry["action"] == "binding.create").unwrap().clone();
    assert_eq!((&made["actor"], &made["detail"]["identity"]["user"]["user_id"]), (&json!(broker), &json!("anna")));

    expect(sm.delete("one", "inference-shared").await, 200);
    assert_eq!(ask(&second["credentials"]).await, ended());
    expect(sm.delete("one", "inference-shared").await, 410);
    expect(sm.get("one").await, 404);
    expect(sm.put("one", &order(next.context("one", "sub"))).await, 422);
    expect(sm.get("two").await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn orders_in_parallel_and_orders_that_wait() {
    let site = Site::start(&["--no-model"]);
    let (sm, broker) = Manager::register(&site, &["--any-subaccount", "--signature", "off"]).await;
    let context = json!({ "platform": "service-manager", "subaccount_id": "sub" });
    // A platform that hears nothing sends the same again.
    let asked = sm.order("inference-shared", context.clone(), json!({}));
    let put = || sm.put("one", &asked);
    let (a, b, c, d, e, f, g, h) = tokio::join!(put(), put(), put(), put(), put(), put(), put(), put());
    let mut statuses = [a, b, c, d, e, f, g, h].map(|reply| reply.status);
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 200, 201]);
    assert_eq!(site.cli(&["project", "list"])["data"].as_array().unwrap().len(), 1);

    // By order: in progress until somebody fulfils it.
    let dedicated = sm.order("inference-dedicated", context.clone(), json!({ "model": "m", "replicas": 2 }));
    let at_once = sm.send(Method::PUT, "/v2/service_instances/two", &dedicated).await;
    assert_eq!(expect(at_once, 422)["error"], "AsyncRequired");
    let operation = text(&expect(sm.put("two", &dedicated).await, 202)["operation"]);
    let poll = format!("two/last_operation?operation={operation}&{}", sm.ids("inference-dedicated"));
    assert_eq!(expect(sm.get(&poll).await, 200)["state"], "in progress");
    let bind = json!({ "service_id": dedicated["service_id"], "plan_id": dedicated["plan_id"] });
    assert_eq!(expect(sm.bind("two", "b1", &bind).await, 422)["error"], "ConcurrencyError");
    assert_eq!(site.cli(&["broker", "operations"])["data"][0]["id"], json!(operation));
    site.cli(&["broker", "fulfil", &operation, "--reason", "h1/r01 is theirs"]);
    assert_eq!(expect(sm.get(&poll).await, 200)["state"], "succeeded");
    expect(sm.bind("two", "b1", &bind).await, 201);
    // Refused, and told why.
    let second = text(&expect(sm.put("three", &dedicated).await, 202)["operation"]);
    site.cli(&["broker", "refuse", &second, "--reason", "no capacity before March"]);
    let failed = expect(sm.get(&format!("three/last_operation?operation={second}")).await, 200);
    assert_eq!((&failed["state"], &failed["description"]), (&json!("failed"), &json!("no capacity before March")));
    expect(sm.delete("three", "inference-dedicated").await, 200);
    // A DELETE that overtakes its PUT wins.
    expect(sm.delete("four", "inference-shared").await, 410);
    expect(sm.put("four", &asked).await, 422);
    assert_eq!(site.cli(&["project", "list"])["data"].as_array().unwrap().len(), 2);

    // Nobody proves anything by a header that no proxy was configured for.
    let by_certificate = ["broker", "update", &broker, "--certificate-subject", "CN=service-manager,O=SAP"];
    site.cli(&by_certificate);
    for header in ["x-client-subject", "x-forwarded-client-cert", "ssl-client-subject-dn"] {
        let headers = [(header, "CN=service-manager,O=SAP"), ("x-broker-api-version", "2.14")];
        assert_eq!(Client::new().get(&site.path("/osb/v2/catalog"), &headers).await.status, 401);
    }
    let removed = site.run(&["broker", "remove", &broker]);
    assert!(removed.status.success());
    assert_eq!(site.cli(&["broker", "list"])["data"][0]["removed"], true);
}

/// Seconds for each file. Longer by hand: `HOHEIT_TEST_OPENAPI_SECONDS=600`.
const SECONDS: &str = "20";

/// The official file knows neither 412, which the specification demands where the version is missing, nor 401 for all calls; its
/// own head says that the specification is the authority. They are added where they are missing.
fn with_what_the_specification_adds(official: &str) -> String {
    let mut parts = official.split("\n      responses:\n");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str("\n      responses:\n");
        for status in ["401", "412"] {
            if !part.contains(&format!("        '{status}':\n")) {
                out.push_str(&format!("        '{status}':\n          description: as the specification says\n"));
            }
        }
        out.push_str(part);
    }
    out
}

/// And with what a platform knows from the catalog, where the file says only "a string" or "an object": ids of ours, and no
/// parameters. Otherwise nearly every request that is made from it names a service that nobody has.
fn with_our_catalog(official: &str, sm: &Manager) -> String {
    let plans: Vec<_> = sm.service()["plans"].as_array().unwrap().iter().map(|plan| plan["id"].clone()).collect();
    let mut out = String::new();
    for (last, line) in std::iter::once("").chain(official.lines()).zip(official.lines()) {
        let indent = &line[..line.len() - line.trim_start().len()];
        let (line, more) = match (last.trim(), line.trim()) {
            ("service_id:", "type: string") => {
                (line.to_owned(), format!("{indent}enum: {}\n", json!([sm.service()["id"]])))
            }
            ("plan_id:", "type: string") => (line.to_owned(), format!("{indent}enum: {}\n", json!(plans))),
            ("organization_guid:" | "space_guid:", "type: string") => {
                (line.to_owned(), format!("{indent}minLength: 1\n"))
            }
            ("parameters:", "$ref: '#/components/schemas/Object'") => {
                (format!("{indent}type: object"), format!("{indent}maxProperties: 0\n"))
            }
            _ => (line.to_owned(), String::new()),
        };
        out.push_str(&format!("{line}\n{more}"));
    }
    out
}

/// No 5xx, and no status that the official file does not know, whatever is asked: as it is, and with our catalog in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_that_the_official_file_suggests_is_answered_as_it_does_not_say() {
    let program = root().join(".xtask/openapi/bin/schemathesis");
    let official = root().join("../shared/data/osb/openapi.yaml");
    if !here(&program) {
        return;
    }
    let Ok(official) = std::fs::read_to_string(&official) else {
        return eprintln!(
            "skipped: {} is not here; it is the specification's file and not ours to copy",
            official.display()
        );
    };
    let site = Site::start(&["--no-model"]);
    // Customers by a member that every order must have.
    let rules = [
        "--any-subaccount",
        "--tenant-key",
        "organization_guid",
        "--signature",
        "off",
        "--instances-max",
        "100000",
        "--tenants-max",
        "10000",
    ];
    let (sm, _) = Manager::register(&site, &rules).await;
    let (plain, ours) = (site.scratch("official.yaml"), site.scratch("with-our-catalog.yaml"));
    let official = with_what_the_specification_adds(&official);
    std::fs::write(&plain, &official).unwrap();
    std::fs::write(&ours, with_our_catalog(&official, &sm)).unwrap();
    let checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";
    let seconds = std::env::var("HOHEIT_TEST_OPENAPI_SECONDS").unwrap_or_else(|_| SECONDS.to_owned());
    for (file, least) in [(plain, 100), (ours, 100)] {
        let mut command = Command::new(&program);
        command
            .arg("run")
            .arg(&file)
            .args(["--url", &sm.osb, "--header", &format!("Authorization: {}", sm.authorization)])
            .args(["--header", "X-Broker-API-Version: 2.14"])
            .args([
                "--phases",
                "coverage,fuzzing,stateful",
                "--checks",
                checks,
                "--max-time",
                &seconds,
                "--max-examples",
                "20",
                "--generation-deterministic",
            ])
            .args(["--warnings", "off", "--no-color", "--continue-on-failure"])
            .current_dir(site.scratch(""));
        for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
            command.env_remove(name);
        }
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && said.contains("No issues found"), "{}: {said}", file.display());
        let generated = said.lines().find_map(|line| line.trim().split_once(" generated")?.0.parse::<u32>().ok());
        assert!(generated.is_some_and(|count| count > least), "too few requests to mean anything:\n{said}");
        println!("{}: {} requests", file.display(), generated.unwrap_or_default());
    }
    assert_ne!(site.cli(&["project", "list"])["data"], json!([]), "not one order was good");
    let errors: Vec<_> = site.log().lines().filter(|line| line.contains("ERROR")).map(str::to_owned).collect();
    assert!(errors.is_empty(), "{errors:#?}");
}
