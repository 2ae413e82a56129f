//! All rules of a site, compiled: the digest that receipts carry, and the decision.
//!
//! Why one policy set per tenant: a request is decided with the shipped rules, the operator's and its own tenant's, and
//! with no others. A tenant's rule is not fenced in by a condition that somebody could forget; it is simply not there
//! when somebody else asks.

use crate::base::BASE;
use crate::question::{self, INFER, Question, SCHEMA_TEXT, SEARCH_WEB};
use crate::rule::{NO_PERMIT, RESIDENCY, RULE_ERROR, RULES_PER_OWNER_MAX, parse, parse_any};
use crate::{PolicyError, Problem};
use aws_lc_rs::digest::{SHA256, digest};
use cedar_policy::{ActionConstraint, AuthorizationError, Authorizer, Policy, PolicyId, PolicySet};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::LazyLock;
use types::TenantId;
use types::snapshot::Rule;

/// What policy says, and by which rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub permit: bool,
    /// Sorted names. Permitted: the rules that permit. Refused: the rules that forbid; or `no-permit` and the shipped
    /// rule of the class, whose conditions are not met; or `residency`; or `rule-error` and the rules that failed.
    pub rules: Vec<String>,
    /// False: the endpoint stands outside the project's country. Nothing else was looked at.
    pub residency: bool,
}

/// The shipped rules, compiled once: they pass the same checks as all others.
static SHIPPED: LazyLock<Result<PolicySet, PolicyError>> = LazyLock::new(|| {
    let mut set = PolicySet::new();
    for rule in BASE {
        add(&mut set, rule.name, parse_any(None, rule.name, rule.text)?)?;
    }
    Ok(set)
});

/// Compiled rules. Immutable: another set of rules is another bundle.
#[derive(Debug, Clone)]
pub struct Bundle {
    digest: String,
    authorizer: Authorizer,
    /// Shipped and operator's: decides for tenants without rules of their own.
    operator: PolicySet,
    /// The same and the tenant's.
    tenants: BTreeMap<TenantId, PolicySet>,
}

impl Bundle {
    /// Checks and compiles rules; the shipped ones are always among them. The order of the rules does not matter.
    pub fn compile(rules: &[Rule]) -> Result<Bundle, PolicyError> {
        let mut operator = SHIPPED.clone()?;
        let mut counts: BTreeMap<Option<TenantId>, usize> = BTreeMap::new();
        for rule in rules {
            let count = counts.entry(rule.tenant).or_default();
            *count += 1;
            if *count > RULES_PER_OWNER_MAX {
                let what = format!("its owner has more than {RULES_PER_OWNER_MAX} rules");
                return Err(PolicyError::new(&rule.name, Problem::TooMany, what, "Remove some, or join them."));
            }
        }
        for rule in rules.iter().filter(|rule| rule.tenant.is_none()) {
            add(&mut operator, &rule.name, parse(None, &rule.name, &rule.text)?)?;
        }
        let mut tenants = BTreeMap::new();
        for rule in rules {
            if let Some(tenant) = rule.tenant {
                let set = tenants.entry(tenant).or_insert_with(|| operator.clone());
                add(set, &rule.name, parse(Some(tenant), &rule.name, &rule.text)?)?;
            }
        }
        let digest = digest_of(&canonical(rules));
        Ok(Bundle { digest, authorizer: Authorizer::new(), operator, tenants })
    }

    /// `sha256:<hex>` over [`canonical`] of the rules that this bundle was compiled from.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Decides. Whatever goes wrong on the way refuses.
    pub fn decide(&self, question: &Question<'_>) -> Decision {
        self.decide_on(question, INFER)
    }

    /// Decides whether this provider of web searches may see a query: its facts are those of the question. Off unless a rule
    /// permits that names the action; one that permits whatever is done was not written with this in mind.
    pub fn decide_web(&self, question: &Question<'_>) -> Decision {
        let decision = self.decide_on(question, SEARCH_WEB);
        let rules = self.tenants.get(&question.tenant).unwrap_or(&self.operator);
        let names_it = |name: &String| {
            let rule = rules.policy(&PolicyId::new(name));
            rule.is_some_and(|rule| rule.action_constraint() != ActionConstraint::Any)
        };
        if decision.permit && !decision.rules.iter().any(names_it) {
            return Decision { permit: false, rules: vec![NO_PERMIT.to_owned()], residency: true };
        }
        decision
    }

    fn decide_on(&self, question: &Question<'_>, action: &str) -> Decision {
        if question.country.is_some_and(|country| country != question.facts.country) {
            return Decision { permit: false, rules: vec![RESIDENCY.to_owned()], residency: false };
        }
        let refuse = |rules| Decision { permit: false, rules, residency: true };
        let Ok((request, entities)) = question::cedar(question, action) else {
            return refuse(vec![RULE_ERROR.to_owned()]);
        };
        let rules = self.tenants.get(&question.tenant).unwrap_or(&self.operator);
        let response = self.authorizer.is_authorized(&request, rules, &entities);
        let diagnostics = response.diagnostics();
        let failed =
            |AuthorizationError::PolicyEvaluationError(error): &AuthorizationError| error.policy_id().to_string();
        let mut failed: Vec<String> = diagnostics.errors().map(failed).collect();
        if !failed.is_empty() {
            failed.sort_unstable();
            failed.insert(0, RULE_ERROR.to_owned());
            return refuse(failed);
        }
        let mut reasons: Vec<String> = diagnostics.reason().map(ToString::to_string).collect();
        reasons.sort_unstable();
        match response.decision() {
            cedar_policy::Decision::Allow => Decision { permit: true, rules: reasons, residency: true },
            cedar_policy::Decision::Deny if reasons.is_empty() => {
                // The shipped rules are about inference.
                let unmet = BASE.iter().filter(|rule| action == INFER && rule.class == question.class);
                let unmet = unmet.map(|rule| rule.name);
                refuse([NO_PERMIT].into_iter().chain(unmet).map(str::to_owned).collect())
            }
            cedar_policy::Decision::Deny => refuse(reasons),
        }
    }
}

/// Names are unique within what can decide one request: a receipt that names a rule means one rule.
fn add(set: &mut PolicySet, name: &str, policy: Policy) -> Result<(), PolicyError> {
    set.add(policy).map_err(|_| {
        let what = "another rule of this owner or of the operator has this name";
        PolicyError::new(name, Problem::Doubled, what, "Choose another name, or remove the other rule.")
    })
}

/// Everything that decides, as canonical JSON (RFC 8785): schema, shipped rules and all others, sorted by owner and name,
/// texts as they were written. Ids are left out: the same rules decide the same.
pub fn canonical(rules: &[Rule]) -> String {
    // Fields in alphabetical order; serde writes them in the order declared. The operator's owner is null.
    #[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
    struct Line<'a> {
        name: &'a str,
        owner: Option<TenantId>,
        text: &'a str,
    }
    #[derive(Serialize)]
    struct Everything<'a> {
        base: Vec<Line<'a>>,
        rules: Vec<Line<'a>>,
        schema: &'a str,
    }
    let base = BASE.iter().map(|rule| Line { name: rule.name, owner: None, text: rule.text }).collect();
    let mut rules: Vec<_> =
        rules.iter().map(|rule| Line { name: &rule.name, owner: rule.tenant, text: &rule.text }).collect();
    rules.sort_unstable_by_key(|line| (line.owner, line.name));
    serde_json::to_string(&Everything { base, rules, schema: SCHEMA_TEXT }).expect("strings and ids always serialise")
}

fn digest_of(canonical: &str) -> String {
    digest(&SHA256, canonical.as_bytes()).as_ref().iter().fold(String::from("sha256:"), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}
