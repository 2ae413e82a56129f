//! The gateway on its host, with its tenants; what survives its crashes is its disk and the vault.

use crate::clock::VirtualClock;
use crate::dice::{Dice, SharedDice};
use crate::disk::VirtualDisk;
use crate::engines;
use crate::patient::Patient;
use crate::trace::Trace;
use crate::vault::Vault;
use gateway::dial::{Dial, Line};
use gateway::listen::{Lane, foreign};
use gateway::{Gateway, Limits, Parts};
use http::Response;
use http_body_util::Empty;
use journal::Crank;
use ledger::key::SigningKey;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use store::tiles::TileFiles;
use tokio::sync::watch;
use turmoil::net::{TcpListener, TcpStream};
use types::snapshot::*;
use types::*;

pub const HOST: &str = "gateway";
pub const PORT: u16 = 80;
pub const MODEL: &str = "m";
pub const JOURNAL: &str = "/journal";
const PEPPER: [u8; 32] = [7; 32];
const SECRET: &str = "abcdefghjkmnpqrstvwxyz0123456789abcdefghjkmnpqrstvwx";

/// Engines and the country that each stands in.
pub const ENGINES: [(&str, &str); 3] = [("engine-0", "DE"), ("engine-1", "DE"), ("engine-2", "FR")];

/// One who asks.
#[derive(Debug, Clone, Copy)]
pub struct Account {
    pub tenant: TenantId,
    pub project: ProjectId,
    pub key: KeyId,
    /// Only engines in this country may serve it.
    pub country: Option<&'static str>,
    /// Of its tenant, project and key.
    pub budgets: [Option<MicroEur>; 3],
}

/// Free, bound to a country, and poor: in its tenant, its project, its key. An answer of 20 tokens costs about 50 µ€ and
/// holds about 400 while it runs: a run of a thousand requests exhausts each of these, some after a crash.
pub fn accounts() -> [Account; 5] {
    let account = |number: u128, country, budgets| Account {
        tenant: TenantId(number),
        project: ProjectId(10 + number),
        key: KeyId(20 + number),
        country,
        budgets,
    };
    let money = |micro_eur| Some(MicroEur(micro_eur));
    [
        account(1, None, [None; 3]),
        account(2, Some("DE"), [None; 3]),
        account(3, None, [money(1_000), None, None]),
        account(4, None, [None, money(1_300), None]),
        account(5, Some("DE"), [None, None, money(1_600)]),
    ]
}

pub fn engine_id(number: usize) -> EngineId {
    EngineId(41 + number as u128)
}

pub fn bearer(key: KeyId) -> String {
    format!("Bearer hk_{}_{SECRET}", key.digits())
}

/// Small enough that every one of them is met.
pub fn limits() -> Limits {
    Limits {
        connect_timeout: Duration::from_millis(150),
        first_token_timeout: Duration::from_millis(400),
        token_timeout: Duration::from_millis(300),
        total_timeout: Duration::from_millis(2_000),
        header_timeout: Duration::from_millis(1_500),
        body_timeout: Duration::from_millis(800),
        write_stall_timeout: Duration::from_millis(800),
        watermark_tokens: 4,
        watermark_interval: Duration::from_millis(20),
        ..Limits::default()
    }
}

/// A run fills some thirty of them.
pub const SEGMENT_BYTES: u64 = 64 << 10;

/// The longest time between two turns of the journal.
pub const COMMIT_MILLIS_MAX: u64 = 6;

#[derive(Clone)]
pub struct Site {
    pub disk: VirtualDisk,
    pub vault: Vault,
    pub trace: Trace,
    dice: SharedDice,
    status: Arc<Mutex<Status>>,
    tiles: TileFiles,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Status {
    /// The process has ended by itself: its disk failed, or it could not start.
    pub ended: bool,
    /// Nobody asks any more: say when all is settled.
    pub settle: bool,
    pub settled: bool,
    pub forked: bool,
    pub starts: u64,
}

impl Site {
    pub fn new(dice: Dice, vault: Vault, trace: Trace, tiles: TileFiles) -> Self {
        Site { disk: VirtualDisk::default(), vault, trace, dice: SharedDice::of(dice), status: Arc::default(), tiles }
    }

    pub fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The host: one process from its start to its end.
    pub async fn serve(self) -> turmoil::Result {
        {
            let mut status = self.status();
            (status.ended, status.settled) = (false, false);
            status.starts += 1;
        }
        let crank = Crank::default();
        tokio::task::spawn_local(turn(crank.clone(), self.dice.throw(Dice::fork)));
        let gateway = match Gateway::open(self.parts(crank)).await {
            Ok(gateway) => gateway,
            Err(error) => {
                self.trace.note(format_args!("gateway does not start: {error}"));
                self.status().ended = true;
                return std::future::pending().await;
            }
        };
        self.trace.note(format_args!("gateway serves"));
        tokio::task::spawn_local(gateway::ship(gateway.clone()));
        tokio::task::spawn_local(gateway::tend(gateway.clone()));
        tokio::task::spawn_local(self.clone().settle(gateway.clone()));
        let (_stop, stopped) = watch::channel(false);
        let lane = Lane::new(gateway.clone(), dial(), tokio::runtime::Handle::current(), nothing_else());
        let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
        loop {
            let (socket, _) = listener.accept().await?;
            let (lane, stopped) = (lane.clone(), stopped.clone());
            let socket = Patient::new(socket, gateway.limits.write_stall_timeout);
            tokio::task::spawn_local(async move { lane.serve(socket, stopped).await });
        }
    }

    async fn settle(self, gateway: Arc<Gateway>) {
        loop {
            tokio::time::sleep(Duration::from_millis(10)).await;
            self.status().forked |= gateway.readiness() == gateway::Readiness::Forked && !self.status().ended;
            // What earlier boots left is shipped behind the start, and counts too.
            if self.status().settle && gateway.open_requests() == 0 && gateway.joined() {
                gateway.wait_shipped().await;
                self.status().settled = true;
            }
        }
    }

    fn parts(&self, crank: Crank) -> Parts {
        let status = self.status.clone();
        let trace = self.trace.clone();
        Parts {
            name: "gateway-1".to_owned(),
            journal_dir: PathBuf::from(JOURNAL),
            journal: journal::Options {
                segment_bytes: SEGMENT_BYTES,
                low_water_bytes: 1,
                queue_bytes_max: 4 << 20,
                disk: Arc::new(self.disk.clone()),
                on_fatal: Arc::new(move |fatal| {
                    trace.note(format_args!("gateway ends: {fatal}"));
                    status.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
                }),
                crank: Some(crank),
            },
            store: Arc::new(self.vault.clone()),
            tiles: self.tiles.clone(),
            receipt_key: Arc::new(SigningKey::from_seed(&[3; 32]).expect("a seed of 32 bytes is a key")),
            pepper: PEPPER,
            clock: Arc::new(VirtualClock::new(SharedDice::of(self.dice.throw(Dice::fork)))),
            limits: limits(),
            routing: Default::default(),
            snapshot: issued(),
            snapshot_key: snapshot_key().public(),
            snapshot_file: None,
            sharing: gateway::Sharing::Parts,
        }
    }
}

/// The disk's time: how long a commit takes.
async fn turn(crank: Crank, mut dice: Dice) {
    loop {
        tokio::time::sleep(Duration::from_millis(dice.between(1, COMMIT_MILLIS_MAX))).await;
        crank.turn();
    }
}

fn dial() -> Dial {
    let dial = |uri: http::Uri| -> gateway::dial::Dialling {
        Box::pin(async move {
            let host = uri.host().unwrap_or_default().to_owned();
            Ok(Box::new(TcpStream::connect((host, engines::PORT)).await?) as Box<dyn Line>)
        })
    };
    Dial::given(&limits(), Arc::new(dial))
}

fn nothing_else() -> gateway::listen::Fallback {
    Arc::new(|_| Box::pin(async { Response::new(foreign(Empty::new())) }))
}

fn snapshot_key() -> SigningKey {
    SigningKey::from_seed(&[5; 32]).expect("a seed of 32 bytes is a key")
}

/// Good for longer than any run.
fn issued() -> Vec<u8> {
    let (issued_at, expires_at) = (UnixMillis(0), UnixMillis(i64::MAX));
    ledger::snapshot::sign(&Issued { issued_at, expires_at, snapshot: snapshot() }, &snapshot_key())
}

pub fn snapshot() -> Snapshot {
    let pepper = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &PEPPER);
    let secret_hash = ledger::hash::hex(aws_lc_rs::hmac::sign(&pepper, SECRET.as_bytes()).as_ref());
    let no_limits = || types::snapshot::Limits::default();
    let country = |country: &str| country.parse().expect("two letters");
    let tenants = |it: &Account| Tenant { id: it.tenant, name: it.tenant.to_string(), budget: it.budgets[0] };
    let projects = |it: &Account| Project {
        id: it.project,
        tenant: it.tenant,
        name: "p".to_owned(),
        class: DataClass::Internal,
        country: it.country.map(country),
        budget: it.budgets[1],
        limits: no_limits(),
        commitment_key: "11".repeat(32),
    };
    let keys = |it: &Account| Key {
        id: it.key,
        project: it.project,
        name: "k".to_owned(),
        secret_hash: secret_hash.clone(),
        revoked: false,
        expires_at: None,
        budget: it.budgets[2],
        limits: no_limits(),
    };
    let endpoint = |number: usize| EndpointId(31 + number as u128);
    let endpoints = ENGINES.iter().enumerate().map(|(number, (_, at))| Endpoint {
        id: endpoint(number),
        model: MODEL.to_owned(),
        facts: EndpointFacts {
            country: country(at),
            site: format!("site-{number}"),
            operator: "operator".to_owned(),
            provider: "provider".to_owned(),
            jurisdiction: country(at),
            retention: Retention::None,
            attestation: "none".to_owned(),
        },
        weights: None,
        context_length: 8_192,
        output_tokens_max: 64,
        created_at: UnixMillis(0),
    });
    let engines = ENGINES.iter().enumerate().map(|(number, (name, _))| types::snapshot::Engine {
        id: engine_id(number),
        endpoint: endpoint(number),
        url: format!("http://{name}"),
        kind: EngineKind::Sglang,
        model_alias: None,
        credential: None,
        cordoned: false,
        slots: types::snapshot::SLOTS_USUAL,
    });
    let price = Price {
        model: "*".to_owned(),
        input: MicroEur(500_000),
        cached_input: MicroEur(100_000),
        output: MicroEur(2_000_000),
    };
    let accounts = accounts();
    Snapshot {
        version: 1,
        site: "simulated".to_owned(),
        tenants: accounts.iter().map(tenants).collect(),
        projects: accounts.iter().map(projects).collect(),
        keys: accounts.iter().map(keys).collect(),
        endpoints: endpoints.collect(),
        engines: engines.collect(),
        rules: Vec::new(),
        price_book: PriceBook { version: 1, prices: vec![price] },
    }
}
