//! One gateway with its engines, tenants and keys, all on loopback and in a temporary folder.

use crate::disk::GatedDisk;
use crate::switch::{Away, Switch};
use bytes::Bytes;
use gateway::listen::{Lanes, start};
use gateway::record::{Record, decode};
use gateway::shelf::Shelf;
use gateway::{Clock, Gateway, Limits, Parts, RoutingOptions, SystemClock};
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use ledger::hash::Hash;
use ledger::key::SigningKey;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use store::tiles::TileFiles;
use store::{ReceiptFilter, Store};
use twin::engine::ScriptedEngine;
use types::snapshot::*;
use types::*;

pub const MODEL: &str = "scripted";
pub const PEPPER: [u8; 32] = [7; 32];
const SECRET: &str = "abcdefghjkmnpqrstvwxyz0123456789abcdefghjkmnpqrstvwx";

/// What a test may set; everything else is the same in all.
pub struct Setup {
    pub snapshot: Snapshot,
    pub limits: Limits,
    pub routing: RoutingOptions,
    pub journal: journal::Options,
    pub clock: Arc<dyn Clock>,
    /// The gateway's name; each has a journal of its own.
    pub name: &'static str,
    pub sharing: gateway::Sharing,
    /// Takes the store away from the gateway; the test itself still reads it.
    pub away: Away,
    /// Starts from the snapshot that an earlier boot left.
    pub on_a_disk: bool,
    pub journal_folder: Option<&'static str>,
}

/// How long a test waits for what must happen by itself: far longer than it takes, far shorter than a runner's limit.
const PATIENCE: Duration = Duration::from_secs(20);

/// The machine's clock with a monotonic time that stands still: buckets do not refill while a test counts them.
pub struct StoppedClock(SystemClock);

impl StoppedClock {
    pub fn new() -> Self {
        StoppedClock(SystemClock::start())
    }
}

impl Clock for StoppedClock {
    fn now(&self) -> UnixMillis {
        self.0.now()
    }

    fn monotonic_millis(&self) -> u64 {
        1
    }

    fn random(&self, bytes: &mut [u8]) {
        self.0.random(bytes);
    }
}

/// The machine's clock, which a test sets.
pub struct HandClock {
    clock: SystemClock,
    wall: AtomicI64,
    both: AtomicI64,
}

impl HandClock {
    pub fn start() -> Self {
        HandClock { clock: SystemClock::start(), wall: AtomicI64::new(0), both: AtomicI64::new(0) }
    }

    /// Time goes by.
    pub fn advance(&self, millis: i64) {
        self.both.fetch_add(millis, Ordering::Relaxed);
    }

    /// Somebody sets the wall clock, so far from what is right.
    pub fn set_wall(&self, millis: i64) {
        self.wall.store(millis, Ordering::Relaxed);
    }
}

impl Clock for HandClock {
    fn now(&self) -> UnixMillis {
        let set = self.wall.load(Ordering::Relaxed) + self.both.load(Ordering::Relaxed);
        UnixMillis(self.clock.now().0 + set)
    }

    fn monotonic_millis(&self) -> u64 {
        self.clock.monotonic_millis() + self.both.load(Ordering::Relaxed) as u64
    }

    fn random(&self, bytes: &mut [u8]) {
        self.clock.random(bytes);
    }
}

pub const TENANT: TenantId = TenantId(1);
pub const OTHER_TENANT: TenantId = TenantId(2);
pub const PROJECT: ProjectId = ProjectId(11);
pub const OTHER_PROJECT: ProjectId = ProjectId(12);
pub const KEY: KeyId = KeyId(21);
pub const OTHER_KEY: KeyId = KeyId(22);

impl Setup {
    /// Two tenants with a project and a key each; engines are added.
    pub fn new() -> Self {
        let tenant = |id| Tenant { id, name: id.to_string(), budget: None };
        let project = |id, tenant| Project {
            id,
            tenant,
            name: "p".to_owned(),
            class: DataClass::Internal,
            country: None,
            budget: None,
            limits: types::snapshot::Limits::default(),
            commitment_key: "11".repeat(32),
        };
        let key = |id, project| Key {
            id,
            project,
            name: "k".to_owned(),
            secret_hash: secret_hash(SECRET),
            revoked: false,
            expires_at: None,
            budget: None,
            limits: types::snapshot::Limits::default(),
        };
        let price = Price {
            model: "*".to_owned(),
            input: MicroEur(500_000),
            cached_input: MicroEur(100_000),
            output: MicroEur(2_000_000),
        };
        Setup {
            snapshot: Snapshot {
                version: 1,
                site: "test".to_owned(),
                tenants: vec![tenant(TENANT), tenant(OTHER_TENANT)],
                projects: vec![project(PROJECT, TENANT), project(OTHER_PROJECT, OTHER_TENANT)],
                keys: vec![key(KEY, PROJECT), key(OTHER_KEY, OTHER_PROJECT)],
                endpoints: Vec::new(),
                engines: Vec::new(),
                rules: Vec::new(),
                price_book: PriceBook { version: 1, prices: vec![price] },
            },
            limits: Limits::default(),
            routing: RoutingOptions::default(),
            journal: journal::Options { segment_bytes: 1 << 20, low_water_bytes: 0, ..Default::default() },
            clock: Arc::new(SystemClock::start()),
            name: "test",
            sharing: gateway::Sharing::Whole,
            away: Away::default(),
            on_a_disk: false,
            journal_folder: None,
        }
    }

    pub fn away(mut self, away: &Away) -> Self {
        self.away = away.clone();
        self
    }

    pub fn on_a_disk(mut self) -> Self {
        self.on_a_disk = true;
        self
    }

    pub fn sharing(mut self, sharing: gateway::Sharing) -> Self {
        self.sharing = sharing;
        self
    }

    /// Another gateway over the same store.
    pub fn named(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    /// Another journal, also under the same name.
    pub fn journal_in(mut self, folder: &'static str) -> Self {
        self.journal_folder = Some(folder);
        self
    }

    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Keeps the journal on a disk that the test holds.
    pub fn disk(mut self, disk: &GatedDisk) -> Self {
        self.journal.disk = Arc::new(disk.clone());
        self
    }

    pub fn journal(mut self, edit: impl FnOnce(&mut journal::Options)) -> Self {
        edit(&mut self.journal);
        self
    }

    pub fn stop_the_clock(mut self) -> Self {
        self.clock = Arc::new(StoppedClock::new());
        self
    }

    /// Adds an engine; equal countries share an endpoint.
    pub fn engine(mut self, url: &str, country: &str) -> Self {
        let country: Country = country.parse().unwrap();
        let known = self.snapshot.endpoints.iter().find(|endpoint| endpoint.facts.country == country);
        let endpoint = match known {
            Some(endpoint) => endpoint.id,
            None => {
                let id = EndpointId(31 + self.snapshot.endpoints.len() as u128);
                self.snapshot.endpoints.push(Endpoint {
                    id,
                    model: MODEL.to_owned(),
                    facts: EndpointFacts {
                        country,
                        site: format!("site-{country}"),
                        operator: "operator".to_owned(),
                        provider: "provider".to_owned(),
                        jurisdiction: country,
                        retention: Retention::None,
                        attestation: "none".to_owned(),
                    },
                    weights: None,
                    context_length: 8_192,
                    output_tokens_max: 64,
                    created_at: UnixMillis(0),
                });
                id
            }
        };
        self.snapshot.engines.push(Engine {
            id: EngineId(41 + self.snapshot.engines.len() as u128),
            endpoint,
            url: url.to_owned(),
            // Reports running usage, as the twin does, and has no cache salt.
            kind: EngineKind::Sglang,
            model_alias: None,
            credential: None,
            cordoned: false,
            slots: SLOTS_USUAL,
        });
        self
    }

    pub fn edit(mut self, edit: impl FnOnce(&mut Snapshot)) -> Self {
        edit(&mut self.snapshot);
        self
    }

    pub fn limits(mut self, edit: impl FnOnce(&mut Limits)) -> Self {
        edit(&mut self.limits);
        self
    }

    pub async fn start(self) -> World {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        self.start_in(folder).await
    }

    /// Starts in a folder that an earlier world left.
    pub async fn start_in(self, folder: Arc<tempfile::TempDir>) -> World {
        let url = format!("sqlite://{}", folder.path().join("db").display());
        let store = Store::open(&url).await.unwrap();
        let shelf: Arc<dyn Shelf> = match Arc::strong_count(&self.away) {
            1 => Arc::new(store.clone()),
            _ => Arc::new(Switch::new(store.clone(), &url, self.away).await),
        };
        let snapshot_file = folder.path().join(format!("snapshot-{}", self.name));
        let snapshot = match self.on_a_disk {
            true => std::fs::read(&snapshot_file).unwrap(),
            false => signed(self.snapshot, self.clock.now()),
        };
        let tiles = TileFiles::open(folder.path().join("log")).unwrap();
        let gateway = Gateway::open(Parts {
            name: self.name.to_owned(),
            journal_dir: journal_dir(&folder, self.journal_folder.unwrap_or(self.name)),
            journal: self.journal,
            store: shelf,
            tiles,
            receipt_key: Arc::new(SigningKey::from_seed(&[3; 32]).unwrap()),
            pepper: PEPPER,
            clock: self.clock.clone(),
            limits: self.limits,
            routing: self.routing,
            snapshot,
            snapshot_key: snapshot_key().public(),
            snapshot_file: Some(snapshot_file),
            sharing: self.sharing,
        })
        .await
        .unwrap();
        let shipper = tokio::spawn(gateway::ship(gateway.clone()));
        let tender = tokio::spawn(gateway::tend(gateway.clone()));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let fallback: gateway::listen::Fallback = Arc::new(|_| {
            Box::pin(async { Response::new(gateway::listen::foreign(Full::new(Bytes::from_static(b"fallback")))) })
        });
        let lanes = start(gateway.clone(), listener, 1, tokio::runtime::Handle::current(), fallback).unwrap();
        let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
        World { folder, store, gateway, shipper, tender, lanes, url, acknowledged: Mutex::default(), client }
    }
}

pub fn snapshot_key() -> SigningKey {
    SigningKey::from_seed(&[5; 32]).unwrap()
}

/// How long a test's snapshots may be served.
pub const SNAPSHOT_TTL_MILLIS: i64 = 3_600_000;

/// A snapshot as a controller issues it.
pub fn signed(snapshot: Snapshot, now: UnixMillis) -> Vec<u8> {
    let expires_at = UnixMillis(now.0 + SNAPSHOT_TTL_MILLIS);
    ledger::snapshot::sign(&Issued { issued_at: now, expires_at, snapshot }, &snapshot_key())
}

fn journal_dir(folder: &tempfile::TempDir, name: &str) -> PathBuf {
    let dir = folder.path().join(if name == "test" { "journal" } else { name });
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

fn secret_hash(secret: &str) -> String {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &PEPPER);
    ledger::hash::hex(aws_lc_rs::hmac::sign(&key, secret.as_bytes()).as_ref())
}

pub fn bearer(key: KeyId) -> String {
    format!("Bearer hk_{}_{SECRET}", key.digits())
}

pub struct World {
    pub folder: Arc<tempfile::TempDir>,
    pub store: Store,
    pub gateway: Arc<Gateway>,
    shipper: tokio::task::JoinHandle<()>,
    tender: tokio::task::JoinHandle<()>,
    lanes: Lanes,
    pub url: String,
    /// Receipts that answers named.
    acknowledged: Mutex<BTreeSet<String>>,
    pub client: hyper_util::client::legacy::Client<hyper_util::client::legacy::connect::HttpConnector, Full<Bytes>>,
}

/// A response, read whole.
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {:?}", self.body))
    }

    pub fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    pub fn receipt(&self) -> String {
        self.headers.get("hoheit-receipt").expect("a receipt").to_str().unwrap().to_owned()
    }

    /// The data of a stream's events.
    pub fn events(&self) -> Vec<String> {
        let text = std::str::from_utf8(&self.body).unwrap();
        text.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).map(str::to_owned).collect()
    }
}

pub fn chat(more: Value) -> Value {
    let mut body = json!({"model": MODEL, "messages": [{"role": "user", "content": "hello there"}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

impl World {
    pub fn request(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Full::new(body)).unwrap()
    }

    pub async fn send(&self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        let response = self.client.request(request).await.unwrap();
        if let Some(receipt) = response.headers().get("hoheit-receipt") {
            self.acknowledged.lock().unwrap().insert(receipt.to_str().unwrap().to_owned());
        }
        response
    }

    pub async fn read(response: Response<Incoming>) -> Reply {
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Reply { status: head.status.as_u16(), headers: head.headers, body }
    }

    pub async fn post_with(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
        Self::read(self.send(self.request(Method::POST, path, headers, body.into())).await).await
    }

    /// A chat request with the first tenant's key.
    pub async fn chat(&self, more: Value) -> Reply {
        self.post_with("/v1/chat/completions", &[("authorization", &bearer(KEY))], chat(more).to_string()).await
    }

    pub async fn get(&self, path: &str, key: KeyId) -> Reply {
        let request = self.request(Method::GET, path, &[("authorization", &bearer(key))], Bytes::new());
        Self::read(self.send(request).await).await
    }

    /// Requests that wait for a slot.
    pub fn waiting(&self) -> usize {
        self.gateway.waiting().iter().sum()
    }

    /// Waits until every request is closed, ships, and returns all receipts in the order of their chains.
    pub async fn settle(&self) -> Vec<ReceiptClaims> {
        let shipped = async {
            while self.gateway.open_requests() > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            self.gateway.wait_shipped().await;
        };
        if tokio::time::timeout(PATIENCE, shipped).await.is_err() {
            panic!("{} requests are open, or receipts were fixed and never shipped", self.gateway.open_requests());
        }
        let mut receipts = Vec::new();
        for tenant in [TENANT, OTHER_TENANT] {
            let filter = ReceiptFilter { tenant, project: None, after: None, limit: 10_000 };
            for row in self.store.receipts(&filter).await.unwrap() {
                let leaf = ledger::receipt::leaf(&row.signing_input);
                receipts.push((ledger::receipt::claims_of(&row.signing_input).unwrap(), leaf));
            }
        }
        receipts.sort_by_key(|(claims, _)| (claims.sub, claims.inc, claims.seq));
        assert_gapless(&receipts);
        let ids: BTreeSet<String> = receipts.iter().map(|(claims, _)| claims.jti.to_string()).collect();
        let lost: Vec<String> = self.acknowledged.lock().unwrap().difference(&ids).cloned().collect();
        assert!(lost.is_empty(), "answers named receipts that are nowhere: {lost:?}");
        receipts.into_iter().map(|(claims, _)| claims).collect()
    }

    /// Stops cleanly and returns all receipts.
    pub async fn receipts(self) -> Vec<ReceiptClaims> {
        let claims = self.settle().await;
        self.stop().await;
        claims
    }

    /// Stops cleanly and holds everything against everything: every promise of the journal has its one receipt, and what
    /// receipts say of usage is what these engines counted for the same request.
    pub async fn audit(self, engines: &[&ScriptedEngine]) -> Vec<ReceiptClaims> {
        let claims = self.settle().await;
        let folder = self.folder.clone();
        self.stop().await;
        assert_promises_are_kept(&folder, &claims);
        let attempts: Vec<_> = engines.iter().flat_map(|engine| engine.requests()).collect();
        for receipt in &claims {
            let id = receipt.jti.to_string();
            let of: Vec<_> = attempts.iter().filter(|it| it.header("x-request-id") == Some(id.as_str())).collect();
            let (input, output) = (receipt.usage.input, receipt.usage.output);
            match (receipt.usage_source, receipt.outcome) {
                (UsageSource::Engine, _) => {
                    let same = |it: &&twin::engine::Request| (it.counted.input, it.counted.output) == (input, output);
                    assert!(of.iter().any(same), "nobody counted this: {receipt:?} {of:?}");
                }
                // What was on its way when somebody left, or broke in its middle, was not read.
                (UsageSource::EngineRunning, _) => {
                    let read = |it: &&twin::engine::Request| it.counted.input == input && it.counted.output >= output;
                    assert!(of.iter().any(read), "more than was counted: {receipt:?} {of:?}");
                }
                (UsageSource::None, _) => assert_eq!((input, output, receipt.cost_micro_eur.0), (0, 0, 0)),
                (UsageSource::Estimated | UsageSource::Watermark, _) => {}
            }
        }
        claims
    }

    /// The page that Prometheus reads, without what the controller adds.
    pub fn metrics(&self) -> String {
        let mut registry = prometheus_client::registry::Registry::default();
        self.gateway.metrics.register(&mut registry);
        registry.register_collector(Box::new(gateway::Gauges::of(&self.gateway)));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }

    /// The value of one line of that page.
    pub fn metric(&self, line: &str) -> u64 {
        let page = self.metrics();
        let value = page.lines().find_map(|it| it.strip_prefix(line)?.strip_prefix(' '));
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{line}: {page}"))
    }

    /// Stops cleanly.
    pub async fn stop(self) {
        self.gateway.drain();
        let World { lanes, gateway, shipper, tender, store, .. } = self;
        tokio::task::spawn_blocking(move || lanes.stop()).await.unwrap();
        tokio::task::spawn_blocking(move || gateway.close_journal()).await.unwrap();
        shipper.await.unwrap();
        tender.abort();
        store.close().await;
    }

    /// Stops without a store to ship to: what is in the journal stays there.
    pub async fn abandon(self) {
        self.gateway.drain();
        let World { lanes, gateway, shipper, tender, .. } = self;
        tokio::task::spawn_blocking(move || lanes.stop()).await.unwrap();
        tokio::task::spawn_blocking(move || gateway.close_journal()).await.unwrap();
        shipper.abort();
        tender.abort();
    }

    /// Dies as it stands: what is not in the journal now never will be.
    pub async fn crash(self) {
        let World { lanes, gateway, shipper, tender, store, .. } = self;
        shipper.abort();
        tender.abort();
        tokio::task::spawn_blocking(move || gateway.close_journal()).await.unwrap();
        tokio::task::spawn_blocking(move || lanes.stop()).await.unwrap();
        store.close().await;
    }
}

/// Every intent that the journal still holds has its receipt, and no request has two there.
fn assert_promises_are_kept(folder: &tempfile::TempDir, receipts: &[ReceiptClaims]) {
    let options = journal::Options { segment_bytes: 1 << 20, low_water_bytes: 0, ..Default::default() };
    let (journal, recovered) = journal::Journal::open(&journal_dir(folder, "test"), [0xff; 16], options).unwrap();
    let mut written = BTreeSet::new();
    for record in recovered.records() {
        let id = match decode(&record.unwrap().payload).unwrap() {
            Record::Intent(intent) => intent.draft.jti,
            Record::Receipt(receipt) => {
                assert!(written.insert(receipt.id), "the journal holds two receipts of {}", receipt.id);
                receipt.id
            }
            Record::Watermark(watermark) => watermark.receipt,
        };
        assert!(receipts.iter().any(|it| it.jti == id), "{id} was promised and has no receipt");
    }
    journal.close().unwrap();
}

/// Exactly one receipt per id; chains count from 1 and each receipt names the leaf of the one before.
fn assert_gapless(receipts: &[(ReceiptClaims, Hash)]) {
    let mut ids: Vec<_> = receipts.iter().map(|(claims, _)| claims.jti).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), receipts.len(), "a request has two receipts");
    let mut ends: BTreeMap<_, (u64, Hash)> = BTreeMap::new();
    for (claims, leaf) in receipts {
        let end = ends.entry((claims.sub, claims.inc)).or_insert((0, Hash([0; 32])));
        assert_eq!(claims.seq, end.0 + 1, "a gap in the chain of {}", claims.sub);
        assert_eq!(claims.prev, end.1.b64url(), "receipt {} of {} names another before it", claims.seq, claims.sub);
        *end = (claims.seq, *leaf);
    }
}
