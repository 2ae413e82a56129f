//! One gateway, two customers with a project each, an engine, and the shells.

use axum::body::Body;
use bytes::Bytes;
use gateway::{Gateway, SystemClock};
use http::{HeaderMap, Request};
use http_body_util::BodyExt as _;
use knowledge::{Knowledge, ReaderProgram};
use ledger::key::SigningKey;
use partners::{Partners, Settings};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use store::tiles::TileFiles;
use store::{ReceiptFilter, Store};
use tower::ServiceExt as _;
use twin::engine::{Behaviour, ScriptedEngine};
use types::audit::AuditEntry;
use types::snapshot::*;
use types::*;

pub const MODEL: &str = "scripted";
pub const EMBEDDING: &str = "vectors";
const PEPPER: [u8; 32] = [7; 32];
const SECRET: &str = "abcdefghjkmnpqrstvwxyz0123456789abcdefghjkmnpqrstvwx";
pub const OURS: u128 = 1;
pub const THEIRS: u128 = 2;

pub struct World {
    pub folder: tempfile::TempDir,
    pub store: Store,
    pub gateway: Arc<Gateway>,
    pub partners: Partners,
    pub engine: ScriptedEngine,
    /// Milliseconds that the shells' clock is ahead.
    pub ahead: Arc<AtomicI64>,
    shipper: tokio::task::JoinHandle<()>,
}

pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {:?}", self.body))
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    pub fn receipt(&self) -> String {
        self.headers.get("hoheit-receipt").expect("a receipt").to_str().unwrap().to_owned()
    }

    /// The JSON of a stream's events, without the closing one.
    pub fn events(&self) -> Vec<Value> {
        let text = self.text();
        let data = text.split("\n\n").filter_map(|event| event.strip_prefix("data: "));
        data.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
    }
}

/// What a world may have beside the usual.
#[derive(Default)]
pub struct Setup {
    pub web: Option<Arc<dyn partners::web::WebSearch>>,
    pub rules: Vec<&'static str>,
    pub embedding: bool,
    pub limits: gateway::Limits,
    /// What else stands in the snapshot.
    pub edit: Option<fn(&mut Snapshot)>,
}

impl World {
    pub async fn start(behaviour: Behaviour) -> World {
        World::with(behaviour, Setup::default()).await
    }

    pub async fn with(behaviour: Behaviour, setup: Setup) -> World {
        let engine = ScriptedEngine::start(behaviour).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("sqlite://{}", folder.path().join("db").display())).await.unwrap();
        let clock = Arc::new(SystemClock::start());
        let mut snapshot = snapshot(&engine.url(), &setup);
        if let Some(edit) = setup.edit {
            edit(&mut snapshot);
        }
        put(&store, &snapshot).await;
        let gateway = open(folder.path(), &store, clock, &snapshot, setup.limits.clone()).await;
        let shipper = tokio::spawn(gateway::ship(gateway.clone()));
        let ahead = Arc::new(AtomicI64::new(0));
        let partners = shells(&gateway, &store, &ahead, setup);
        World { folder, store, gateway, partners, engine, ahead, shipper }
    }

    /// Other shells over the same gateway and store, as after a start.
    pub fn again(&self) -> Partners {
        self.again_with(Setup::default())
    }

    pub fn again_with(&self, setup: Setup) -> Partners {
        shells(&self.gateway, &self.store, &self.ahead, setup)
    }

    pub async fn call(&self, of: u128, method: &str, path: &str, body: Value) -> Reply {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.send(of, method, path, &[], body).await
    }

    pub async fn send(&self, of: u128, method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Reply {
        let key = format!("Bearer {}", key_text(KeyId(20 + of)));
        let mut request = Request::builder().method(method).uri(path).header("authorization", key);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.partners.router().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Reply { status: head.status.as_u16(), headers: head.headers, body }
    }

    /// A file uploaded as a form.
    pub async fn upload(&self, of: u128, name: &str, text: &str) -> String {
        let reply = self.upload_as(of, name, text, "assistants").await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()["id"].as_str().unwrap().to_owned()
    }

    pub async fn upload_as(&self, of: u128, name: &str, text: &str, purpose: &str) -> Reply {
        let form = format!(
            "--B\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\n{purpose}\r\n--B\r\n\
             Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: text/plain\r\n\r\n{text}\r\n--B--\r\n"
        );
        self.send(of, "POST", "/v1/files", &[("content-type", "multipart/form-data; boundary=B")], form.into_bytes())
            .await
    }

    /// A collection with one document in it.
    pub async fn document(&self, of: u128, name: &str, text: &str, attributes: Value) -> (String, String) {
        let file = self.upload(of, name, text).await;
        let made = self.call(of, "POST", "/v1/vector_stores", json!({"name": name})).await.json();
        let collection = made["id"].as_str().unwrap().to_owned();
        let path = format!("/v1/vector_stores/{collection}/files");
        let attached = self.call(of, "POST", &path, json!({"file_id": file, "attributes": attributes})).await.json();
        assert_eq!(attached["status"], "completed", "{attached}");
        (collection, file)
    }

    /// All receipts, when all are there, in the order of their chain.
    pub async fn receipts(&self) -> Vec<ReceiptClaims> {
        let shipped = async {
            while self.gateway.open_requests() > 0 {
                tokio::task::yield_now().await;
            }
            self.gateway.wait_shipped().await;
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), shipped).await.unwrap();
        let mut claims: Vec<ReceiptClaims> = Vec::new();
        for tenant in [OURS, THEIRS] {
            let filter = ReceiptFilter { tenant: TenantId(tenant), project: None, after: None, limit: 10_000 };
            for stored in self.store.receipts(&filter).await.unwrap() {
                claims.push(ledger::receipt::claims_of(&stored.signing_input).unwrap());
            }
        }
        claims.sort_by_key(|claims| (claims.sub, claims.seq));
        claims
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.shipper.abort();
    }
}

/// The tenants and projects, which rows of the shells refer to.
pub async fn put(store: &Store, snapshot: &Snapshot) {
    let entry = |number: u128| AuditEntry {
        id: AuditId(number),
        at: UnixMillis(1),
        actor: "test".to_owned(),
        action: "create".to_owned(),
        object: "x".to_owned(),
        tenant: None,
        detail: "{}".to_owned(),
    };
    for (number, tenant) in (1..).zip(&snapshot.tenants) {
        store.tenant_create(tenant, &entry(number)).await.unwrap();
    }
    for (number, project) in (101..).zip(&snapshot.projects) {
        store.project_create(project, &entry(number)).await.unwrap();
    }
}

/// A gateway with its journal and log in this folder.
pub async fn open(
    folder: &Path,
    store: &Store,
    clock: Arc<dyn gateway::Clock>,
    snapshot: &Snapshot,
    limits: gateway::Limits,
) -> Arc<Gateway> {
    let signed = signed(snapshot, gateway::Clock::now(&*clock));
    Gateway::open(gateway::Parts {
        name: "test".to_owned(),
        journal_dir: folder.join("journal"),
        journal: journal::Options { segment_bytes: 1 << 20, low_water_bytes: 0, ..Default::default() },
        store: Arc::new(store.clone()),
        tiles: TileFiles::open(folder.join("log")).unwrap(),
        receipt_key: Arc::new(SigningKey::from_seed(&[3; 32]).unwrap()),
        pepper: PEPPER,
        clock,
        limits,
        routing: gateway::RoutingOptions::default(),
        snapshot: signed,
        snapshot_key: snapshot_key().public(),
        snapshot_file: None,
        sharing: gateway::Sharing::Whole,
    })
    .await
    .unwrap()
}

fn snapshot_key() -> SigningKey {
    SigningKey::from_seed(&[5; 32]).unwrap()
}

/// A snapshot as a controller issues it, for an hour.
pub fn signed(snapshot: &Snapshot, now: UnixMillis) -> Vec<u8> {
    let issued = Issued { issued_at: now, expires_at: UnixMillis(now.0 + 3_600_000), snapshot: snapshot.clone() };
    ledger::snapshot::sign(&issued, &snapshot_key())
}

/// Collections whose child process takes everything for plain text, as the child says it. The real one is tried where the real
/// program runs (`hoheit/tests/it`).
pub fn documents(store: &Store, clock: knowledge::Now, random: knowledge::FillRandom) -> Knowledge {
    let script =
        r#"printf '{"document":{"kind":"text","title":null,"pages":[],"text":"%s"}}' "$(/usr/bin/env tr '\n\r' '  ')""#;
    Knowledge::new(knowledge::Parts {
        store: store.clone(),
        kek: [9; 32],
        clock,
        random,
        reader: ReaderProgram { path: "/bin/sh".into(), args: vec!["-c".to_owned(), script.to_owned()] },
        limits: knowledge::Limits::default(),
    })
}

pub fn key_text(key: KeyId) -> String {
    format!("hk_{}_{SECRET}", key.digits())
}

/// What a snapshot knows of the secret that all keys have here.
pub fn secret_hash() -> String {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &PEPPER);
    ledger::hash::hex(aws_lc_rs::hmac::sign(&key, SECRET.as_bytes()).as_ref())
}

fn shells(gateway: &Arc<Gateway>, store: &Store, ahead: &Arc<AtomicI64>, setup: Setup) -> Partners {
    let clock = Arc::new(SystemClock::start());
    let now = {
        let (clock, ahead) = (clock.clone(), ahead.clone());
        move || UnixMillis(gateway::Clock::now(&*clock).0 + ahead.load(Ordering::Relaxed))
    };
    let random = move |bytes: &mut [u8]| gateway::Clock::random(&*clock, bytes);
    let (now, random): (knowledge::Now, knowledge::FillRandom) = (Arc::new(now), Arc::new(random));
    Partners::new(partners::Parts {
        inner: gateway::inner::Inner::new(gateway.clone()),
        store: store.clone(),
        knowledge: documents(store, now.clone(), random.clone()),
        settings: Settings {
            aliases: vec![("sonar".to_owned(), MODEL.to_owned())],
            embedding: setup.embedding.then(|| EMBEDDING.to_owned()),
        },
        web: setup.web,
        site: "test".to_owned(),
        public_url: "http://test".to_owned(),
        token_key: [1; 32],
        clock: now,
        random,
    })
}

fn snapshot(url: &str, setup: &Setup) -> Snapshot {
    let numbers = [OURS, THEIRS];
    let price = |model: &str, output| Price {
        model: model.to_owned(),
        input: MicroEur(1_000_000),
        cached_input: MicroEur(1_000_000),
        output: MicroEur(output),
    };
    let tenant = |n: u128| Tenant { id: TenantId(n), name: n.to_string(), budget: None };
    let project = |n: u128| Project {
        id: ProjectId(10 + n),
        tenant: TenantId(n),
        name: n.to_string(),
        class: DataClass::Internal,
        country: None,
        budget: None,
        limits: types::snapshot::Limits::default(),
        commitment_key: "11".repeat(32),
    };
    let key = |n: u128| Key {
        id: KeyId(20 + n),
        project: ProjectId(10 + n),
        name: n.to_string(),
        secret_hash: secret_hash(),
        revoked: false,
        expires_at: None,
        budget: None,
        limits: types::snapshot::Limits::default(),
    };
    let models = if setup.embedding { vec![MODEL, EMBEDDING] } else { vec![MODEL] };
    let endpoint = |(n, model): (usize, &&str)| Endpoint {
        id: EndpointId(31 + n as u128),
        model: (*model).to_owned(),
        facts: EndpointFacts {
            country: Country::DE,
            site: "site".to_owned(),
            operator: "operator".to_owned(),
            provider: "provider".to_owned(),
            jurisdiction: Country::DE,
            retention: Retention::None,
            attestation: "none".to_owned(),
        },
        weights: None,
        context_length: 32_768,
        output_tokens_max: 256,
        created_at: UnixMillis(0),
    };
    let engine = |n: usize| Engine {
        id: EngineId(41 + n as u128),
        endpoint: EndpointId(31 + n as u128),
        url: url.to_owned(),
        kind: EngineKind::Sglang,
        model_alias: None,
        credential: None,
        cordoned: false,
        slots: SLOTS_USUAL,
    };
    let rule = |(n, text): (usize, &&str)| Rule {
        id: RuleId(51 + n as u128),
        tenant: None,
        name: format!("rule-{n}"),
        text: (*text).to_owned(),
    };
    Snapshot {
        version: 1,
        site: "test".to_owned(),
        tenants: numbers.map(tenant).to_vec(),
        projects: numbers.map(project).to_vec(),
        keys: numbers.map(key).to_vec(),
        endpoints: models.iter().enumerate().map(endpoint).collect(),
        engines: (0..models.len()).map(engine).collect(),
        rules: setup.rules.iter().enumerate().map(rule).collect(),
        price_book: PriceBook { version: 1, prices: vec![price("*", 2_000_000)] },
    }
}
