//! The one integration binary of policy.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod control;
mod decide;
mod golden;
mod narrow;
mod web;
mod written;

use policy::{Bundle, Decision, Question};
use types::snapshot::Rule;
use types::{Country, DataClass, EndpointFacts, EndpointId, KeyId, ProjectId, Retention, RuleId, TenantId};

pub const OURS: TenantId = TenantId(1);
pub const THEIRS: TenantId = TenantId(2);

pub fn country(code: &str) -> Country {
    code.parse().unwrap()
}

/// Facts from `country/jurisdiction retention`, for example `DE/US limited`.
pub fn facts(text: &str) -> EndpointFacts {
    let (place, retention) = text.split_once(' ').unwrap();
    let (at, law) = place.split_once('/').unwrap();
    EndpointFacts {
        country: country(at),
        site: "muc1".into(),
        operator: "Hoheit".into(),
        provider: "Beispiel AG".into(),
        jurisdiction: country(law),
        retention: retention.parse::<Retention>().unwrap(),
        attestation: "none".into(),
    }
}

pub fn rule(owner: Option<TenantId>, name: &str, text: &str) -> Rule {
    Rule { id: RuleId(7), tenant: owner, name: name.into(), text: text.into() }
}

pub fn ask(bundle: &Bundle, tenant: TenantId, class: DataClass, facts: &EndpointFacts) -> Decision {
    ask_within(bundle, tenant, class, None, facts)
}

pub fn ask_within(
    bundle: &Bundle,
    tenant: TenantId,
    class: DataClass,
    country: Option<Country>,
    facts: &EndpointFacts,
) -> Decision {
    bundle.decide(&Question {
        tenant,
        project: ProjectId(tenant.0 * 10),
        key: KeyId(tenant.0 * 100),
        class,
        country,
        model: "nano",
        endpoint: EndpointId(5),
        facts,
    })
}

/// `permit base-public` or `refuse no-permit base-secret`.
pub fn shown(decision: &Decision) -> String {
    format!("{} {}", if decision.permit { "permit" } else { "refuse" }, decision.rules.join(" "))
}
