//! A site in a temporary folder: the store, the log's files, a controller with a counted clock, and a client.

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use controller::seal::SealerParts;
use controller::{Controller, ControllerParts, Issuer, Pepper, Readiness, SNAPSHOT_TTL, secret};
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt;
use ledger::key::SigningKey;
use ledger::log::LogSigner;
use serde_json::{Value, json};
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use store::tiles::TileFiles;
use store::{ShippedReceipt, Store};
use tempfile::TempDir;
use tower::ServiceExt;
use types::*;

/// 2026-11-15T00:00:00Z.
pub const START: i64 = 1_794_700_800_000;

pub struct Site {
    pub dir: TempDir,
    pub controller: Controller,
    pub router: Router,
    /// Another process on the same store.
    pub beside: Router,
    pub store: Store,
    pub tiles: TileFiles,
    pub admin: String,
    pub pepper: Pepper,
    pub clock: Arc<AtomicI64>,
    pub published: Arc<Mutex<Vec<Arc<Snapshot>>>>,
    pub refuse_publication: Arc<Mutex<Option<String>>>,
    pub signer: Arc<LogSigner>,
    pub destroyed: Arc<Destroyed>,
    inc: IncarnationId,
    shipped: AtomicU64,
}

/// What was told to destroy what projects stored, and why it does not.
#[derive(Default)]
pub struct Destroyed {
    pub projects: Mutex<Vec<ProjectId>>,
    pub refuse: Mutex<Option<String>>,
}

impl controller::OnDeprovision for Destroyed {
    fn on_deprovision(&self, project: ProjectId) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>> {
        Box::pin(async move {
            self.projects.lock().unwrap().push(project);
            self.refuse.lock().unwrap().clone().map_or(Ok(()), Err)
        })
    }
}

/// Two machines in one rack.
pub const SITE_FILE: &str = include_str!("../../../../sites/small/site.toml");

/// An answer, whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Bytes,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|_| panic!("not JSON: {:?}", self.bytes))
    }

    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", String::from_utf8_lossy(&self.bytes));
        if self.bytes.is_empty() { Value::Null } else { self.json() }
    }
}

pub fn log_signer() -> LogSigner {
    LogSigner::new("log.hoheit.invalid/test/2026h2", SigningKey::from_seed(&[2; 32]).unwrap()).unwrap()
}

impl Site {
    /// Applies the small site; answers one of its machines.
    pub async fn machine(&self) -> MachineId {
        let _applied =
            self.ask(&self.admin, "PUT", "/api/v1/site", Some(json!({ "text": SITE_FILE }))).await.expect(200);
        self.store.machines(None, None, 1).await.unwrap()[0].machine.id
    }

    /// The order of that machine's receipt, and its first task.
    pub async fn order(&self) -> (OrderId, TaskId) {
        use controller::reconcile::{Reconciler, ReconcilerParts, Wants, orders::NoRobots};
        self.machine().await;
        let clock = self.clock.clone();
        let parts = ReconcilerParts {
            store: self.store.clone(),
            site: "test".to_owned(),
            key: Arc::new(SigningKey::from_seed(&[1; 32]).unwrap()),
            clock: Arc::new(move || UnixMillis(clock.load(Ordering::Relaxed))),
            random: Arc::new(|bytes| getrandom::fill(bytes).unwrap()),
            rules: Default::default(),
            drains: Default::default(),
            orders: Default::default(),
            wants: Wants::default(),
            robots: Arc::new(NoRobots),
            counts: Default::default(),
            fault: None,
        };
        Reconciler::start(parts).await.unwrap().turn().await.unwrap();
        let order = self.store.orders(None, None, 1).await.unwrap().remove(0).order;
        (order.id, order.tasks[0].id)
    }

    pub async fn start() -> Site {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("sqlite://{}", dir.path().join("hoheit.db").display())).await.unwrap();
        let tiles = TileFiles::open(dir.path().join("log")).unwrap();
        let pepper = Pepper::new(&[3; 32]);
        let admin = secret::admin_token(&[4; 32]);
        let clock = Arc::new(AtomicI64::new(START));
        let published = Arc::new(Mutex::new(Vec::new()));
        let refuse_publication = Arc::new(Mutex::new(None));
        let signer = Arc::new(log_signer());
        let destroyed = Arc::new(Destroyed::default());
        let make = || {
            let issuer = Issuer::new(Arc::new(SigningKey::from_seed(&[5; 32]).unwrap()), SNAPSHOT_TTL);
            let public = issuer.public();
            let (wall, seen, refusal) = (clock.clone(), published.clone(), refuse_publication.clone());
            Controller::new(ControllerParts {
                store: store.clone(),
                tiles: tiles.clone(),
                receipt_key: Arc::new(SigningKey::from_seed(&[1; 32]).unwrap()),
                log_vkey: signer.vkey().to_string(),
                site: "test".to_owned(),
                pepper: pepper.clone(),
                admin_token_hash: pepper.hash(&admin),
                issuer,
                on_publish: Arc::new(move |signed| match refusal.lock().unwrap().clone() {
                    Some(why) => Err(why),
                    None => {
                        let issued = ledger::snapshot::open(signed, &public).unwrap();
                        seen.lock().unwrap().push(Arc::new(issued.snapshot));
                        Ok(())
                    }
                }),
                clock: Arc::new(move || UnixMillis(wall.fetch_add(1, Ordering::Relaxed))),
                random: Arc::new(|bytes| getrandom::fill(bytes).unwrap()),
                ready: Arc::new(|| Readiness::Ready),
                metrics: Arc::new(|| "# EOF\n".to_owned()),
                bell: Default::default(),
                agent_token: Some(Arc::new(|| {
                    let mut secret = [0; 32];
                    getrandom::fill(&mut secret).unwrap();
                    let token = agent::token::Token::new(secret, [9; 32]);
                    (token.text(), token.hash())
                })),
                broker: controller::BrokerParts {
                    public_url: Arc::new(|| "https://ai.example".to_owned()),
                    certificate_header: Some(http::HeaderName::from_static("x-client-subject")),
                    on_deprovision: destroyed.clone(),
                },
            })
        };
        let (controller, beside) = (make(), make().router());
        let inc = IncarnationId(1);
        store.incarnation_begin("gateway-1", inc, UnixMillis(START)).await.unwrap();
        Site {
            router: controller.router(),
            beside,
            dir,
            controller,
            store,
            tiles,
            admin,
            pepper,
            clock,
            published,
            refuse_publication,
            signer,
            destroyed,
            inc,
            shipped: AtomicU64::new(0),
        }
    }

    pub fn sealer(&self) -> SealerParts {
        SealerParts {
            store: self.store.clone(),
            tiles: self.tiles.clone(),
            signer: self.signer.clone(),
            progress: Default::default(),
            fault: None,
        }
    }

    pub async fn raw(&self, method: &str, path: &str, authorization: Option<&str>, body: impl Into<Body>) -> Reply {
        let mut request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, "application/json");
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let response = self.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Reply { status: parts.status, headers: parts.headers, bytes }
    }

    pub async fn ask(&self, token: &str, method: &str, path: &str, body: Option<Value>) -> Reply {
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        self.raw(method, path, Some(&format!("Bearer {token}")), body).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.ask(&self.admin, "GET", path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.ask(&self.admin, "POST", path, Some(body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Reply {
        self.ask(&self.admin, "PATCH", path, Some(body)).await
    }

    pub async fn tenant(&self, name: &str) -> String {
        text(&self.post("/api/v1/tenants", json!({ "name": name })).await.expect(201), "id")
    }

    pub async fn project(&self, tenant: &str) -> String {
        let name = format!("project {}", self.clock.load(Ordering::Relaxed));
        text(&self.post("/api/v1/projects", json!({ "name": name, "tenant": tenant })).await.expect(201), "id")
    }

    pub async fn key(&self, project: &str) -> String {
        text(&self.post("/api/v1/keys", json!({ "project": project })).await.expect(201), "id")
    }

    pub async fn rule(&self, tenant: Option<&str>) -> String {
        let name = format!("rule-{}", self.clock.load(Ordering::Relaxed));
        let body = json!({ "name": name, "tenant": tenant, "text": FORBID });
        text(&self.post("/api/v1/rules", body).await.expect(201), "id")
    }

    pub async fn engine(&self) -> String {
        let mut body = engine();
        body["url"] = json!(format!("http://127.0.0.1:{}", 1_024 + self.clock.load(Ordering::Relaxed) % 60_000));
        text(&self.post("/api/v1/engines", body).await.expect(201), "id")
    }

    /// A token: its id and its text.
    pub async fn token(&self, role: &str, tenant: Option<&str>) -> (String, String) {
        let token =
            self.post("/api/v1/tokens", json!({ "name": "t", "role": role, "tenant": tenant })).await.expect(201);
        (text(&token, "id"), text(&token, "token"))
    }

    /// Ships a receipt, as a gateway would.
    pub async fn receipt(&self, tenant: &str, project: &str, key: &str, cost: i64) -> ReceiptId {
        let seq = self.shipped.fetch_add(1, Ordering::Relaxed) + 1;
        let row = self.shipped(tenant, project, key, cost, seq, None);
        self.store.ship(std::slice::from_ref(&row)).await.unwrap();
        row.id
    }

    /// Ships the receipt of a request that an endpoint of this provider served, as a gateway would.
    pub async fn served(&self, provider: &str, tenant: &str, cost: i64) {
        let by = types::receipt::ServedBy {
            endpoint: EndpointId(1),
            weights: None,
            provider: provider.to_owned(),
            jurisdiction: "US".parse().unwrap(),
            operator: "o".to_owned(),
            site: "s".to_owned(),
            country: "DE".parse().unwrap(),
            machine: EngineId(1).to_string(),
            retention: Retention::None,
            attestation: "none".to_owned(),
        };
        let (project, key) = (ProjectId(1).to_string(), KeyId(1).to_string());
        let seq = self.shipped.fetch_add(1, Ordering::Relaxed) + 1;
        let row = self.shipped(tenant, &project, &key, cost, seq, Some(Arc::new(by)));
        self.store.ship(std::slice::from_ref(&row)).await.unwrap();
    }

    pub async fn receipts(&self, count: u64) {
        let first = self.shipped.fetch_add(count, Ordering::Relaxed) + 1;
        let (tenant, project, key) = (TenantId(1).to_string(), ProjectId(1).to_string(), KeyId(1).to_string());
        let rows: Vec<_> =
            (first..first + count).map(|seq| self.shipped(&tenant, &project, &key, 1, seq, None)).collect();
        self.store.ship(&rows).await.unwrap();
    }

    fn shipped(
        &self,
        tenant: &str,
        project: &str,
        key: &str,
        cost: i64,
        seq: u64,
        served_by: Option<Arc<types::receipt::ServedBy>>,
    ) -> ShippedReceipt {
        let received_at = UnixMillis(START + seq as i64);
        let mut claims = claims(seq);
        claims.sub = tenant.parse().unwrap();
        claims.project = project.parse().unwrap();
        claims.key = key.parse().unwrap();
        claims.cost_micro_eur = MicroEur(cost);
        claims.served_by = served_by;
        let kid = self.controller.parts().receipt_key.kid();
        let signing_input = ledger::receipt::signing_input(&kid, &claims).unwrap().0;
        ShippedReceipt {
            id: claims.jti,
            tenant: claims.sub,
            project: claims.project,
            key: claims.key,
            inc: self.inc,
            journal_seq: seq,
            chain_seq: seq,
            received_at,
            month: received_at.month(),
            cost: claims.cost_micro_eur,
            outcome: claims.outcome.as_str().to_owned(),
            leaf: ledger::receipt::leaf(&signing_input).0,
            signing_input,
        }
    }

    pub async fn audit(&self) -> Vec<Value> {
        self.get("/api/v1/audit?limit=1000").await.expect(200)["data"].as_array().unwrap().clone()
    }

    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot_if_any().unwrap()
    }

    pub fn snapshot_if_any(&self) -> Option<Arc<Snapshot>> {
        self.published.lock().unwrap().last().cloned()
    }
}

pub const FORBID: &str = "forbid (principal, action, resource);";

pub fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}")).to_owned()
}

/// The body that registers an engine.
pub fn engine() -> Value {
    json!({ "url": "http://127.0.0.1:8000", "model": "m", "country": "DE", "operator": "o", "provider": "p",
            "jurisdiction": "DE" })
}

/// The body that publishes a partner's endpoint.
pub fn offer() -> Value {
    json!({ "url": "https://models.partner.example", "model": "partner-large", "country": "DE", "site": "fra1",
            "input_micro_eur": 500_000, "output_micro_eur": 1_500_000 })
}

fn claims(seq: u64) -> ReceiptClaims {
    let at = UnixMillis(START + seq as i64);
    ReceiptClaims {
        iss: "test".into(),
        jti: ReceiptId::from_parts(at, [seq as u8; 10]),
        iat: at.seconds(),
        sub: TenantId(1),
        project: ProjectId(1),
        key: KeyId(1),
        dialect: "openai".into(),
        operation: "chat.completions".into(),
        model: "m".into(),
        served_by: None,
        data_class: DataClass::Internal,
        policy: types::receipt::PolicyClaim { digest: "sha256:00".into(), permit: true, rules: [].into() },
        usage: Usage { input: 1, ..Usage::default() },
        usage_source: UsageSource::Engine,
        price_book: "sha256:00".into(),
        cost_micro_eur: MicroEur(1),
        outcome: Outcome::Completed,
        code: None,
        received_at: at,
        ended_at: at,
        request_commitment: "c".into(),
        answer_commitment: None,
        passages: Default::default(),
        egress: None,
        opening: ledger::hash::sha256(&[&seq.to_be_bytes()]).b64url(),
        inc: IncarnationId(1),
        seq,
        prev: ledger::hash::Hash::ZERO.b64url(),
        intent_inc: None,
    }
}
