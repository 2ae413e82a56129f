//! Registrations of the Open Service Broker: which platform may order what, for whom, and how it proves itself.
//!
//! Only the operator makes them: a registration makes tenants. Its password is shown once and stored as a keyed hash; one that
//! proves itself by a certificate has none.

use super::{Answer, Created, List, created};
use crate::access::{Allowed, BrokerCreate, BrokerDelete, BrokerRead, BrokerUpdate};
use crate::input::{self, Body, Id, Query};
use crate::osb::{instance_of, registration};
use crate::{Controller, Problem, secret};
use axum::Json;
use axum::extract::State;
use broker::{Plan, PublicKey, Registration, Signing};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use store::{BrokerRow, InstanceRow};
use types::{BrokerId, MicroEur, OperationId, ProjectId, TenantId};
use utoipa::ToSchema;

/// Customers and instances, where the operator says nothing: a company's, with room.
const MAX_DEFAULT: u32 = 100;
/// What SAP Service Manager calls a customer in the context, unless it is configured otherwise.
const TENANT_KEY_DEFAULT: &str = "subaccount_id";

/// A platform that orders, without its password.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Broker)]
pub struct BrokerBody {
    #[schema(value_type = String, example = "brk_01kb4w2r3n8v5x0c9d7f6g4h2j")]
    pub id: BrokerId,
    pub name: String,
    /// The user of Basic authentication.
    pub username: String,
    /// inference-shared, inference-dedicated, grounded-answers.
    #[schema(value_type = Vec<String>)]
    pub plans: Vec<Plan>,
    /// Whom it orders for; null is anybody.
    pub subaccounts: Option<Vec<String>>,
    /// The member of a context that names the customer.
    pub tenant_key: String,
    pub tenants_max: u32,
    pub instances_max: u32,
    /// The monthly budget of each tenant that it makes, in micro-euro; null is no limit.
    #[schema(value_type = Option<i64>)]
    pub tenant_budget_micro_eur: Option<MicroEur>,
    /// off or required.
    pub signature: String,
    /// Whether the platform's key is known.
    pub signature_key: bool,
    /// Whether its successor is known.
    pub signature_successor_key: bool,
    /// Set: it proves itself by a client certificate of this subject, and by no password.
    pub certificate_subject: Option<String>,
    /// It may order nothing any more; what it ordered is there.
    pub removed: bool,
}

fn body(row: &BrokerRow) -> Result<BrokerBody, Problem> {
    let rules = registration(row)?;
    Ok(BrokerBody {
        id: row.id,
        name: row.name.clone(),
        username: row.username.clone(),
        plans: rules.plans,
        subaccounts: rules.subaccounts,
        tenant_key: rules.tenant_key,
        tenants_max: rules.tenants_max,
        instances_max: rules.instances_max,
        tenant_budget_micro_eur: rules.tenant_budget,
        signature: if rules.signing.required { "required" } else { "off" }.to_owned(),
        signature_key: rules.signing.key.is_some(),
        signature_successor_key: rules.signing.successor.is_some(),
        certificate_subject: rules.certificate_subject,
        removed: row.removed,
    })
}

/// What the platform's administrator needs: shown once, here.
#[derive(Debug, Serialize, ToSchema)]
pub struct BrokerSecret {
    #[schema(value_type = String)]
    pub id: BrokerId,
    /// Where the platform finds the broker.
    pub url: String,
    pub username: String,
    /// It is stored nowhere; keep it. Null where a certificate takes its place.
    pub password: Option<String>,
}

/// A registration to be made.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BrokerNew {
    /// 1 to 64 printable characters.
    pub name: String,
    /// Left out is all of them.
    #[schema(value_type = Option<Vec<String>>)]
    pub plans: Option<Vec<String>>,
    /// Whom it orders for; left out is anybody.
    pub subaccounts: Option<Vec<String>>,
    /// The member of a context that names the customer; left out is subaccount_id.
    pub tenant_key: Option<String>,
    /// Left out is 100.
    pub tenants_max: Option<u32>,
    /// Left out is 100.
    pub instances_max: Option<u32>,
    /// The monthly budget of each tenant that it makes, in micro-euro; left out is no limit.
    #[schema(value_type = Option<i64>, minimum = 0)]
    pub tenant_budget_micro_eur: Option<MicroEur>,
    /// off or required: whether contexts must be signed. To be decided, so it cannot be left out.
    pub signature: String,
    /// The platform's public key: PEM, or base64 of PEM as /v1/info shows it.
    pub signature_key: Option<String>,
    /// The key that follows it.
    pub signature_successor_key: Option<String>,
    /// The subject of its client certificate, instead of a password.
    pub certificate_subject: Option<String>,
}

/// What to change; what is left out stays.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BrokerPatch {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plans: Option<Vec<String>>,
    /// Null is anybody.
    #[serde(default, deserialize_with = "input::nullable", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub subaccounts: Option<Option<Vec<String>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenants_max: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instances_max: Option<u32>,
    /// Of tenants that it makes from now on; null is no limit.
    #[serde(default, deserialize_with = "input::nullable", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>, minimum = 0)]
    pub tenant_budget_micro_eur: Option<Option<MicroEur>>,
    /// off or required.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    #[serde(default, deserialize_with = "input::nullable", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub signature_key: Option<Option<String>>,
    #[serde(default, deserialize_with = "input::nullable", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub signature_successor_key: Option<Option<String>>,
    /// Set, the password ends; null, rotate to get one.
    #[serde(default, deserialize_with = "input::nullable", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub certificate_subject: Option<Option<String>>,
}

fn plans(names: &[String]) -> Result<Vec<Plan>, Problem> {
    names.iter().map(|name| name.parse().map_err(|error| Problem::invalid(format!("plans: {error}.")))).collect()
}

fn required(signature: &str) -> Result<bool, Problem> {
    match signature {
        "off" => Ok(false),
        "required" => Ok(true),
        _ => Err(Problem::invalid("signature: off or required.")),
    }
}

fn key(field: &str, text: Option<&str>) -> Result<Option<PublicKey>, Problem> {
    let read = |text| PublicKey::parse(text).map_err(|error| Problem::invalid(format!("{field}: {error}.")));
    text.map(read).transpose()
}

fn checked(rules: &Registration) -> Result<String, Problem> {
    rules.check().map_err(|error| Problem::invalid(format!("{error}.")))?;
    input::amount("tenant_budget_micro_eur", rules.tenant_budget)?;
    serde_json::to_string(rules).map_err(Problem::internal)
}

/// Whether another registration proves itself by the same certificate: then nobody could say whose a call is.
fn same_certificate(rules: &Registration) -> impl Fn(&BrokerRow) -> bool + Send {
    let own = rules.certificate_subject.clone();
    move |row| {
        let other = registration(row).ok().and_then(|other| other.certificate_subject);
        own.as_deref().zip(other.as_deref()).is_some_and(|(own, other)| broker::subject_matches(own, other))
    }
}

/// A new password: its text and what is stored of it.
fn password(controller: &Controller) -> (String, String) {
    let text = secret::encode(&controller.random32());
    let hash = controller.parts().pepper.hash(&text);
    (text, hash)
}

fn url(controller: &Controller) -> String {
    format!("{}/osb", (controller.parts().broker.public_url)())
}

async fn own<A: crate::access::Action>(
    controller: &Controller,
    may: &Allowed<A>,
    id: BrokerId,
) -> Result<BrokerRow, Problem> {
    may.caller.require(None)?;
    controller.store().broker(id).await?.ok_or_else(Problem::not_found)
}

/// Registers a platform. Its password is in this answer and nowhere else.
#[utoipa::path(post, path = "/api/v1/brokers", tag = "brokers", request_body = BrokerNew,
    responses((status = 201, body = BrokerSecret), (status = "4XX", body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn create(
    may: Allowed<BrokerCreate>,
    State(controller): State<Controller>,
    Body(new): Body<BrokerNew>,
) -> Created<BrokerSecret> {
    input::name("name", &new.name)?;
    let rules = Registration {
        plans: new.plans.as_deref().map_or_else(|| Ok(Plan::ALL.to_vec()), plans)?,
        subaccounts: new.subaccounts.clone(),
        tenant_key: new.tenant_key.clone().unwrap_or_else(|| TENANT_KEY_DEFAULT.to_owned()),
        tenants_max: new.tenants_max.unwrap_or(MAX_DEFAULT),
        instances_max: new.instances_max.unwrap_or(MAX_DEFAULT),
        tenant_budget: new.tenant_budget_micro_eur,
        signing: Signing {
            required: required(&new.signature)?,
            key: key("signature_key", new.signature_key.as_deref())?,
            successor: key("signature_successor_key", new.signature_successor_key.as_deref())?,
        },
        certificate_subject: new.certificate_subject.clone(),
    };
    let body = checked(&rules)?;
    let turn = controller.turn().await;
    let id = controller.id(BrokerId::from_parts);
    let (text, hash) = password(&controller);
    let by_password = rules.certificate_subject.is_none();
    let entry = may.entry(&controller, id, None, &new);
    let row = BrokerRow {
        id,
        name: new.name,
        username: id.to_string(),
        password_hash: if by_password { hash } else { String::new() },
        body,
        removed: false,
    };
    controller.store().broker_create(&row, same_certificate(&rules), &entry).await?;
    drop(turn);
    let url = url(&controller);
    created(BrokerSecret { id, url, username: row.username, password: by_password.then_some(text) })
}

/// Lists registrations without their passwords.
#[utoipa::path(get, path = "/api/v1/brokers", tag = "brokers", responses((status = 200, body = List<BrokerBody>)))]
pub async fn list(may: Allowed<BrokerRead>, State(controller): State<Controller>) -> Answer<List<BrokerBody>> {
    let rows = if may.caller.sees(None) { controller.store().brokers().await? } else { Vec::new() };
    let data = rows.iter().map(body).collect::<Result<_, _>>()?;
    Ok(Json(List { data }))
}

/// Shows a registration.
#[utoipa::path(get, path = "/api/v1/brokers/{id}", tag = "brokers", params(("id" = String, Path, description = "brk_…")),
    responses((status = 200, body = BrokerBody), (status = 404, body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn get(
    may: Allowed<BrokerRead>,
    State(controller): State<Controller>,
    Id(id): Id<BrokerId>,
) -> Answer<BrokerBody> {
    Ok(Json(body(&own(&controller, &may, id).await?)?))
}

/// Changes what a platform may order and how it proves itself. What it ordered stays.
#[utoipa::path(patch, path = "/api/v1/brokers/{id}", tag = "brokers", params(("id" = String, Path, description = "brk_…")),
    request_body = BrokerPatch,
    responses((status = 200, body = BrokerBody), (status = "4XX", body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn update(
    may: Allowed<BrokerUpdate>,
    State(controller): State<Controller>,
    Id(id): Id<BrokerId>,
    Body(patch): Body<BrokerPatch>,
) -> Answer<BrokerBody> {
    let turn = controller.turn().await;
    let mut row = own(&controller, &may, id).await?;
    let entry = may.entry(&controller, id, None, &patch);
    let mut rules = registration(&row)?;
    if let Some(name) = patch.name {
        input::name("name", &name)?;
        row.name = name;
    }
    if let Some(names) = patch.plans {
        rules.plans = plans(&names)?;
    }
    rules.subaccounts = patch.subaccounts.unwrap_or(rules.subaccounts);
    rules.tenants_max = patch.tenants_max.unwrap_or(rules.tenants_max);
    rules.instances_max = patch.instances_max.unwrap_or(rules.instances_max);
    rules.tenant_budget = patch.tenant_budget_micro_eur.unwrap_or(rules.tenant_budget);
    if let Some(signature) = patch.signature {
        rules.signing.required = required(&signature)?;
    }
    if let Some(text) = patch.signature_key {
        rules.signing.key = key("signature_key", text.as_deref())?;
    }
    if let Some(text) = patch.signature_successor_key {
        rules.signing.successor = key("signature_successor_key", text.as_deref())?;
    }
    if let Some(subject) = patch.certificate_subject {
        if subject.is_some() {
            row.password_hash.clear();
        }
        rules.certificate_subject = subject;
    }
    row.body = checked(&rules)?;
    controller.store().broker_update(&row, same_certificate(&rules), &entry).await?;
    drop(turn);
    Ok(Json(body(&row)?))
}

/// Makes a new password; the old one ends at once.
#[utoipa::path(post, path = "/api/v1/brokers/{id}/rotate", tag = "brokers", params(("id" = String, Path, description = "brk_…")),
    responses((status = 201, body = BrokerSecret), (status = "4XX", body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn rotate(
    may: Allowed<BrokerUpdate>,
    State(controller): State<Controller>,
    Id(id): Id<BrokerId>,
) -> Created<BrokerSecret> {
    let turn = controller.turn().await;
    let mut row = own(&controller, &may, id).await?;
    if row.removed || registration(&row)?.certificate_subject.is_some() {
        return Err(Problem::conflict(
            "This registration is removed, or proves itself by a certificate: it has no password.",
        ));
    }
    let (text, hash) = password(&controller);
    row.password_hash = hash;
    let entry = may.entry(&controller, id, None, &serde_json::json!({ "rotated": true }));
    controller.store().broker_update(&row, |_| false, &entry).await?;
    drop(turn);
    created(BrokerSecret { id, url: url(&controller), username: row.username, password: Some(text) })
}

/// Ends a registration at once and for good. Its instances and their keys stay until somebody revokes them.
#[utoipa::path(delete, path = "/api/v1/brokers/{id}", tag = "brokers", params(("id" = String, Path, description = "brk_…")),
    responses((status = 204), (status = 404, body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn remove(
    may: Allowed<BrokerDelete>,
    State(controller): State<Controller>,
    Id(id): Id<BrokerId>,
) -> Result<StatusCode, Problem> {
    let turn = controller.turn().await;
    let mut row = own(&controller, &may, id).await?;
    row.removed = true;
    let entry = may.entry(&controller, id, None, &serde_json::json!({ "removed": true }));
    controller.store().broker_update(&row, |_| false, &entry).await?;
    drop(turn);
    Ok(StatusCode::NO_CONTENT)
}

/// What a platform ordered.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Instance)]
pub struct InstanceBody {
    #[schema(value_type = String)]
    pub broker: BrokerId,
    /// The platform's id.
    pub id: String,
    #[schema(value_type = String)]
    pub plan: Plan,
    #[schema(value_type = Object)]
    pub parameters: broker::InstanceParameters,
    /// ordered, refused, ready, changing or ending.
    pub state: String,
    /// The platform's customer.
    pub subaccount: String,
    /// What people call it there.
    pub name: Option<String>,
    #[schema(value_type = Option<String>)]
    pub project: Option<ProjectId>,
    #[schema(value_type = Option<String>)]
    pub tenant: Option<TenantId>,
    /// The order that runs.
    #[schema(value_type = Option<String>)]
    pub operation: Option<OperationId>,
}

impl InstanceBody {
    pub(super) fn of(controller: &Controller, row: InstanceRow) -> Result<Self, Problem> {
        let instance = instance_of(&row)?.at(controller.now());
        Ok(Self {
            broker: row.broker,
            id: row.id,
            plan: instance.asked.plan,
            operation: instance.order(),
            state: instance.state.as_str().to_owned(),
            parameters: instance.asked.parameters,
            subaccount: instance.subaccount,
            name: instance.asked.name,
            project: instance.project,
            tenant: row.tenant,
        })
    }
}

/// Which instances to list, by the platform's id ascending.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstanceFilter {
    after: Option<String>,
    limit: Option<u32>,
}

/// Lists what a platform ordered, with the projects that its instances are.
#[utoipa::path(get, path = "/api/v1/brokers/{id}/instances", tag = "brokers",
    params(("id" = String, Path, description = "brk_…"), ("after" = Option<String>, Query, description = "only instances with a greater id"),
        ("limit" = Option<u32>, Query, description = "1 to 1000, otherwise 100")),
    responses((status = 200, body = List<InstanceBody>), (status = 404, body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn instances(
    may: Allowed<BrokerRead>,
    State(controller): State<Controller>,
    Id(id): Id<BrokerId>,
    Query(filter): Query<InstanceFilter>,
) -> Answer<List<InstanceBody>> {
    let row = own(&controller, &may, id).await?;
    let limit = input::limit(filter.limit)?;
    let rows = controller.store().broker_instances(row.id, filter.after.as_deref().unwrap_or_default(), limit).await?;
    let data = rows.into_iter().map(|row| InstanceBody::of(&controller, row)).collect::<Result<_, _>>()?;
    Ok(Json(List { data }))
}
