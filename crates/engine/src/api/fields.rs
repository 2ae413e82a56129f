//! A JSON body read field by field: each field is taken once, checked, and named in the refusal when it is wrong. What
//! nobody took at the end is refused too: a parameter that is ignored silently is a promise broken silently.

use super::refusal::Refusal;
use serde_json::{Map, Value};

type Result<T> = std::result::Result<T, Refusal>;

pub(crate) struct Fields {
    fields: Map<String, Value>,
}

/// Fields that change nothing about an answer by their own definition: labels, cache and latency hints.
const WITHOUT_EFFECT: [&str; 7] = [
    "user",
    "metadata",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "service_tier",
    "prediction",
];

impl Fields {
    pub(crate) fn parse(body: &[u8]) -> Result<Self> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(mut fields)) => {
                fields.retain(|_, value| !value.is_null());
                Ok(Self { fields })
            }
            Ok(_) => Err(Refusal::body("The body should be a JSON object.")),
            Err(e) => Err(Refusal::body(format!("The body is not JSON: {e}."))),
        }
    }

    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.fields.remove(name)
    }

    pub(crate) fn need(&mut self, name: &str) -> Result<Value> {
        self.take(name).ok_or_else(|| Refusal::field(name, format!("`{name}` is missing.")))
    }

    pub(crate) fn text(&mut self, name: &str) -> Result<String> {
        match self.need(name)? {
            Value::String(text) => Ok(text),
            _ => Err(Refusal::field(name, format!("`{name}` should be a string."))),
        }
    }

    pub(crate) fn flag(&mut self, name: &str) -> Result<bool> {
        match self.take(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(_) => Err(Refusal::field(name, format!("`{name}` should be true or false."))),
        }
    }

    pub(crate) fn number(&mut self, name: &str, min: f64, max: f64) -> Result<Option<f64>> {
        let Some(value) = self.take(name) else { return Ok(None) };
        match value.as_f64().filter(|n| (min..=max).contains(n)) {
            Some(number) => Ok(Some(number)),
            None => Err(Refusal::field(name, format!("`{name}` should be a number from {min} to {max}."))),
        }
    }

    pub(crate) fn count(&mut self, name: &str) -> Result<Option<usize>> {
        let Some(value) = self.take(name) else { return Ok(None) };
        match value.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0) {
            Some(count) => Ok(Some(count)),
            None => Err(Refusal::field(name, format!("`{name}` should be a whole number above 0."))),
        }
    }

    /// A field that can only be honoured with one value (its default); anything else is refused.
    pub(crate) fn only(&mut self, name: &str, default: impl Fn(&Value) -> bool, what: &str) -> Result<()> {
        match self.take(name) {
            Some(value) if !default(&value) => Err(Refusal::unsupported(name, what)),
            _ => Ok(()),
        }
    }

    /// Refuses what nobody took.
    pub(crate) fn finish(mut self) -> Result<()> {
        for name in WITHOUT_EFFECT {
            self.take(name);
        }
        self.only("store", |v| v == false, "Answers are not stored.")?;
        match self.fields.into_iter().next() {
            None => Ok(()),
            Some((name, _)) => {
                let message = format!("`{name}` is not known to this engine; leave it out.");
                Err(Refusal { code: Some("unknown_parameter"), ..Refusal::field(name, message) })
            }
        }
    }
}
