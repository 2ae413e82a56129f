//! What can be said with an order: read strictly, described by JSON schemas in the catalog.
//!
//! The schemas and the reading are two texts of one rule; a test holds them together. What instances and bindings both have
//! (a budget and two limits) is written out in each: serde refuses no unknown member of a type that flattens another.

use crate::{Plan, Refusal};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use types::snapshot::Limits;
use types::{Country, DataClass, MicroEur, UnixMillis};

/// The most that one can ask to spend in a month: 100 million euro, a slip of the finger beyond it.
const BUDGET_EUR_MAX: u32 = 100_000_000;
/// The most requests a minute: a thousand times what one client does.
const REQUESTS_MAX: u32 = 10_000_000;
/// The most tokens a minute: what ten thousand replicas make.
const TOKENS_MAX: u64 = 10_000_000_000;
/// Replicas of one order; more is a conversation.
const REPLICAS_MAX: u32 = 64;
/// The longest name of a model, in characters.
const MODEL_CHARS_MAX: usize = 200;
/// A binding lives for ten years at most; without a number, until it is deleted.
const DAYS_MAX: u32 = 3_650;
const DAY_MILLIS: i64 = 86_400_000;

/// With an instance. What is left out is no limit, or the site's default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstanceParameters {
    /// Default and floor of the data class; internal if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_class: Option<DataClass>,
    /// Only endpoints in this country.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<Country>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monthly_budget_eur: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<u64>,
    /// By order only: what is to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// By order only: one if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
}

/// With a binding.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BindingParameters {
    /// The credentials end after so many days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_days: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monthly_budget_eur: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<u64>,
}

fn object(parameters: Option<&Value>) -> Result<Map<String, Value>, Refusal> {
    match parameters {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(map)) => Ok(map.clone()),
        Some(_) => Err(Refusal::bad("parameters: give an object.")),
    }
}

fn read<T: serde::de::DeserializeOwned>(map: Map<String, Value>) -> Result<T, Refusal> {
    serde_json::from_value(Value::Object(map))
        .map_err(|error| Refusal::bad(format!("parameters: {error}. The catalog has their schema.")))
}

fn within<N: PartialOrd + std::fmt::Display>(name: &str, value: Option<N>, min: N, max: N) -> Result<(), Refusal> {
    match value {
        Some(value) if value < min || value > max => {
            Err(Refusal::bad(format!("parameters: {name} is a number from {min} to {max}.")))
        }
        _ => Ok(()),
    }
}

fn euro(amount: Option<u32>) -> Option<MicroEur> {
    amount.map(|euro| MicroEur(i64::from(euro) * 1_000_000))
}

impl InstanceParameters {
    pub(crate) fn read(plan: Plan, parameters: Option<&Value>) -> Result<Self, Refusal> {
        let read: Self = read(object(parameters)?)?;
        read.check(plan)?;
        Ok(read)
    }

    /// What an update makes of them: what is left out stays, null takes away. Another plan drops what only the old one has.
    pub(crate) fn changed(&self, plan: Plan, parameters: Option<&Value>) -> Result<Self, Refusal> {
        let mut own = self.clone();
        if !plan.by_order() {
            (own.model, own.replicas) = (None, None);
        }
        let mut map = object(serde_json::to_value(own).ok().as_ref())?;
        for (name, value) in object(parameters)? {
            match value {
                Value::Null if !map.contains_key(&name) => {
                    // Known or not, it has to be said: a misspelt null would look as if it had worked.
                    let _known: Self = read([(name, Value::Null)].into_iter().collect())?;
                }
                Value::Null => drop(map.remove(&name)),
                value => drop(map.insert(name, value)),
            }
        }
        Self::read(plan, Some(&Value::Object(map)))
    }

    fn check(&self, plan: Plan) -> Result<(), Refusal> {
        within("monthly_budget_eur", self.monthly_budget_eur, 0, BUDGET_EUR_MAX)?;
        within("requests_per_minute", self.requests_per_minute, 1, REQUESTS_MAX)?;
        within("tokens_per_minute", self.tokens_per_minute, 1, TOKENS_MAX)?;
        within("replicas", self.replicas, 1, REPLICAS_MAX)?;
        match (&self.model, plan.by_order()) {
            (Some(model), true) => {
                let good =
                    (1..=MODEL_CHARS_MAX).contains(&model.chars().count()) && !model.chars().any(char::is_control);
                if good {
                    Ok(())
                } else {
                    Err(Refusal::bad(format!("parameters: model has 1 to {MODEL_CHARS_MAX} printable characters.")))
                }
            }
            (None, true) => Err(Refusal::bad(format!("parameters: say which model the plan {plan} is to run."))),
            (None, false) if self.replicas.is_none() => Ok(()),
            (_, false) => {
                Err(Refusal::bad(format!("parameters: the plan {plan} has no model and no replicas of its own.")))
            }
        }
    }

    pub fn budget(&self) -> Option<MicroEur> {
        euro(self.monthly_budget_eur)
    }

    pub fn limits(&self) -> Limits {
        Limits { requests_per_minute: self.requests_per_minute, tokens_per_minute: self.tokens_per_minute }
    }
}

impl BindingParameters {
    pub(crate) fn read(parameters: Option<&Value>) -> Result<Self, Refusal> {
        let read: Self = read(object(parameters)?)?;
        within("expires_in_days", read.expires_in_days, 1, DAYS_MAX)?;
        within("monthly_budget_eur", read.monthly_budget_eur, 0, BUDGET_EUR_MAX)?;
        within("requests_per_minute", read.requests_per_minute, 1, REQUESTS_MAX)?;
        within("tokens_per_minute", read.tokens_per_minute, 1, TOKENS_MAX)?;
        Ok(read)
    }

    pub(crate) fn expires_at(&self, now: UnixMillis) -> Option<UnixMillis> {
        self.expires_in_days.map(|days| UnixMillis(now.0 + i64::from(days) * DAY_MILLIS))
    }

    pub fn budget(&self) -> Option<MicroEur> {
        euro(self.monthly_budget_eur)
    }

    pub fn limits(&self) -> Limits {
        Limits { requests_per_minute: self.requests_per_minute, tokens_per_minute: self.tokens_per_minute }
    }
}

fn number(description: &str, min: u64, max: u64, nullable: bool) -> Value {
    let kind = if nullable { json!(["integer", "null"]) } else { json!("integer") };
    json!({ "type": kind, "minimum": min, "maximum": max, "description": description })
}

fn schema(properties: Value) -> Value {
    json!({
        "$schema": "http://json-schema.org/draft-04/schema#",
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    })
}

/// `create`: all that can be said. An update can also take away, by null.
pub(crate) fn instance_schema(plan: Plan, create: bool) -> Value {
    let text = if create { json!("string") } else { json!(["string", "null"]) };
    let mut classes = json!(["public", "internal", "confidential", "secret"]);
    if let (false, Some(list)) = (create, classes.as_array_mut()) {
        list.push(Value::Null);
    }
    let mut schema = schema(json!({
        "data_class": { "type": text, "enum": classes, "description": "Default and floor of the data class." },
        "country": { "type": text, "pattern": "^[A-Z]{2}$", "description": "Only endpoints in this country, without fallback." },
        "monthly_budget_eur": number("Whole euro per calendar month (UTC).", 0, BUDGET_EUR_MAX.into(), !create),
        "requests_per_minute": number("Requests per minute.", 1, REQUESTS_MAX.into(), !create),
        "tokens_per_minute": number("Tokens of prompt and answer together, per minute.", 1, TOKENS_MAX, !create),
    }));
    if plan.by_order() {
        schema["properties"]["model"] =
            json!({ "type": "string", "minLength": 1, "maxLength": MODEL_CHARS_MAX, "description": "What is to run." });
        schema["properties"]["replicas"] =
            number("How many replicas of it; 1 if left out.", 1, REPLICAS_MAX.into(), !create);
        if create {
            schema["required"] = json!(["model"]);
        }
    }
    schema
}

pub(crate) fn binding_schema() -> Value {
    schema(json!({
        "expires_in_days": number("The credentials end after so many days; never if left out.", 1, DAYS_MAX.into(), false),
        "monthly_budget_eur": number("Whole euro per calendar month (UTC) for these credentials.", 0, BUDGET_EUR_MAX.into(), false),
        "requests_per_minute": number("Requests per minute.", 1, REQUESTS_MAX.into(), false),
        "tokens_per_minute": number("Tokens of prompt and answer together, per minute.", 1, TOKENS_MAX, false),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_the_schema_says() {
        for plan in Plan::ALL {
            let full = json!({ "data_class": "secret", "country": "DE", "monthly_budget_eur": 1, "requests_per_minute": 1,
                "tokens_per_minute": 1 });
            let mut full = full.as_object().unwrap().clone();
            if plan.by_order() {
                full.extend([("model".to_owned(), json!("m")), ("replicas".to_owned(), json!(1))]);
            }
            let schema = instance_schema(plan, true);
            let named: Vec<_> = schema["properties"].as_object().unwrap().keys().collect();
            assert_eq!(named, full.keys().collect::<Vec<_>>(), "{plan}");
            InstanceParameters::read(plan, Some(&Value::Object(full.clone()))).unwrap();
            for (name, property) in schema["properties"].as_object().unwrap() {
                let (Some(min), Some(max)) = (property["minimum"].as_u64(), property["maximum"].as_u64()) else {
                    continue;
                };
                let with = |value: u64| {
                    let mut all = full.clone();
                    all.insert(name.clone(), json!(value));
                    InstanceParameters::read(plan, Some(&Value::Object(all))).is_ok()
                };
                assert!(with(min) && with(max) && !with(max + 1) && (min == 0 || !with(min - 1)), "{plan} {name}");
            }
        }
        for (name, property) in binding_schema()["properties"].as_object().unwrap() {
            let with = |value: u64| BindingParameters::read(Some(&json!({ name.as_str(): value }))).is_ok();
            let (min, max) = (property["minimum"].as_u64().unwrap(), property["maximum"].as_u64().unwrap());
            assert!(with(min) && with(max) && !with(max + 1) && (min == 0 || !with(min - 1)), "{name}");
        }
    }

    #[test]
    fn unknown_and_misplaced_is_refused() {
        let shared = |parameters: Value| InstanceParameters::read(Plan::InferenceShared, Some(&parameters)).is_ok();
        assert!(shared(json!({})) && shared(Value::Null));
        for bad in [
            json!({ "model": "m" }),
            json!({ "replicas": 1 }),
            json!({ "budget": 1 }),
            json!([]),
            json!("x"),
            json!({ "monthly_budget_eur": -1 }),
            json!({ "monthly_budget_eur": 1.5 }),
            json!({ "data_class": "geheim" }),
        ] {
            assert!(!shared(bad.clone()), "{bad}");
        }
        assert!(InstanceParameters::read(Plan::InferenceDedicated, None).is_err(), "a model is needed");
    }

    #[test]
    fn an_update_keeps_changes_and_takes_away() {
        let old =
            InstanceParameters::read(Plan::InferenceDedicated, Some(&json!({ "model": "m", "monthly_budget_eur": 5 })))
                .unwrap();
        let changed = |plan, parameters: Value| old.changed(plan, Some(&parameters));
        assert_eq!(changed(Plan::InferenceDedicated, json!({})).unwrap(), old);
        let new = changed(Plan::InferenceShared, json!({ "country": "DE", "monthly_budget_eur": null })).unwrap();
        assert_eq!((new.model, new.country, new.monthly_budget_eur), (None, Some("DE".parse().unwrap()), None));
        assert!(changed(Plan::InferenceDedicated, json!({ "mdoel": null })).is_err());
        assert!(changed(Plan::InferenceDedicated, json!({ "model": null })).is_err());
        assert!(changed(Plan::InferenceDedicated, json!({ "country": null })).is_ok());
    }
}
