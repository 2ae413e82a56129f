//! Roles and actions of the control API: `rules/control.cedar` decides, the golden table in the tests shows it.
//!
//! What it is not: it does not know whose thing is touched. A token bound to a tenant sees only that tenant's things, and
//! a foreign id answers as an unknown one; the controller does that, after this has said that the role may.
//!
//! Why a table made at first use: roles times actions are a few hundred questions with fixed answers, and a request to
//! the control API then costs a look-up.

use cedar_policy::{
    Authorizer, Context, Decision, Entities, EntityId, EntityTypeName, EntityUid, PolicySet, Request, Schema,
};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

/// The rules, for people who want to read them.
pub const CONTROL_RULES: &str = include_str!("../rules/control.cedar");
/// The words that they use.
pub const CONTROL_SCHEMA: &str = include_str!("../rules/control.cedarschema");

macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $error:ident, $noun:literal; $($(#[$vdoc:meta])* $variant:ident = $text:literal;)*) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        #[doc = concat!("A text that names no ", $noun, ".")]
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $error;

        impl std::error::Error for $error {}

        impl fmt::Display for $error {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!("a ", $noun, " is one of "))?;
                for (place, word) in $name::ALL.iter().enumerate() {
                    write!(f, "{}{word}", if place == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
        }

        impl FromStr for $name {
            type Err = $error;
            fn from_str(text: &str) -> Result<Self, $error> {
                $name::ALL.iter().copied().find(|word| word.as_str() == text).ok_or($error)
            }
        }
    };
}

words! {
    /// What a bearer of a control token is.
    Role, RoleError, "role";
    /// Runs the site.
    Operator = "operator";
    /// Brings machines in.
    Installer = "installer";
    /// Runs one tenant.
    TenantAdmin = "tenant_admin";
    /// Builds on one tenant's projects.
    Developer = "developer";
    /// Reads everything: of the site, or of one tenant.
    Auditor = "auditor";
    /// Reads what costs: of the site, or of one tenant.
    Finance = "finance";
    /// Another company's software, for one tenant.
    Partner = "partner";
}

words! {
    /// What can be done at the control API; the same words as in the audit log.
    Action, ActionError, "action";
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

/// Whether a token of a role belongs to a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Binding {
    /// Never: the role is the site's.
    Site,
    /// Always: the role sees one tenant's things and nothing else.
    Tenant,
    /// As the token says: an auditor of the site, or of one tenant.
    Either,
}

impl Role {
    pub fn binding(self) -> Binding {
        match self {
            Role::Operator | Role::Installer => Binding::Site,
            Role::TenantAdmin | Role::Developer | Role::Partner => Binding::Tenant,
            Role::Auditor | Role::Finance => Binding::Either,
        }
    }
}

/// Whether a role may do this. A word that is no action may nobody.
pub fn may(role: Role, action: &str) -> bool {
    Action::from_str(action).is_ok_and(|action| PERMITTED.contains(&(role, action)))
}

static PERMITTED: LazyLock<BTreeSet<(Role, Action)>> = LazyLock::new(|| {
    let (schema, _warnings) = Schema::from_cedarschema_str(CONTROL_SCHEMA).expect("the shipped schema is tested");
    let rules = PolicySet::from_str(CONTROL_RULES).expect("the shipped rules are tested");
    let name = |text| EntityTypeName::from_str(text).expect("a single capitalised word is a type name");
    let (roles, actions, sites) = (name("Role"), name("Action"), name("Site"));
    let uid = |kind: &EntityTypeName, id: &str| EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id));
    let (authorizer, entities) = (Authorizer::new(), Entities::empty());
    let mut permitted = BTreeSet::new();
    for (&role, &action) in Role::ALL.iter().flat_map(|role| Action::ALL.iter().map(move |action| (role, action))) {
        let request = Request::new(
            uid(&roles, role.as_str()),
            uid(&actions, action.as_str()),
            uid(&sites, "site"),
            Context::empty(),
            Some(&schema),
        );
        // A role or an action that the schema does not know may nothing.
        let Ok(request) = request else { continue };
        let response = authorizer.is_authorized(&request, &rules, &entities);
        if response.decision() == Decision::Allow && response.diagnostics().errors().next().is_none() {
            permitted.insert((role, action));
        }
    }
    permitted
});

#[cfg(test)]
mod tests {
    use super::*;
    use cedar_policy::{ValidationMode, Validator};

    #[test]
    fn the_rules_fit_the_schema_and_the_schema_knows_every_word() {
        let (schema, warnings) = Schema::from_cedarschema_str(CONTROL_SCHEMA).unwrap();
        assert_eq!(warnings.count(), 0);
        let rules = PolicySet::from_str(CONTROL_RULES).unwrap();
        let result = Validator::new(schema.clone()).validate(&rules, ValidationMode::Strict);
        assert!(result.validation_passed_without_warnings(), "{result}");
        let known: BTreeSet<String> = schema.actions().map(|action| action.id().unescaped().to_owned()).collect();
        let ours: BTreeSet<String> = Action::ALL.iter().map(ToString::to_string).collect();
        assert_eq!(known, ours);
        for role in Role::ALL {
            assert!(PERMITTED.iter().any(|(permitted, _)| permitted == role), "{role} may nothing");
        }
    }

    #[test]
    fn words_read_back() {
        for &role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
        }
        for &action in Action::ALL {
            assert_eq!(action.as_str().parse(), Ok(action));
        }
        assert_eq!(
            "root".parse::<Role>().unwrap_err().to_string(),
            "a role is one of operator, installer, tenant_admin, developer, auditor, finance, partner"
        );
        assert!(!may(Role::Operator, "tenant.destroy") && !may(Role::Operator, ""));
    }
}
