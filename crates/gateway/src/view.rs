//! The snapshot as the gateway reads it: indexed, policy compiled, keys decoded. Immutable; a new snapshot makes a new
//! view and is swapped in whole, so a request sees one version from its first byte to its last.
//!
//! What moves (scopes, replicas) is not in here but referenced from here, and survives the swap.

use crate::fields::Operation;
use crate::fleet::{Fleet, Fleets, Seats};
use crate::limits::MODEL_NAME_BYTES_MAX;
use crate::queue::{Queue, Queues};
use crate::receipt::Prepared;
use crate::replica::{Replica, Replicas};
use crate::scope::{Scope, ScopeId, Scopes};
use policy::{Bundle, Decision, Question};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use types::receipt::ServedBy;
use types::snapshot::{Endpoint, EngineKind, Key, Price, Project};
use types::{Country, DataClass, EngineId, KeyId, MicroEur, Month, Snapshot, TenantId};

pub struct View {
    pub version: u64,
    pub site: Arc<str>,
    pub policy: Bundle,
    pub policy_digest: Arc<str>,
    pub price_book: types::snapshot::PriceBook,
    pub price_book_digest: Arc<str>,
    /// What a receipt says before the model is known.
    pub no_model: Arc<str>,
    keys: HashMap<KeyId, Arc<KeyEntry>>,
    /// By name, sorted for `/v1/models`.
    models: std::collections::BTreeMap<String, ModelEntry>,
    /// Engines that take no new requests and may come back.
    cordoned: HashSet<EngineId>,
    verdicts: RwLock<HashMap<(KeyId, DataClass, u32), Arc<Verdict>>>,
}

/// A key with everything that admission reads about its owner.
pub struct KeyEntry {
    pub key: Key,
    pub secret_hash: [u8; 32],
    pub project: Project,
    pub tenant: TenantId,
    pub commitment_key: aws_lc_rs::hmac::Key,
    /// One per tenant, so that no tenant can time another's prefix cache; unlinkable to the tenant's id.
    pub cache_salt: String,
    /// The same for routing: prefixes of two tenants never have a hash in common.
    pub prefix_seed: u64,
    pub scope_tenant: Arc<Scope>,
    pub scope_project: Arc<Scope>,
    pub scope_key: Arc<Scope>,
}

pub struct ModelEntry {
    index: u32,
    pub name: String,
    /// Cut to [`MODEL_NAME_BYTES_MAX`].
    pub name_in_receipts: Arc<str>,
    pub endpoints: Vec<Arc<EndpointEntry>>,
}

pub struct EndpointEntry {
    pub endpoint: Endpoint,
    pub replicas: Vec<Arc<Replica>>,
    pub fleet: Arc<Fleet>,
    /// The same replicas by their slots in the fleet.
    pub seats: Seats,
    /// The model's: where requests wait when all replicas are full.
    pub queue: Arc<Queue>,
}

/// What policy says of one key, class and model: decided once per snapshot.
pub struct Verdict {
    /// Endpoints that may serve it, each with the rules that permit.
    pub permitted: Vec<(Arc<EndpointEntry>, Arc<[String]>)>,
    /// Why the others may not.
    pub refused: Vec<(Arc<EndpointEntry>, Decision)>,
    /// The replicas of the permitted endpoints, by the place of the endpoint and their slot.
    offers: Vec<Vec<Option<Offer>>>,
    /// Every one of them is ours, and fits its answer to its context by itself.
    pub embedded_only: bool,
}

/// A replica: the place of its endpoint among the permitted ones, and its slot there.
pub type Seat = (usize, u32);

/// A replica that may serve, and what receipts say of it: made once, shared by all of its requests.
pub struct Offer {
    pub replica: Arc<Replica>,
    pub rules: Arc<[String]>,
    pub served_by: Arc<ServedBy>,
    /// By operation, made with the first request.
    prepared: [OnceLock<Arc<Prepared>>; Operation::ALL.len()],
}

impl Offer {
    pub fn prepared(&self, operation: Operation, make: impl FnOnce() -> Prepared) -> Arc<Prepared> {
        self.prepared[operation as usize].get_or_init(|| Arc::new(make())).clone()
    }
}

impl Verdict {
    pub fn offer(&self, (endpoint, slot): Seat) -> Option<&Offer> {
        self.offers.get(endpoint)?.get(slot as usize)?.as_ref()
    }

    /// Where a replica sits, if it was there when this was decided.
    pub fn seat_of(&self, engine: EngineId) -> Option<Seat> {
        let is = |offer: &Option<Offer>| offer.as_ref().is_some_and(|offer| offer.replica.engine.id == engine);
        let mut places = self.offers.iter().enumerate();
        places.find_map(|(at, offers)| Some((at, u32::try_from(offers.iter().position(is)?).ok()?)))
    }

    /// True if nothing but the project's country keeps this from being served: replicas are left, and every one of them
    /// stands abroad. An endpoint at home whose replicas were all taken away or cordoned is no place to be served.
    pub fn only_abroad(&self) -> bool {
        let staffed = |entry: &EndpointEntry| !entry.replicas.is_empty();
        let home = self.permitted.iter().any(|(entry, _)| staffed(entry));
        let mut rest = self.refused.iter().filter(|(entry, _)| self.permitted.is_empty() || staffed(entry)).peekable();
        !home && rest.peek().is_some() && rest.all(|(_, decision)| !decision.residency)
    }
}

/// Why a snapshot cannot be served. The old view stays; the operator sees it in the log and in readiness.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    #[error("the policy bundle of snapshot {version} does not compile: {source}")]
    Policy { version: u64, source: policy::PolicyError },
    #[error("snapshot {version} is damaged: {what}")]
    Damaged { version: u64, what: String },
}

/// What outlives a snapshot.
pub struct Moving {
    pub scopes: Scopes,
    pub replicas: Replicas,
    pub fleets: Fleets,
    pub queues: Queues,
}

impl Moving {
    pub fn new(routing: routing::router::Options, queues: Queues) -> Moving {
        let (scopes, replicas) = (Scopes::default(), Replicas::default());
        Moving { scopes, replicas, fleets: Fleets::new(routing), queues }
    }
}

/// Where a new scope's spent money of this month comes from.
pub type SpentBefore<'a> = &'a dyn Fn(ScopeId) -> MicroEur;

impl View {
    pub fn build(
        snapshot: Snapshot,
        moving: &Moving,
        pepper: &aws_lc_rs::hmac::Key,
        month: Month,
        spent: SpentBefore<'_>,
        now: u64,
    ) -> Result<View, ViewError> {
        let version = snapshot.version;
        let damaged = |what: String| ViewError::Damaged { version, what };
        let policy = Bundle::compile(&snapshot.rules).map_err(|source| ViewError::Policy { version, source })?;
        let tenants: HashMap<_, _> = snapshot.tenants.into_iter().map(|tenant| (tenant.id, tenant)).collect();
        let projects: HashMap<_, _> = snapshot.projects.into_iter().map(|project| (project.id, project)).collect();
        let mut keys = HashMap::with_capacity(snapshot.keys.len());
        for key in snapshot.keys {
            let project =
                projects.get(&key.project).ok_or_else(|| damaged(format!("key {} has no project", key.id)))?.clone();
            let tenant =
                tenants.get(&project.tenant).ok_or_else(|| damaged(format!("project {} has no tenant", project.id)))?;
            let scope = |id| moving.scopes.get(id, month, || spent(id));
            let scope_tenant = scope(ScopeId::Tenant(tenant.id));
            scope_tenant.set_limits(tenant.budget, Default::default(), now);
            let scope_project = scope(ScopeId::Project(project.id));
            scope_project.set_limits(project.budget, project.limits, now);
            let scope_key = scope(ScopeId::Key(key.id));
            scope_key.set_limits(key.budget, key.limits, now);
            let secret_hash = unhex(&key.secret_hash).ok_or_else(|| damaged(format!("the hash of key {}", key.id)))?;
            let commitment = unhex(&project.commitment_key)
                .ok_or_else(|| damaged(format!("the commitment key of project {}", project.id)))?;
            let entry = KeyEntry {
                secret_hash,
                tenant: tenant.id,
                commitment_key: aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &commitment),
                cache_salt: cache_salt(pepper, tenant.id),
                prefix_seed: prefix_seed(pepper, tenant.id),
                scope_tenant,
                scope_project,
                scope_key,
                project,
                key,
            };
            keys.insert(entry.key.id, Arc::new(entry));
        }
        let of_endpoint = |it: &Endpoint| (it.id, (moving.queues.get(&it.model), moving.fleets.get(it.id)));
        let places: HashMap<_, _> = snapshot.endpoints.iter().map(of_endpoint).collect();
        let cordoned = snapshot.engines.iter().filter(|engine| engine.cordoned).map(|engine| engine.id).collect();
        let mut replicas_by_endpoint: HashMap<_, Vec<_>> = HashMap::new();
        for engine in snapshot.engines {
            if !engine.cordoned {
                let (queue, fleet) = places
                    .get(&engine.endpoint)
                    .ok_or_else(|| damaged(format!("engine {} has no endpoint", engine.id)))?;
                let replica = moving
                    .replicas
                    .get(&engine, queue, fleet)
                    .map_err(|error| damaged(format!("the URL of engine {}: {error}", engine.id)))?;
                replicas_by_endpoint.entry(engine.endpoint).or_default().push(replica);
            }
        }
        let mut models = std::collections::BTreeMap::new();
        for endpoint in snapshot.endpoints {
            let index = models.len() as u32;
            let replicas = replicas_by_endpoint.remove(&endpoint.id).unwrap_or_default();
            let fleet = moving.fleets.get(endpoint.id);
            let seats = fleet.seat(version, &replicas);
            let queue = moving.queues.get(&endpoint.model);
            models
                .entry(endpoint.model.clone())
                .or_insert_with(|| ModelEntry {
                    index,
                    name: endpoint.model.clone(),
                    name_in_receipts: cut(&endpoint.model, MODEL_NAME_BYTES_MAX).into(),
                    endpoints: Vec::new(),
                })
                .endpoints
                .push(Arc::new(EndpointEntry { endpoint, replicas, fleet, seats, queue }));
        }
        Ok(View {
            version,
            site: snapshot.site.into(),
            policy_digest: policy.digest().into(),
            policy,
            no_model: Arc::from(""),
            price_book_digest: metering::digest(&snapshot.price_book).into(),
            price_book: snapshot.price_book,
            keys,
            models,
            cordoned,
            verdicts: RwLock::default(),
        })
    }

    pub fn key(&self, id: KeyId) -> Option<&Arc<KeyEntry>> {
        self.keys.get(&id)
    }

    pub fn keys(&self) -> impl Iterator<Item = &Arc<KeyEntry>> {
        self.keys.values()
    }

    pub fn model(&self, name: &str) -> Option<&ModelEntry> {
        self.models.get(name)
    }

    pub fn models(&self) -> impl Iterator<Item = &ModelEntry> {
        self.models.values()
    }

    /// Forgets of engines and endpoints what neither this view, the one in force, nor any request needs.
    pub fn forget_others(&self, moving: &Moving) {
        // Its replicas are held by it.
        moving.replicas.forget(|engine| self.cordoned.contains(&engine));
        moving.fleets.forget();
    }

    pub fn replicas(&self) -> impl Iterator<Item = &Arc<Replica>> {
        self.models.values().flat_map(|model| &model.endpoints).flat_map(|entry| &entry.replicas)
    }

    pub fn price(&self, model: &str) -> Option<&Price> {
        metering::price_for(&self.price_book, model)
    }

    /// Which endpoints of a model may serve this key's data of this class. Decisions depend on nothing else, so each is
    /// made once per snapshot; there are keys x 4 classes x models of them at most.
    pub fn verdict(&self, key: &KeyEntry, class: DataClass, model: &ModelEntry) -> Arc<Verdict> {
        let place = (key.key.id, class, model.index);
        if let Some(verdict) = self.verdicts.read().unwrap_or_else(PoisonError::into_inner).get(&place) {
            return verdict.clone();
        }
        let mut verdict =
            Verdict { permitted: Vec::new(), refused: Vec::new(), offers: Vec::new(), embedded_only: true };
        for entry in &model.endpoints {
            let decision = self.policy.decide(&question(key, class, key.project.country, &entry.endpoint));
            if decision.permit {
                let rules: Arc<[String]> = decision.rules.into();
                let offer = |seat: &Option<Arc<Replica>>| seat.as_ref().map(|it| offer(entry, &rules, it));
                verdict.offers.push(entry.seats.iter().map(offer).collect());
                verdict.embedded_only &= entry.replicas.iter().all(|it| it.engine.kind == EngineKind::Embedded);
                verdict.permitted.push((entry.clone(), rules));
            } else {
                verdict.refused.push((entry.clone(), decision));
            }
        }
        let verdict = Arc::new(verdict);
        self.verdicts.write().unwrap_or_else(PoisonError::into_inner).insert(place, verdict.clone());
        verdict
    }
}

pub fn offer(entry: &EndpointEntry, rules: &Arc<[String]>, replica: &Arc<Replica>) -> Offer {
    let facts = &entry.endpoint.facts;
    let served_by = ServedBy {
        endpoint: entry.endpoint.id,
        weights: entry.endpoint.weights.clone(),
        provider: facts.provider.clone(),
        jurisdiction: facts.jurisdiction,
        operator: facts.operator.clone(),
        site: facts.site.clone(),
        country: facts.country,
        machine: replica.engine.id.to_string(),
        retention: facts.retention,
        attestation: facts.attestation.clone(),
    };
    Offer {
        replica: replica.clone(),
        rules: rules.clone(),
        served_by: Arc::new(served_by),
        prepared: Default::default(),
    }
}

fn question<'a>(key: &KeyEntry, class: DataClass, country: Option<Country>, endpoint: &'a Endpoint) -> Question<'a> {
    Question {
        tenant: key.tenant,
        project: key.project.id,
        key: key.key.id,
        class,
        country,
        model: &endpoint.model,
        endpoint: endpoint.id,
        facts: &endpoint.facts,
    }
}

fn cache_salt(pepper: &aws_lc_rs::hmac::Key, tenant: TenantId) -> String {
    let tag = aws_lc_rs::hmac::sign(pepper, format!("cache-salt/{tenant}").as_bytes());
    tag.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn prefix_seed(pepper: &aws_lc_rs::hmac::Key, tenant: TenantId) -> u64 {
    let tag = aws_lc_rs::hmac::sign(pepper, format!("prefix-seed/{tenant}").as_bytes());
    tag.as_ref()[..8].iter().fold(0, |seed, &byte| seed << 8 | u64::from(byte))
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; 32];
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * place..2 * place + 2], 16).ok()?;
    }
    Some(bytes)
}

/// The longest prefix of at most `limit` bytes that does not split a character.
fn cut(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}
