//! One gateway with its engines, two tenants, and the partners' shells on a socket of loopback.

pub use crate::world::key_text;
use crate::world::{documents, open, put, secret_hash, signed};
use gateway::inner::Inner;
use gateway::{Clock, Gateway, SystemClock};
use knowledge::{Attributes, Knowledge, NewCollection, NewFile};
use partners::Partners;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use store::Store;
use twin::engine::{Behaviour, Script, ScriptedEngine};
use types::receipt::ReceiptClaims;
use types::snapshot::*;
use types::*;

/// Ids that look as if they had been made in 2026.
const fn id(number: u128) -> u128 {
    1_790_000_000_000 << 80 | number
}

pub const KEY: KeyId = KeyId(id(21));
pub const OTHER_KEY: KeyId = KeyId(id(22));
pub const PROJECT: ProjectId = ProjectId(id(11));
pub const OTHER_PROJECT: ProjectId = ProjectId(id(12));

/// The machine's clock, which a test sets forward.
struct HandClock {
    clock: SystemClock,
    ahead: AtomicI64,
}

impl Clock for HandClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.clock.now().0 + self.ahead.load(Ordering::Relaxed))
    }

    fn monotonic_millis(&self) -> u64 {
        self.clock.monotonic_millis()
    }

    fn random(&self, bytes: &mut [u8]) {
        self.clock.random(bytes);
    }
}

pub struct World {
    _folder: tempfile::TempDir,
    pub gateway: Arc<Gateway>,
    pub store: Store,
    knowledge: Knowledge,
    clock: Arc<HandClock>,
    snapshot: Snapshot,
    pub url: String,
    engines: Vec<ScriptedEngine>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

/// What an engine does for a model of this name.
pub fn model(name: &str, script: impl Into<Script>) -> (String, Script) {
    (name.to_owned(), script.into())
}

/// An engine that answers this text.
pub fn says(text: &str) -> Behaviour {
    Behaviour { text: Some(text.to_owned()), tokens: 1, ..Behaviour::default() }
}

impl World {
    pub async fn start(models: Vec<(String, Script)>) -> World {
        World::with(models, |_| {}).await
    }

    pub async fn with(models: Vec<(String, Script)>, edit: impl FnOnce(&mut Snapshot)) -> World {
        World::of_site([9; 32], models, edit).await
    }

    /// A site with another secret signs other tokens.
    pub async fn of_site(
        token_key: [u8; 32],
        models: Vec<(String, Script)>,
        edit: impl FnOnce(&mut Snapshot),
    ) -> World {
        let folder = tempfile::tempdir().unwrap();
        let mut snapshot = site();
        let mut engines = Vec::new();
        for (name, script) in models {
            let engine = ScriptedEngine::start(script).await.unwrap();
            add(&mut snapshot, &name, &engine.url());
            engines.push(engine);
        }
        edit(&mut snapshot);
        let store = Store::open(&format!("sqlite://{}", folder.path().join("db").display())).await.unwrap();
        put(&store, &snapshot).await;
        let clock = Arc::new(HandClock { clock: SystemClock::start(), ahead: AtomicI64::new(0) });
        let gateway = open(folder.path(), &store, clock.clone(), &snapshot, gateway::Limits::default()).await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (now, random) = (clock.clone(), clock.clone());
        let now: knowledge::Now = Arc::new(move || now.now());
        let random: knowledge::FillRandom = Arc::new(move |bytes| random.random(bytes));
        let knowledge = documents(&store, now.clone(), random.clone());
        let partners = Partners::new(partners::Parts {
            inner: Inner::new(gateway.clone()),
            store: store.clone(),
            knowledge: knowledge.clone(),
            settings: partners::Settings::default(),
            web: None,
            site: "test".to_owned(),
            public_url: url.clone(),
            token_key,
            clock: now,
            random,
        });
        let router = partners.router();
        let tasks = vec![
            tokio::spawn(gateway::ship(gateway.clone())),
            tokio::spawn(gateway::tend(gateway.clone())),
            tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }),
        ];
        World { _folder: folder, gateway, store, knowledge, clock, snapshot, url, engines, tasks }
    }

    /// The engine of the model with this number, in the order of [`World::start`].
    pub fn engine(&self, number: usize) -> &ScriptedEngine {
        &self.engines[number]
    }

    /// A document in a collection of its own; the collection's id.
    pub async fn document(&self, project: ProjectId, text: &str) -> String {
        let collection = NewCollection { name: "c".to_owned(), ..NewCollection::default() };
        let collection = self.knowledge.collection_create(project, collection).await.unwrap().id;
        let new = NewFile { name: "d.txt".to_owned(), content_type: None, purpose: "assistants".to_owned() };
        let file = self.knowledge.file_put(project, new, text.as_bytes()).await.unwrap().id;
        self.knowledge.attach(project, collection, file, Attributes::default(), None).await.unwrap();
        collection.to_string()
    }

    /// A new snapshot comes into force.
    pub fn publish(&mut self, edit: impl FnOnce(&mut Snapshot)) {
        self.snapshot.version += 1;
        edit(&mut self.snapshot);
        self.gateway.publish(&signed(&self.snapshot, self.clock.now())).unwrap();
    }

    /// Time goes by; the snapshot is renewed, as a controller does it.
    pub fn advance(&mut self, seconds: i64) {
        self.clock.ahead.fetch_add(seconds * 1_000, Ordering::Relaxed);
        self.publish(|_| {});
    }

    /// All receipts of the first tenant, in their order.
    pub async fn receipts(&self) -> Vec<ReceiptClaims> {
        self.gateway.wait_shipped().await;
        let filter = store::ReceiptFilter { tenant: TenantId(1), project: None, after: None, limit: 1_000 };
        let stored = self.store.receipts(&filter).await.unwrap();
        let claims = stored.iter().map(|it| ledger::receipt::claims_of(&it.signing_input).unwrap());
        let mut claims: Vec<ReceiptClaims> = claims.collect();
        claims.sort_by_key(|claims| claims.seq);
        claims
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

fn site() -> Snapshot {
    let tenant = |id: u128| Tenant { id: TenantId(id), name: format!("tenant {id}"), budget: None };
    let project = |id, tenant: u128| Project {
        id,
        tenant: TenantId(tenant),
        name: "p".to_owned(),
        class: DataClass::Internal,
        country: None,
        budget: None,
        limits: Limits::default(),
        commitment_key: "11".repeat(32),
    };
    let key = |id, project| Key {
        id,
        project,
        name: "k".to_owned(),
        secret_hash: secret_hash(),
        revoked: false,
        expires_at: None,
        budget: None,
        limits: Limits::default(),
    };
    let price = Price {
        model: "*".to_owned(),
        input: MicroEur(500_000),
        cached_input: MicroEur(100_000),
        output: MicroEur(2_000_000),
    };
    Snapshot {
        version: 1,
        site: "test".to_owned(),
        tenants: vec![tenant(1), tenant(2)],
        projects: vec![project(PROJECT, 1), project(OTHER_PROJECT, 2)],
        keys: vec![key(KEY, PROJECT), key(OTHER_KEY, OTHER_PROJECT)],
        endpoints: Vec::new(),
        engines: Vec::new(),
        rules: Vec::new(),
        price_book: PriceBook { version: 1, prices: vec![price] },
    }
}

fn add(snapshot: &mut Snapshot, model: &str, url: &str) {
    let number = snapshot.endpoints.len() as u128;
    let country: Country = "DE".parse().unwrap();
    snapshot.endpoints.push(Endpoint {
        id: EndpointId(31 + number),
        model: model.to_owned(),
        facts: EndpointFacts {
            country,
            site: "site".to_owned(),
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
    snapshot.engines.push(Engine {
        id: EngineId(41 + number),
        endpoint: EndpointId(31 + number),
        url: url.to_owned(),
        kind: EngineKind::Sglang,
        model_alias: None,
        credential: None,
        cordoned: false,
        slots: SLOTS_USUAL,
    });
}
