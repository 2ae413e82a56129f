//! Who may do what at the control API: a handler asks for `Allowed<Action>` and cannot run without one.
//!
//! The order is fixed: credential (401), role (403), then whether the object is yours (404, the same as unknown). The
//! role is decided before any object is looked up and before a body is read, so neither tells a stranger anything.

use crate::{Controller, Problem, secret};
use axum::extract::FromRequestParts;
use http::header;
use http::request::Parts;
use policy::control::{self, Binding, Role};
use std::marker::PhantomData;
use types::audit::AuditEntry;
use types::{AuditId, Code, TenantId, TokenId};

/// One word of the control API; policy decides on its text, the audit log shows it.
pub trait Action: Send + Sync + 'static {
    const NAME: &'static str;
}

macro_rules! actions {
    ($($name:ident = $text:literal;)*) => {
        $(#[doc = $text] pub struct $name; impl Action for $name { const NAME: &'static str = $text; })*
        /// Every action that an endpoint asks for.
        pub const ACTIONS: &[&str] = &[$($text,)*];
    };
}

actions! {
    TenantCreate = "tenant.create";
    TenantRead = "tenant.read";
    TenantUpdate = "tenant.update";
    ProjectCreate = "project.create";
    ProjectRead = "project.read";
    ProjectUpdate = "project.update";
    KeyCreate = "key.create";
    KeyRead = "key.read";
    KeyUpdate = "key.update";
    KeyRevoke = "key.revoke";
    KeyRotate = "key.rotate";
    EngineCreate = "engine.create";
    EngineRead = "engine.read";
    EngineUpdate = "engine.update";
    EngineDelete = "engine.delete";
    EndpointRead = "endpoint.read";
    EndpointUpdate = "endpoint.update";
    ModelRead = "model.read";
    RuleCreate = "rule.create";
    RuleRead = "rule.read";
    RuleDelete = "rule.delete";
    PolicyExplain = "policy.explain";
    PriceRead = "price.read";
    PriceUpdate = "price.update";
    BudgetRead = "budget.read";
    ReceiptRead = "receipt.read";
    AuditRead = "audit.read";
    TokenCreate = "token.create";
    TokenRead = "token.read";
    TokenRevoke = "token.revoke";
    PartnerCreate = "partner.create";
    PartnerRead = "partner.read";
    PartnerPublish = "partner.publish";
    StatusRead = "status.read";
    SiteUpdate = "site.update";
    SiteRead = "site.read";
    MachineRead = "machine.read";
    MachineUpdate = "machine.update";
    MachineEnrol = "machine.enrol";
    OrderRead = "order.read";
    OrderUpdate = "order.update";
    TaskRead = "task.read";
    TaskUpdate = "task.update";
    BrokerCreate = "broker.create";
    BrokerRead = "broker.read";
    BrokerUpdate = "broker.update";
    BrokerDelete = "broker.delete";
    BrokerFulfil = "broker.fulfil";
}

/// Who asks.
#[derive(Debug, Clone)]
pub struct Caller {
    /// `operator` for the admin token, otherwise the token's id.
    pub actor: String,
    pub role: Role,
    /// Set: sees only this tenant.
    pub tenant: Option<TenantId>,
}

impl Caller {
    /// Whether this caller sees things of this owner; `None` is the operator's own.
    pub fn sees(&self, owner: Option<TenantId>) -> bool {
        self.tenant.is_none() || self.tenant == owner
    }

    /// Foreign is answered as unknown.
    pub fn require(&self, owner: Option<TenantId>) -> Result<(), Problem> {
        if self.sees(owner) { Ok(()) } else { Err(Problem::not_found()) }
    }

    /// The tenant that a list is about: the caller's own, or the one it named and may see, or all.
    pub fn scope(&self, asked: Option<TenantId>) -> Result<Option<TenantId>, Problem> {
        if let Some(asked) = asked {
            self.require(Some(asked))?;
        }
        Ok(asked.or(self.tenant))
    }
}

/// A caller whose role permits this action. Made only here.
pub struct Allowed<A> {
    pub caller: Caller,
    action: PhantomData<fn() -> A>,
}

impl<A: Action> Allowed<A> {
    /// The entry that the change commits together with.
    pub fn entry(
        &self,
        controller: &Controller,
        object: impl std::fmt::Display,
        tenant: Option<TenantId>,
        detail: &impl serde::Serialize,
    ) -> AuditEntry {
        AuditEntry {
            id: controller.id(AuditId::from_parts),
            at: controller.now(),
            actor: self.caller.actor.clone(),
            action: A::NAME.to_owned(),
            object: object.to_string(),
            tenant,
            detail: serde_json::to_string(detail).unwrap_or_else(|_| "{}".to_owned()),
        }
    }
}

impl<A: Action> FromRequestParts<Controller> for Allowed<A> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, controller: &Controller) -> Result<Self, Problem> {
        let caller = authenticate(parts, controller).await?;
        if !control::may(caller.role, A::NAME) {
            return Err(Problem::new(
                Code::Forbidden,
                format!("The role {} may not {}. Ask the operator for a token of another role.", caller.role, A::NAME),
            ));
        }
        Ok(Self { caller, action: PhantomData })
    }
}

fn refused() -> Problem {
    Problem::new(
        Code::KeyInvalid,
        "The token is malformed, unknown or wrong. Check HOHEIT_TOKEN, or use the operator's admin-token file.",
    )
}

async fn authenticate(parts: &Parts, controller: &Controller) -> Result<Caller, Problem> {
    let Some(header) = parts.headers.get(header::AUTHORIZATION) else {
        return Err(Problem::new(Code::KeyMissing, "Send Authorization: Bearer and a control token (HOHEIT_TOKEN)."));
    };
    let text = header.to_str().map_err(|_| refused())?;
    let (scheme, text) = text.split_once(' ').ok_or_else(refused)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(refused());
    }
    let text = text.trim();
    if !text.starts_with("ht_") {
        let parts = controller.parts();
        return if parts.pepper.matches(text, &parts.admin_token_hash) {
            Ok(Caller { actor: "operator".to_owned(), role: Role::Operator, tenant: None })
        } else {
            Err(refused())
        };
    }
    let (digits, secret) = secret::split(text, "ht_").ok_or_else(refused)?;
    let id = TokenId::from_digits(digits).map_err(|_| refused())?;
    let token = controller.store().token(id).await?.ok_or_else(refused)?;
    if !controller.parts().pepper.matches(secret, &token.secret_hash) {
        return Err(refused());
    }
    if token.revoked {
        return Err(Problem::new(Code::KeyRevoked, "This token was revoked. Ask the operator for a new one."));
    }
    if token.expires_at.is_some_and(|expires| expires <= controller.now()) {
        return Err(Problem::new(Code::KeyExpired, "This token has expired. Ask the operator for a new one."));
    }
    let role: Role = token.role.parse().map_err(|_| Problem::internal(format!("token {id} has no known role")))?;
    if role.binding() == Binding::Tenant && token.tenant.is_none() {
        // It would see every tenant. Nothing makes such a token; a row that was edited by hand must not.
        return Err(Problem::internal(format!("token {id} of role {role} is bound to no tenant")));
    }
    Ok(Caller { actor: id.to_string(), role, tenant: token.tenant })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policy_and_the_endpoints_know_the_same_actions() {
        let known: Vec<&str> = control::Action::ALL.iter().map(|action| action.as_str()).collect();
        assert_eq!(ACTIONS, known);
    }

    fn caller(tenant: Option<TenantId>) -> Caller {
        Caller { actor: "t".into(), role: Role::TenantAdmin, tenant }
    }

    #[test]
    fn a_bound_caller_sees_its_tenant_and_nothing_else() {
        let (own, foreign) = (TenantId(1), TenantId(2));
        assert!(caller(Some(own)).sees(Some(own)));
        assert!(!caller(Some(own)).sees(Some(foreign)));
        assert!(!caller(Some(own)).sees(None));
        assert!(caller(None).sees(Some(foreign)) && caller(None).sees(None));
        assert_eq!(caller(Some(own)).scope(None).unwrap(), Some(own));
        assert_eq!(caller(Some(own)).scope(Some(foreign)).unwrap_err().code, Code::NotFound);
        assert_eq!(caller(None).scope(None).unwrap(), None);
    }
}
