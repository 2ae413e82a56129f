//! Members of a JSON request, each of its type, or a finding that names the member: what OpenAI's `param` shows.
//!
//! `null` is absence, as clients send it. Members that nobody knows are let pass: clients send many that mean nothing here.

use serde_json::{Map, Value};
use types::Code;

/// What is wrong with a request, and what to send instead. The text is public.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Finding {
    pub code: Code,
    pub param: Option<String>,
    pub message: String,
}

impl Finding {
    pub fn of(param: &str, message: impl Into<String>) -> Finding {
        Finding { code: Code::InvalidRequest, param: Some(param.to_owned()), message: message.into() }
    }
}

#[derive(Debug, Clone, Default)]
pub struct Fields(Map<String, Value>);

impl Fields {
    pub fn parse(body: &[u8]) -> Result<Fields, Finding> {
        let wrong = |message: String| Finding { code: Code::InvalidJson, param: None, message };
        match serde_json::from_slice(body) {
            Ok(Value::Object(members)) => Ok(Fields(members)),
            Ok(_) => Err(wrong("the body must be a JSON object".to_owned())),
            Err(error) => Err(wrong(format!(
                "the body is not JSON, or nested too deep (line {}, column {})",
                error.line(),
                error.column()
            ))),
        }
    }

    pub fn raw(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    pub fn text(&self, name: &str) -> Result<Option<&str>, Finding> {
        let text = |value: &Value| {
            value.is_string().then_some(()).ok_or_else(|| Finding::of(name, format!("{name} must be a string")))
        };
        self.raw(name).map(|value| text(value).map(|()| value.as_str().unwrap_or_default())).transpose()
    }

    pub fn flag(&self, name: &str) -> Result<bool, Finding> {
        match self.raw(name) {
            None => Ok(false),
            Some(value) => value.as_bool().ok_or_else(|| Finding::of(name, format!("{name} must be true or false"))),
        }
    }

    /// A whole number within bounds.
    pub fn number(&self, name: &str, min: u64, max: u64) -> Result<Option<u64>, Finding> {
        let within = |value: &Value| {
            let number = value.as_u64().filter(|number| (min..=max).contains(number));
            number.ok_or_else(|| Finding::of(name, format!("{name} must be a whole number from {min} to {max}")))
        };
        self.raw(name).map(within).transpose()
    }

    /// One of a few words.
    pub fn choice<'a>(&self, name: &str, words: &[&'a str]) -> Result<Option<&'a str>, Finding> {
        let Some(said) = self.raw(name) else { return Ok(None) };
        let known = words.iter().find(|word| said.as_str() == Some(word)).copied();
        known.map(Some).ok_or_else(|| Finding::of(name, format!("{name} must be one of {}", words.join(", "))))
    }

    /// A list of at most so many strings; a single string is a list of one.
    pub fn texts(&self, name: &str, max: usize) -> Result<Vec<&str>, Finding> {
        let wrong = || Finding::of(name, format!("{name} must be a list of at most {max} strings"));
        match self.raw(name) {
            None => Ok(Vec::new()),
            Some(Value::String(one)) => Ok(vec![one.as_str()]),
            Some(Value::Array(items)) if items.len() <= max => {
                items.iter().map(|item| item.as_str().ok_or_else(wrong)).collect()
            }
            Some(_) => Err(wrong()),
        }
    }

    /// The members of an object within.
    pub fn within(&self, name: &str) -> Result<Fields, Finding> {
        match self.raw(name) {
            None => Ok(Fields::default()),
            Some(Value::Object(members)) => Ok(Fields(members.clone())),
            Some(_) => Err(Finding::of(name, format!("{name} must be an object"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_have_their_type_or_are_named() {
        let fields =
            Fields::parse(br#"{"a":"x","b":true,"c":7,"d":["x","y"],"e":null,"f":{"g":1},"n":-1,"h":1.5}"#).unwrap();
        assert_eq!(fields.text("a").unwrap(), Some("x"));
        assert_eq!(fields.text("e").unwrap(), None);
        assert!(fields.flag("b").unwrap() && !fields.flag("e").unwrap());
        assert_eq!(fields.number("c", 7, 7).unwrap(), Some(7));
        assert_eq!(fields.texts("d", 2).unwrap(), ["x", "y"]);
        assert_eq!(fields.texts("a", 2).unwrap(), ["x"]);
        assert_eq!(fields.choice("a", &["w", "x"]).unwrap(), Some("x"));
        assert_eq!(fields.within("f").unwrap().number("g", 0, 1).unwrap(), Some(1));
        let named = |result: Result<(), Finding>| result.unwrap_err().param.unwrap();
        assert_eq!(named(fields.text("b").map(drop)), "b");
        assert_eq!(named(fields.flag("a").map(drop)), "a");
        for name in ["a", "n", "h"] {
            assert_eq!(named(fields.number(name, 0, 9).map(drop)), name);
        }
        assert_eq!(named(fields.number("c", 8, 9).map(drop)), "c");
        assert_eq!(named(fields.texts("d", 1).map(drop)), "d");
        assert_eq!(named(fields.texts("c", 1).map(drop)), "c");
        assert_eq!(named(fields.choice("a", &["w"]).map(drop)), "a");
        assert_eq!(named(fields.within("a").map(drop)), "a");
        for bad in ["", "[]", "7", "{\"a\":", "nonsense"] {
            assert_eq!(Fields::parse(bad.as_bytes()).unwrap_err().code, Code::InvalidJson, "{bad}");
        }
    }
}
