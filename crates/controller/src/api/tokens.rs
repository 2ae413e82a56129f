//! Control tokens: bearers of a role, bound to a tenant or not. Shown once, stored as a keyed hash.
//!
//! A tenant's token makes tokens only for its own tenant, and no token makes one that may more than itself: an unbound
//! token comes only from an unbound one.

use super::{Answer, Created, List, created};
use crate::access::{Allowed, TokenCreate, TokenRead, TokenRevoke};
use crate::input::{self, Body, Id};
use crate::{Controller, Problem, secret};
use axum::Json;
use axum::extract::State;
use policy::control::{Binding, Role};
use serde::{Deserialize, Serialize};
use store::ControlToken;
use types::{TenantId, TokenId, UnixMillis};
use utoipa::ToSchema;

/// A control token without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Token)]
pub struct TokenBody {
    #[schema(value_type = String, example = "tok_01kb4w2r3n8v5x0c9d7f6g4h2j")]
    pub id: TokenId,
    pub name: String,
    /// operator, tenant_admin, developer, auditor, finance, installer or partner.
    pub role: String,
    /// Set: sees only this tenant.
    #[schema(value_type = Option<String>)]
    pub tenant: Option<TenantId>,
    pub revoked: bool,
    /// Milliseconds since 1970; null is never.
    #[schema(value_type = Option<i64>)]
    pub expires_at: Option<UnixMillis>,
}

impl From<ControlToken> for TokenBody {
    fn from(token: ControlToken) -> Self {
        Self {
            id: token.id,
            name: token.name,
            role: token.role,
            tenant: token.tenant,
            revoked: token.revoked,
            expires_at: token.expires_at,
        }
    }
}

/// A control token with its secret: shown once, here.
#[derive(Debug, Serialize, ToSchema)]
pub struct TokenSecret {
    #[schema(value_type = String)]
    pub id: TokenId,
    /// `ht_<id>_<secret>`. It is stored nowhere; keep it.
    pub token: String,
}

/// A control token to be made.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenNew {
    /// 1 to 64 printable characters.
    pub name: String,
    /// operator, tenant_admin, developer, auditor, finance, installer or partner.
    pub role: String,
    /// Binds it to a tenant. tenant_admin, developer and partner must be bound; operator and installer cannot be.
    #[schema(value_type = Option<String>)]
    pub tenant: Option<TenantId>,
    /// Milliseconds since 1970; left out is never.
    #[schema(value_type = Option<i64>)]
    pub expires_at: Option<UnixMillis>,
}

/// Whether a role fits being bound to a tenant.
fn fits(role: Role, tenant: Option<TenantId>) -> Result<(), Problem> {
    match (role.binding(), tenant) {
        (Binding::Site, Some(_)) => {
            Err(Problem::invalid(format!("tenant: a token of the role {role} belongs to the site; leave tenant out.")))
        }
        (Binding::Tenant, None) => {
            Err(Problem::invalid(format!("tenant: say which tenant a token of the role {role} is for.")))
        }
        _ => Ok(()),
    }
}

/// Makes a control token. Its secret is in this answer and nowhere else.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "tokens", request_body = TokenNew,
    responses((status = 201, body = TokenSecret), (status = "4XX", body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn create(
    may: Allowed<TokenCreate>,
    State(controller): State<Controller>,
    Body(new): Body<TokenNew>,
) -> Created<TokenSecret> {
    input::name("name", &new.name)?;
    let role: Role = new.role.parse().map_err(|error| Problem::invalid(format!("role: {error}.")))?;
    let tenant = may.caller.scope(new.tenant)?;
    fits(role, tenant)?;
    if let Some(tenant) = tenant {
        controller.tenant(&may.caller, tenant).await?;
    }
    let turn = controller.turn().await;
    let id = controller.id(TokenId::from_parts);
    let secret = secret::encode(&controller.random32());
    let entry = may.entry(&controller, id, tenant, &new);
    let token = ControlToken {
        id,
        name: new.name,
        role: role.to_string(),
        tenant,
        secret_hash: controller.parts().pepper.hash(&secret),
        revoked: false,
        expires_at: new.expires_at,
    };
    controller.store().token_create(&token, &entry).await?;
    drop(turn);
    created(TokenSecret { id, token: format!("ht_{}_{secret}", id.digits()) })
}

/// Lists control tokens without their secrets.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "tokens", responses((status = 200, body = List<TokenBody>)))]
pub async fn list(may: Allowed<TokenRead>, State(controller): State<Controller>) -> Answer<List<TokenBody>> {
    let tokens = controller.store().tokens().await?;
    Ok(List::of(tokens.into_iter().filter(|token| may.caller.sees(token.tenant)), Into::into))
}

/// Revokes a control token, at once and for good.
#[utoipa::path(post, path = "/api/v1/tokens/{id}/revoke", tag = "tokens", params(("id" = String, Path, description = "tok_…")),
    responses((status = 200, body = TokenBody), (status = 404, body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn revoke(
    may: Allowed<TokenRevoke>,
    State(controller): State<Controller>,
    Id(id): Id<TokenId>,
) -> Answer<TokenBody> {
    let turn = controller.turn().await;
    let mut token = controller.store().token(id).await?.ok_or_else(Problem::not_found)?;
    may.caller.require(token.tenant)?;
    token.revoked = true;
    let entry = may.entry(&controller, id, token.tenant, &serde_json::json!({ "revoked": true }));
    controller.store().token_update(&token, &entry).await?;
    drop(turn);
    Ok(Json(token.into()))
}
