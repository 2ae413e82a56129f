//! One tenant, asked for by clients of three dialects at once: OpenAI's, Perplexity's Sonar and SAP AI Core's orchestration, each over
//! plain HTTP as its contract says it (the SDKs themselves are tried in `sdk`, `sonar` and partners' `aicore`).
//!
//! What has to hold of all of them together: one budget, which none of them gets past and which each refuses in its own words; one
//! basis for an invoice, since what the tenant spent is what its receipts say, by the price book; and one chain without a gap.

use crate::client::{Client, Reply};
use crate::site::{Site, text, verify};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use tokio::task::JoinSet;
use twin::engine::{Behaviour, ScriptedEngine};
use types::snapshot::Price;
use types::{MicroEur, ReceiptClaims};

/// Of each dialect at once.
const AT_ONCE: usize = 4;
/// 120 requests of 500 micro-euro and a little.
const BUDGET: MicroEur = MicroEur(60_000);
const BUDGET_EUR: &str = "0.06";
/// Rounds in which a budget is used up that twelve requests of a round use up in ten.
const ROUNDS_MAX: usize = 200;
const PROMPT_TOKENS: u64 = 500;
/// An export takes a tenth of a second, what was answered a second at most.
const EXPORTS_MAX: usize = 200;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Dialect {
    OpenAi,
    Sonar,
    Sap,
}

impl Dialect {
    const ALL: [Dialect; 3] = [Dialect::OpenAi, Dialect::Sonar, Dialect::Sap];

    /// As receipts call it.
    fn name(self) -> &'static str {
        match self {
            Dialect::OpenAi => "openai",
            Dialect::Sonar => "sonar",
            Dialect::Sap => "sap",
        }
    }

    /// What its client shows of an answer.
    fn answer(self, body: &Value) -> &Value {
        match self {
            Dialect::OpenAi | Dialect::Sonar => &body["choices"][0]["message"]["content"],
            Dialect::Sap => &body["final_result"]["choices"][0]["message"]["content"],
        }
    }

    /// That the budget is used up, in the words that its client understands.
    fn refuses(self, reply: &Reply) {
        let error = reply.json()["error"].clone();
        assert_eq!(reply.status, 429, "{self:?}: {error}");
        match self {
            Dialect::OpenAi | Dialect::Sonar => {
                assert_eq!(
                    (&error["code"], &error["type"]),
                    (&json!("budget_exhausted"), &json!("insufficient_quota"))
                );
            }
            Dialect::Sap => {
                assert_eq!((&error["code"], &error["location"]), (&json!(429), &json!("LLM Module")));
                assert!(error["request_id"].is_string() && reply.header("retry-after") == "3600", "{error}");
            }
        }
    }
}

/// A tenant's three clients.
#[derive(Clone)]
struct Clients {
    http: Client,
    url: String,
    key: String,
    /// SAP's: an access token, and where orchestration is deployed.
    token: String,
    deployment: String,
}

impl Clients {
    async fn of(site: &Site, key_id: &str, key: &str) -> Clients {
        let http = Client::new();
        let form = format!("grant_type=client_credentials&client_id={key_id}&client_secret={key}");
        let kind = [("content-type", "application/x-www-form-urlencoded")];
        let granted = http.try_send(http::Method::POST, &site.path("/oauth/token"), &kind, &form).await.unwrap().json();
        let token = text(&granted["access_token"]);
        let bearer = format!("Bearer {token}");
        let sap = [("authorization", bearer.as_str()), ("ai-resource-group", "default")];
        let list = site.path("/v2/lm/deployments?scenarioId=orchestration&status=RUNNING");
        let deployment = text(&http.get(&list, &sap).await.json()["resources"][0]["deploymentUrl"]);
        // The address that the site names is not ours to choose here: its path is.
        let (_, path) = deployment.split_once("/v2/").unwrap();
        let deployment = site.path(&format!("/v2/{path}"));
        Clients { http, url: site.url.clone(), key: key.to_owned(), token, deployment }
    }

    async fn ask(&self, dialect: Dialect) -> Reply {
        let question = json!([{"role": "user", "content": "Wie viele Tage Urlaub gibt es im Jahr?"}]);
        match dialect {
            Dialect::OpenAi => {
                let body = json!({"model": "grounded", "max_tokens": 16, "messages": question});
                self.http.post(&format!("{}/v1/chat/completions", self.url), &self.key, &body).await
            }
            Dialect::Sonar => {
                let body = json!({"model": "sonar", "max_tokens": 16, "messages": question});
                self.http.post(&format!("{}/chat/completions", self.url), &self.key, &body).await
            }
            Dialect::Sap => {
                let templating = json!({
                    "prompt": {"template": [{"role": "user", "content": "{{?question}}"}]},
                    "model": {"name": "grounded", "params": {"max_tokens": 16}},
                });
                let body = json!({
                    "config": {"modules": {"prompt_templating": templating}},
                    "placeholder_values": {"question": question[0]["content"]},
                });
                self.http.post(&format!("{}/v2/completion", self.deployment), &self.token, &body).await
            }
        }
    }

    /// A document that Sonar's answers rest on.
    async fn upload(&self) {
        let authorization = format!("Bearer {}", self.key);
        let form = "--B\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nassistants\r\n--B\r\nContent-Disposition: \
                    form-data; name=\"file\"; filename=\"handbuch.md\"\r\nContent-Type: text/markdown\r\n\r\nAlle haben 30 Tage \
                    Urlaub im Jahr.\r\n--B--\r\n";
        let headers = [("authorization", authorization.as_str()), ("content-type", "multipart/form-data; boundary=B")];
        let url = format!("{}/v1/files", self.url);
        let file = self.http.try_send(http::Method::POST, &url, &headers, form).await.unwrap().json();
        let body = json!({"name": "Personal", "file_ids": [file["id"]]});
        let made = self.http.post(&format!("{}/v1/vector_stores", self.url), &self.key, &body).await.json();
        assert_eq!(made["file_counts"]["completed"], 1, "{made}");
    }
}

fn claims(jwt: &Path) -> ReceiptClaims {
    let jwt = std::fs::read_to_string(jwt).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(jwt.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_dialects_at_once_have_one_budget_one_sum_and_one_chain() {
    let behaviour =
        Behaviour { text: Some("30 Tage [1].".to_owned()), prompt_tokens: Some(PROMPT_TOKENS), ..Behaviour::tokens(1) };
    let engine = ScriptedEngine::start(behaviour).await.unwrap();
    let site = Site::start(&["--no-model", "--alias", "sonar=grounded"]);
    site.engine(&engine.url(), "grounded");
    site.cli(&["price", "set", "grounded", "--input-eur", "1", "--output-eur", "2"]);
    let tenant = text(&site.cli(&["tenant", "create", "Kundin", "--budget-eur", BUDGET_EUR])["id"]);
    let (key_id, key) = site.key(&site.project(&tenant, &[]), &[]);
    let clients = Clients::of(&site, &key_id, &key).await;
    clients.upload().await;

    // All at once, until the budget has room for none of them.
    let (mut answered, mut named) = (BTreeMap::new(), BTreeSet::new());
    let mut rounds = 0;
    loop {
        let mut asking = JoinSet::new();
        for dialect in Dialect::ALL.into_iter().cycle().take(AT_ONCE * Dialect::ALL.len()) {
            let clients = clients.clone();
            asking.spawn(async move { (dialect, clients.ask(dialect).await) });
        }
        let mut refused = 0;
        for (dialect, reply) in asking.join_all().await {
            assert!(named.insert(reply.header("hoheit-receipt").to_owned()), "two requests with one receipt");
            if reply.status == 200 {
                assert_eq!(*dialect.answer(&reply.json()), "30 Tage [1].", "{dialect:?}");
                *answered.entry(dialect).or_insert(0) += 1;
            } else {
                dialect.refuses(&reply);
                refused += 1;
            }
        }
        rounds += 1;
        if refused == AT_ONCE * Dialect::ALL.len() {
            break;
        }
        assert!(rounds < ROUNDS_MAX, "the budget is not used up: {answered:?}");
    }
    assert!(Dialect::ALL.iter().all(|dialect| answered[dialect] >= AT_ONCE), "{answered:?}");

    // One chain: every receipt that an answer named, each once, no gap; one that is missing would show.
    let exported = |folder: &Path| -> Vec<PathBuf> {
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|kind| kind == "jwt")).collect()
    };
    // What was answered a moment ago is still on its way to the store.
    let folder = (0..EXPORTS_MAX)
        .map(|number| site.export(&tenant, &format!("export-{number}")))
        .find(|folder| exported(folder).len() >= named.len())
        .expect("receipts of answers do not come");
    let http = Client::new();
    let jwks = site.scratch("jwks.json");
    std::fs::write(&jwks, http.get(&site.path("/.well-known/jwks.json"), &[]).await.body).unwrap();
    let log_key = http.get(&site.path("/log/vkey"), &[]).await;
    let log_key = std::str::from_utf8(&log_key.body).unwrap().trim().to_owned();
    let check =
        || verify(&["chain", folder.to_str().unwrap(), "--jwks", jwks.to_str().unwrap(), "--log-key", &log_key]);
    let ending = check();
    assert_eq!(ending.code, 0, "{}{}", ending.stdout, ending.stderr);
    let receipts: Vec<ReceiptClaims> = exported(&folder).iter().map(|path| claims(path)).collect();
    assert_eq!(receipts.iter().map(|receipt| receipt.jti.to_string()).collect::<BTreeSet<_>>(), named);
    let places: BTreeSet<u64> = receipts.iter().map(|receipt| receipt.seq).collect();
    assert_eq!(places, (1..=named.len() as u64).collect());
    assert_eq!(receipts.iter().map(|receipt| receipt.inc).collect::<BTreeSet<_>>().len(), 1);

    // One sum: the budget's, the receipts' and the price book's.
    let price = Price {
        model: "grounded".to_owned(),
        input: MicroEur(1_000_000),
        cached_input: MicroEur(1_000_000),
        output: MicroEur(2_000_000),
    };
    let mut by_dialect: BTreeMap<&str, i64> = BTreeMap::new();
    for receipt in &receipts {
        assert_eq!(receipt.cost_micro_eur, metering::rate(&price, &receipt.usage), "{}", receipt.jti);
        *by_dialect.entry(&*receipt.dialect).or_default() += receipt.cost_micro_eur.0;
    }
    let of_one = (PROMPT_TOKENS + 2) as i64;
    for dialect in Dialect::ALL {
        assert_eq!(by_dialect[dialect.name()], answered[&dialect] as i64 * of_one, "{dialect:?}");
    }
    let sum: i64 = by_dialect.values().sum();
    let budgets = site.cli(&["budget", "show", "--tenant", &tenant]);
    let of_tenant = budgets["data"].as_array().unwrap().iter().find(|budget| budget["level"] == "tenant").unwrap();
    assert_eq!((&of_tenant["spent_micro_eur"], &of_tenant["limit_micro_eur"]), (&json!(sum), &json!(BUDGET.0)));
    assert!(sum <= BUDGET.0, "{sum}");

    // The control: without one of them, whichever, it does not hold.
    std::fs::remove_file(folder.join(format!("{}.jwt", receipts[receipts.len() / 2].jti))).unwrap();
    let ending = check();
    assert_eq!(ending.code, 1, "{}{}", ending.stdout, ending.stderr);
}
