//! What is checked when a rule is written. A rule that passes can be compiled, evaluates with the types it expects, and
//! could match something.
//!
//! Why so strict: a `forbid` with a misspelt word forbids nothing, and nobody notices until the data is gone. So what
//! Cedar only warns about is refused here too.

use crate::base::BASE;
use crate::question::SCHEMA;
use crate::shape::{self, NESTING_MAX, STEPS_MAX};
use crate::words;
use crate::{PolicyError, Problem};
use cedar_policy::ffi::DetailedError;
use cedar_policy::{Effect, Policy, PolicyId, PolicySet, ValidationMode, ValidationWarning, Validator};
use std::str::FromStr;
use std::sync::LazyLock;
use types::TenantId;

/// One policy of 400 lines at 40 bytes. A rule is one thought; longer ones are several.
pub const RULE_BYTES_MAX: usize = 16 * 1_024;

/// Per tenant, and for the operator. All of a tenant's rules are evaluated for each of its decisions (about 1 µs each,
/// once per key, class and endpoint), and 100 x 16 KiB are 1.6 MiB of snapshot.
pub const RULES_PER_OWNER_MAX: usize = 100;

/// A name stands in every receipt that the rule decides.
pub const RULE_NAME_BYTES_MAX: usize = 64;

/// The names that decisions use for what is not a rule.
pub const RESIDENCY: &str = "residency";
/// No rule permits.
pub const NO_PERMIT: &str = "no-permit";
/// A rule failed while it was evaluated.
pub const RULE_ERROR: &str = "rule-error";

const HINT_WORDS: &str = "A rule may use principal (in Project::\"prj_…\" or Tenant::\"ten_…\"), action, resource.model, \
     .country, .site, .operator, .provider, .jurisdiction, .retention, .attestation, context.class and context.class_level.";

static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| Validator::new(SCHEMA.clone()));

/// Checks one rule as its owner would write it; none is the operator. Whether its name is free shows when the bundle
/// is compiled.
pub fn check_rule(owner: Option<TenantId>, name: &str, text: &str) -> Result<(), PolicyError> {
    parse(owner, name, text).map(|_| ())
}

/// A rule as it goes into a policy set: its id is its name.
pub(crate) fn parse(owner: Option<TenantId>, name: &str, text: &str) -> Result<Policy, PolicyError> {
    check_name(name)?;
    if BASE.iter().any(|rule| rule.name == name) || [RESIDENCY, NO_PERMIT, RULE_ERROR].contains(&name) {
        return Err(PolicyError::new(name, Problem::Name, "this name is taken by what ships", "Choose another name."));
    }
    let policy = parse_any(owner, name, text)?;
    if owner.is_some() && policy.effect() == Effect::Permit {
        return Err(PolicyError::new(
            name,
            Problem::Permits,
            "a tenant's rule can only forbid, and this one permits",
            "Write forbid (…) when {…} for what shall not be; what may be is permitted by the operator's rules.",
        ));
    }
    Ok(policy)
}

/// The part that holds for shipped rules too.
pub(crate) fn parse_any(owner: Option<TenantId>, name: &str, text: &str) -> Result<Policy, PolicyError> {
    let refuse = |problem, what: &str, hint: &str| Err(PolicyError::new(name, problem, what, hint));
    if text.len() > RULE_BYTES_MAX {
        let what = format!("the text has {} bytes, the limit is {RULE_BYTES_MAX}", text.len());
        return refuse(Problem::TooLong, &what, "Split it into several rules.");
    }
    let shape = shape::measure(text);
    if shape.nesting > NESTING_MAX || shape.steps > STEPS_MAX {
        let what = format!(
            "it has {} brackets within brackets and {} operators, the limits are {NESTING_MAX} and {STEPS_MAX}",
            shape.nesting, shape.steps
        );
        let hint = "Write [\"a\", \"b\"].contains(resource.site) instead of many ||, or split it into several rules.";
        return refuse(Problem::TooDeep, &what, hint);
    }
    let set = PolicySet::from_str(text).map_err(|error| {
        PolicyError::cedar(
            name,
            text,
            Problem::Syntax,
            &DetailedError::from(&error),
            "The syntax is Cedar's: \
             forbid (principal, action, resource) when { resource.jurisdiction == \"US\" };",
        )
    })?;
    if set.num_of_templates() > 0 {
        return refuse(
            Problem::NotOne,
            "it is a template (?principal or ?resource)",
            "Write the id itself, for example principal in Project::\"prj_…\".",
        );
    }
    let mut policies = set.policies();
    let (Some(policy), None) = (policies.next(), policies.next()) else {
        let what = format!("it holds {} policies", set.num_of_policies());
        return refuse(Problem::NotOne, &what, "A rule is exactly one policy; write several rules.");
    };
    if let Some(id) = policy.annotation("id").filter(|id| *id != name) {
        let what = format!("the text says @id({id:?}), the rule's name is another");
        return refuse(Problem::Name, &what, "Make them equal, or leave @id out.");
    }
    let policy = policy.new_id(PolicyId::new(name));
    validate(name, text, &policy)?;
    words::check(owner, name, text, &policy)?;
    Ok(policy)
}

fn check_name(name: &str) -> Result<(), PolicyError> {
    let fits = !name.is_empty()
        && name.len() <= RULE_NAME_BYTES_MAX
        && name.trim() == name
        && name.chars().all(|c| c.is_alphanumeric() || "-_. ".contains(c));
    if fits {
        return Ok(());
    }
    Err(PolicyError::new(
        &name.chars().take(RULE_NAME_BYTES_MAX).collect::<String>(),
        Problem::Name,
        format!("a name has 1 to {RULE_NAME_BYTES_MAX} bytes: letters, digits, and - _ . or space inside"),
        "Choose another name, for example no-foreign-providers.",
    ))
}

fn validate(name: &str, text: &str, policy: &Policy) -> Result<(), PolicyError> {
    let set = PolicySet::from_policies([policy.clone()])
        .map_err(|error| PolicyError::new(name, Problem::NotOne, error.to_string(), "Write one static policy."))?;
    let result = VALIDATOR.validate(&set, ValidationMode::Strict);
    if let Some(error) = first(result.validation_errors().map(DetailedError::from)) {
        return Err(PolicyError::cedar(name, text, Problem::Schema, &error, HINT_WORDS));
    }
    // A provider's name may mix scripts; everything else that Cedar warns about is a mistake or a deception.
    let warnings = result
        .validation_warnings()
        .filter(|warning| !matches!(warning, ValidationWarning::MixedScriptString(_)))
        .map(DetailedError::from);
    if let Some(warning) = first(warnings) {
        let hint = "Cedar only warns of this; a rule that decides over data has to mean what it looks like.";
        return Err(PolicyError::cedar(name, text, Problem::Never, &warning, hint));
    }
    Ok(())
}

/// Cedar reports in no fixed order; people read from the top, and the same text gives the same answer.
fn first(errors: impl Iterator<Item = DetailedError>) -> Option<DetailedError> {
    errors.min_by_key(|error| (error.source_locations.first().map(|label| label.loc.start), error.message.clone()))
}
