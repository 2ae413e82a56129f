//! A small site to test with: every function makes one thing, told apart by a number.

use store::{ControlToken, ShippedReceipt};
use types::audit::AuditEntry;
use types::snapshot::{Endpoint, Engine, EngineKind, Key, Limits, Price, PriceBook, Project, Rule, Tenant};
use types::{
    AuditId, Country, DataClass, EndpointFacts, EndpointId, EngineId, IncarnationId, KeyId, MicroEur, ProjectId,
    ReceiptId, Retention, RuleId, TenantId, TokenId, UnixMillis,
};

/// Different for every call in this process.
pub fn entry(action: &str) -> AuditEntry {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    AuditEntry {
        id: AuditId(number.into()),
        at: UnixMillis(1_790_000_000_000),
        actor: "operator".to_owned(),
        action: action.to_owned(),
        object: format!("object {number}"),
        tenant: None,
        detail: "{\"name\":\"Müller & Söhne\"}".to_owned(),
    }
}

pub fn tenant(n: u128) -> Tenant {
    Tenant { id: TenantId(n), name: format!("tenant {n}"), budget: Some(MicroEur(5_000_000)) }
}

pub fn project(n: u128, tenant: u128) -> Project {
    Project {
        id: ProjectId(n),
        tenant: TenantId(tenant),
        name: format!("project {n}"),
        class: DataClass::Confidential,
        country: Some(Country::DE),
        budget: None,
        limits: Limits { requests_per_minute: Some(u32::MAX), tokens_per_minute: Some(90_000) },
        commitment_key: "ab".repeat(32),
    }
}

pub fn key(n: u128, project: u128) -> Key {
    Key {
        id: KeyId(n),
        project: ProjectId(project),
        name: format!("key {n}"),
        secret_hash: "cd".repeat(32),
        revoked: false,
        expires_at: None,
        budget: Some(MicroEur(1)),
        limits: Limits::default(),
    }
}

pub fn endpoint(n: u128) -> Endpoint {
    Endpoint {
        id: EndpointId(n),
        model: "nano".to_owned(),
        facts: EndpointFacts {
            country: Country::DE,
            site: "muc-1".to_owned(),
            operator: "Hoheit".to_owned(),
            provider: "Hoheit".to_owned(),
            jurisdiction: Country::DE,
            retention: Retention::None,
            attestation: "none".to_owned(),
        },
        weights: None,
        context_length: 4096,
        output_tokens_max: 1024,
        created_at: UnixMillis(1_790_000_000_000),
    }
}

pub fn engine(n: u128) -> Engine {
    Engine {
        id: EngineId(n),
        endpoint: EndpointId(0),
        url: format!("http://127.0.0.1:{n}"),
        kind: EngineKind::Vllm,
        model_alias: Some("nano-fp8".to_owned()),
        credential: None,
        cordoned: false,
        slots: 7,
    }
}

pub fn rule(n: u128, tenant: Option<u128>) -> Rule {
    let text = "forbid (principal, action, resource);".to_owned();
    Rule { id: RuleId(n), tenant: tenant.map(TenantId), name: format!("rule {n}"), text }
}

pub fn prices(version: u64) -> PriceBook {
    let (input, cached_input, output) = (MicroEur(100_000), MicroEur(50_000), MicroEur(400_000));
    PriceBook { version, prices: vec![Price { model: "*".to_owned(), input, cached_input, output }] }
}

pub fn token(n: u128, tenant: Option<u128>) -> ControlToken {
    ControlToken {
        id: TokenId(n),
        name: format!("token {n}"),
        role: "auditor".to_owned(),
        tenant: tenant.map(TenantId),
        secret_hash: "ef".repeat(32),
        revoked: false,
        expires_at: Some(UnixMillis(1_800_000_000_000)),
    }
}

/// The n-th receipt of a gateway's boot, all of tenant 1; journal places are even, as if intents lay between.
pub fn receipt(inc: u128, n: u64) -> ShippedReceipt {
    let id = (inc << 64) | u128::from(n);
    let mut leaf = [0; 32];
    leaf[..16].copy_from_slice(&id.to_be_bytes());
    ShippedReceipt {
        id: ReceiptId(id),
        tenant: TenantId(1),
        project: ProjectId(1),
        key: KeyId(1),
        inc: IncarnationId(inc),
        journal_seq: 2 * n,
        chain_seq: n,
        received_at: UnixMillis(1_795_996_799_999),
        month: UnixMillis(1_795_996_799_999).month(),
        cost: MicroEur(7),
        outcome: "completed".to_owned(),
        signing_input: format!("header.claims-{inc}-{n}"),
        leaf,
    }
}
