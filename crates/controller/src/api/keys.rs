//! API keys: shown once, stored as a keyed hash; revoked, rotated, expiring.
//!
//! Rotation makes a new key with the same budget and limits and lets the old one live for a grace, so that a running
//! client can change over. If we crash after the rotation and before the answer, the new key exists and nobody knows
//! its secret: rotate again and revoke it.

use super::{Answer, Created, List, created};
use crate::access::{Allowed, KeyCreate, KeyRead, KeyRevoke, KeyRotate, KeyUpdate};
use crate::input::{self, Body, Id, Query};
use crate::{Controller, Problem, secret};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use types::snapshot::{Key, Limits};
use types::{KeyId, MicroEur, ProjectId, UnixMillis};
use utoipa::ToSchema;

/// How long a rotated key stays good if nothing else is said: one working day and the night after it.
const GRACE_SECS_DEFAULT: u32 = 24 * 3_600;
/// The longest grace: a quarter; a key that lives longer beside its successor was not rotated.
const GRACE_SECS_MAX: u32 = 92 * 24 * 3_600;

/// An API key without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Key)]
pub struct KeyBody {
    #[schema(value_type = String, example = "key_01kb4w2r3n8v5x0c9d7f6g4h2j")]
    pub id: KeyId,
    #[schema(value_type = String)]
    pub project: ProjectId,
    pub name: String,
    pub revoked: bool,
    /// Milliseconds since 1970; null is never.
    #[schema(value_type = Option<i64>)]
    pub expires_at: Option<UnixMillis>,
    /// Micro-euro per calendar month (UTC); null is no limit of its own.
    #[schema(value_type = Option<i64>)]
    pub budget_micro_eur: Option<MicroEur>,
    pub requests_per_minute: Option<u32>,
    pub tokens_per_minute: Option<u64>,
}

impl From<Key> for KeyBody {
    fn from(key: Key) -> Self {
        Self {
            id: key.id,
            project: key.project,
            name: key.name,
            revoked: key.revoked,
            expires_at: key.expires_at,
            budget_micro_eur: key.budget,
            requests_per_minute: key.limits.requests_per_minute,
            tokens_per_minute: key.limits.tokens_per_minute,
        }
    }
}

/// A key with its secret: shown once, here.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeySecret {
    #[schema(value_type = String)]
    pub id: KeyId,
    /// `hk_<id>_<secret>`. It is stored nowhere; keep it.
    pub key: String,
}

/// A key to be made.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyNew {
    #[schema(value_type = String)]
    pub project: ProjectId,
    /// 1 to 64 printable characters; left out is "default".
    pub name: Option<String>,
    /// Milliseconds since 1970; left out is never.
    #[schema(value_type = Option<i64>)]
    pub expires_at: Option<UnixMillis>,
    /// Micro-euro per calendar month (UTC).
    #[schema(value_type = Option<i64>, minimum = 0)]
    pub budget_micro_eur: Option<MicroEur>,
    pub requests_per_minute: Option<u32>,
    pub tokens_per_minute: Option<u64>,
}

/// What to change; what is left out stays, null takes a limit away.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyPatch {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, deserialize_with = "input::nullable", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>)]
    pub expires_at: Option<Option<UnixMillis>>,
    #[serde(default, deserialize_with = "input::nullable", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>, minimum = 0)]
    pub budget_micro_eur: Option<Option<MicroEur>>,
    #[serde(default, deserialize_with = "input::nullable", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>)]
    pub requests_per_minute: Option<Option<u32>>,
    #[serde(default, deserialize_with = "input::nullable", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub tokens_per_minute: Option<Option<u64>>,
}

/// How to rotate.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyRotation {
    /// Seconds that the old key stays good; left out is 86400 (a day), 0 ends it now.
    pub grace_secs: Option<u32>,
    /// When the new key expires: milliseconds since 1970; left out is never.
    #[schema(value_type = Option<i64>)]
    pub expires_at: Option<UnixMillis>,
}

/// Which keys to list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyFilter {
    project: Option<ProjectId>,
}

/// Makes a secret for an id: what is shown and what is stored.
fn shown(controller: &Controller, id: KeyId) -> (String, String) {
    let secret = secret::encode(&controller.random32());
    (format!("hk_{}_{secret}", id.digits()), controller.parts().pepper.hash(&secret))
}

/// Makes a key. Its secret is in this answer and nowhere else.
#[utoipa::path(post, path = "/api/v1/keys", tag = "keys", request_body = KeyNew,
    responses((status = 201, body = KeySecret), (status = "4XX", body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn create(
    may: Allowed<KeyCreate>,
    State(controller): State<Controller>,
    Body(new): Body<KeyNew>,
) -> Created<KeySecret> {
    let name = new.name.clone().unwrap_or_else(|| "default".to_owned());
    input::name("name", &name)?;
    input::amount("budget_micro_eur", new.budget_micro_eur)?;
    let mut turn = controller.turn().await;
    let project = controller.project(&may.caller, new.project).await?;
    controller.open(project.id).await?;
    let id = controller.id(KeyId::from_parts);
    let (text, secret_hash) = shown(&controller, id);
    let entry = may.entry(&controller, id, Some(project.tenant), &new);
    let key = Key {
        id,
        project: project.id,
        name,
        secret_hash,
        revoked: false,
        expires_at: new.expires_at,
        budget: new.budget_micro_eur,
        limits: Limits { requests_per_minute: new.requests_per_minute, tokens_per_minute: new.tokens_per_minute },
    };
    controller.store().key_create(&key, &entry).await?;
    turn.publish().await?;
    created(KeySecret { id, key: text })
}

/// Lists keys without their secrets, of one project or of all that the caller sees.
#[utoipa::path(get, path = "/api/v1/keys", tag = "keys",
    params(("project" = Option<String>, Query, description = "only this project's")),
    responses((status = 200, body = List<KeyBody>), (status = 404, body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn list(
    may: Allowed<KeyRead>,
    State(controller): State<Controller>,
    Query(filter): Query<KeyFilter>,
) -> Answer<List<KeyBody>> {
    if let Some(project) = filter.project {
        controller.project(&may.caller, project).await?;
    }
    let keys = controller.store().keys(filter.project).await?;
    let own: Vec<ProjectId> =
        controller.store().projects(may.caller.tenant).await?.into_iter().map(|project| project.id).collect();
    Ok(List::of(keys.into_iter().filter(|key| own.contains(&key.project)), Into::into))
}

/// Shows a key without its secret.
#[utoipa::path(get, path = "/api/v1/keys/{id}", tag = "keys", params(("id" = String, Path, description = "key_…")),
    responses((status = 200, body = KeyBody), (status = 404, body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn get(may: Allowed<KeyRead>, State(controller): State<Controller>, Id(id): Id<KeyId>) -> Answer<KeyBody> {
    Ok(Json(controller.key(&may.caller, id).await?.0.into()))
}

/// Changes a key's name, expiry, budget or limits.
#[utoipa::path(patch, path = "/api/v1/keys/{id}", tag = "keys", params(("id" = String, Path, description = "key_…")),
    request_body = KeyPatch,
    responses((status = 200, body = KeyBody), (status = "4XX", body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn update(
    may: Allowed<KeyUpdate>,
    State(controller): State<Controller>,
    Id(id): Id<KeyId>,
    Body(patch): Body<KeyPatch>,
) -> Answer<KeyBody> {
    let mut turn = controller.turn().await;
    let (mut key, project) = controller.key(&may.caller, id).await?;
    let entry = may.entry(&controller, id, Some(project.tenant), &patch);
    if let Some(name) = patch.name {
        input::name("name", &name)?;
        key.name = name;
    }
    if let Some(budget) = patch.budget_micro_eur {
        input::amount("budget_micro_eur", budget)?;
        key.budget = budget;
    }
    key.expires_at = patch.expires_at.unwrap_or(key.expires_at);
    key.limits.requests_per_minute = patch.requests_per_minute.unwrap_or(key.limits.requests_per_minute);
    key.limits.tokens_per_minute = patch.tokens_per_minute.unwrap_or(key.limits.tokens_per_minute);
    controller.store().key_update(&key, &entry).await?;
    turn.publish().await?;
    Ok(Json(key.into()))
}

/// Revokes a key, at once and for good. Revoking it again changes nothing.
#[utoipa::path(post, path = "/api/v1/keys/{id}/revoke", tag = "keys", params(("id" = String, Path, description = "key_…")),
    responses((status = 200, body = KeyBody), (status = 404, body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn revoke(
    may: Allowed<KeyRevoke>,
    State(controller): State<Controller>,
    Id(id): Id<KeyId>,
) -> Answer<KeyBody> {
    let mut turn = controller.turn().await;
    let (mut key, project) = controller.key(&may.caller, id).await?;
    key.revoked = true;
    let entry = may.entry(&controller, id, Some(project.tenant), &serde_json::json!({ "revoked": true }));
    controller.store().key_update(&key, &entry).await?;
    turn.publish().await?;
    Ok(Json(key.into()))
}

/// Makes a new key in place of this one, which stays good for the grace.
#[utoipa::path(post, path = "/api/v1/keys/{id}/rotate", tag = "keys", params(("id" = String, Path, description = "key_…")),
    request_body = KeyRotation,
    responses((status = 201, body = KeySecret), (status = "4XX", body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn rotate(
    may: Allowed<KeyRotate>,
    State(controller): State<Controller>,
    Id(id): Id<KeyId>,
    Body(rotation): Body<KeyRotation>,
) -> Created<KeySecret> {
    let grace = rotation.grace_secs.unwrap_or(GRACE_SECS_DEFAULT);
    if grace > GRACE_SECS_MAX {
        return Err(Problem::invalid(format!("grace_secs: at most {GRACE_SECS_MAX} (92 days).")));
    }
    let mut turn = controller.turn().await;
    let (old, project) = controller.key(&may.caller, id).await?;
    if old.revoked {
        return Err(Problem::conflict("This key is revoked; make a new one with POST /api/v1/keys."));
    }
    controller.open(project.id).await?;
    let new_id = controller.id(KeyId::from_parts);
    let (text, secret_hash) = shown(&controller, new_id);
    let new = Key { id: new_id, secret_hash, expires_at: rotation.expires_at, ..old };
    let end = UnixMillis(controller.now().0 + i64::from(grace) * 1_000);
    let detail = serde_json::json!({ "new": new_id, "old_expires_at": end });
    let entry = may.entry(&controller, id, Some(project.tenant), &detail);
    controller.store().key_rotate(&new, id, end, &entry).await?;
    turn.publish().await?;
    created(KeySecret { id: new_id, key: text })
}
