//! Words that fit the schema and could never match: `resource.country == "Germany"`, `context.class == "geheim"`,
//! `Project::"demo"` (a name where an id belongs). To Cedar these are strings like any other; a `forbid` with one of them
//! would never forbid.
//!
//! What it is not: no proof that a rule matches something. It looks at literals that are compared with a fact whose
//! values are known, and at ids. Patterns (`like`) are left alone.

use crate::error::{Place, sentence};
use crate::{PolicyError, Problem};
use cedar_policy::Policy;
use serde_json::Value;
use std::str::FromStr;
use types::{Country, DataClass, EndpointId, KeyId, ProjectId, Retention, TenantId};

/// Operators that compare their two sides.
const COMPARISONS: [&str; 6] = ["==", "!=", "<", "<=", ">", ">="];

pub(crate) fn check(owner: Option<TenantId>, name: &str, text: &str, policy: &Policy) -> Result<(), PolicyError> {
    for literal in policy.entity_literals() {
        let (kind, id) = (literal.type_name().to_string(), literal.id().unescaped().to_owned());
        let fits = match kind.as_str() {
            "Tenant" => TenantId::from_str(&id).map(|_| ()).map_err(|e| e.to_string()),
            "Project" => ProjectId::from_str(&id).map(|_| ()).map_err(|e| e.to_string()),
            "Key" => KeyId::from_str(&id).map(|_| ()).map_err(|e| e.to_string()),
            "Endpoint" => EndpointId::from_str(&id).map(|_| ()).map_err(|e| e.to_string()),
            _ => Ok(()),
        };
        let never = |hint: String| {
            let what = format!("{kind}::{id:?} can never match");
            Err(PolicyError::new(name, Problem::Never, what, hint).at(find(text, &id)))
        };
        if let Err(why) = fits {
            return never(format!("Write the id, not the name: {why}."));
        }
        if kind == "Tenant" && owner.is_some_and(|owner| owner.to_string() != id) {
            return never("A tenant's rule binds only its own requests; leave the tenant out.".to_owned());
        }
    }
    // The policy's JSON form is made of Cedar's own parse; a policy that parsed has one.
    let json = policy.to_json().map_err(|error| {
        PolicyError::new(name, Problem::Syntax, error.to_string(), "Write it in Cedar's plain syntax.")
    })?;
    compared(&json, &mut |word, literal| match mismatch(word, literal) {
        None => Ok(()),
        Some(expect) => {
            let shown = literal.to_string();
            let place = find(text, literal.as_str().unwrap_or(&shown));
            let what = format!("{word} is never {shown}");
            Err(PolicyError::new(name, Problem::Never, what, expect).at(place))
        }
    })
}

/// What this word's values are, if the literal is none of them.
fn mismatch(word: &str, literal: &Value) -> Option<String> {
    let text = literal.as_str().unwrap_or_default();
    match word {
        "resource.country" | "resource.jurisdiction" => Country::from_str(text).err().map(|e| sentence(&e.to_string())),
        "resource.retention" => Retention::from_str(text).err().map(|e| sentence(&e.to_string())),
        "context.class" => DataClass::from_str(text).err().map(|e| sentence(&e.to_string())),
        "context.class_level" => match literal.as_i64() {
            Some(0..=3) => None,
            _ => Some("Levels are 0 public, 1 internal, 2 confidential and 3 secret.".to_owned()),
        },
        _ => None,
    }
}

/// Calls `look` with each literal that is compared with a word, however deep. Recursion is bounded by the nesting that
/// Cedar's own parser accepted.
fn compared(json: &Value, look: &mut impl FnMut(&str, &Value) -> Result<(), PolicyError>) -> Result<(), PolicyError> {
    match json {
        Value::Array(items) => items.iter().try_for_each(|item| compared(item, look)),
        Value::Object(fields) => fields.iter().try_for_each(|(operator, operands)| {
            if let (Some(left), Some(right)) = (operands.get("left"), operands.get("right")) {
                if COMPARISONS.contains(&operator.as_str()) {
                    pair(left, right, look)?;
                    pair(right, left, look)?;
                }
                if operator == "contains"
                    && let Some(Value::Array(items)) = left.get("Set")
                {
                    items.iter().try_for_each(|item| pair(right, item, look))?;
                }
            }
            compared(operands, look)
        }),
        _ => Ok(()),
    }
}

fn pair(
    word: &Value,
    literal: &Value,
    look: &mut impl FnMut(&str, &Value) -> Result<(), PolicyError>,
) -> Result<(), PolicyError> {
    let access = &word["."];
    match (access["left"]["Var"].as_str(), access["attr"].as_str(), literal.get("Value")) {
        (Some(variable), Some(attribute), Some(literal)) => look(&format!("{variable}.{attribute}"), literal),
        _ => Ok(()),
    }
}

/// Where a literal stands, if it stands in one place only: no place is better than the wrong one.
fn find(text: &str, literal: &str) -> Option<Place> {
    let quoted = format!("\"{literal}\"");
    let wanted = if text.contains(&quoted) { &quoted } else { literal };
    let mut found = text.match_indices(wanted);
    match (found.next(), found.next()) {
        (Some((offset, _)), None) => Some(Place::of(text, offset)),
        _ => None,
    }
}
