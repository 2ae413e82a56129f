//! Reading JSON strictly: each object says which members it knows, and the error names the path of one that it does not.
//! serde's own errors do not name the path, and those of untagged forms name nothing.

use serde_json::{Map, Value};
use std::ops::RangeInclusive;

/// A message for the caller, with the path of what is wrong.
pub(super) type Wrong = String;

pub(super) struct Object<'a> {
    map: &'a Map<String, Value>,
    pub path: String,
}

impl<'a> Object<'a> {
    pub fn of(value: &'a Value, path: impl Into<String>) -> Result<Object<'a>, Wrong> {
        let path = path.into();
        match value {
            Value::Object(map) => Ok(Object { map, path }),
            _ => Err(format!("{path} must be an object")),
        }
    }

    /// The whole body: paths begin with its members.
    pub fn body(value: &'a Value) -> Result<Object<'a>, Wrong> {
        Object::of(value, "the body").map(|body| Object { path: String::new(), ..body })
    }

    fn at(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Refuses members of other names than these.
    pub fn only(&self, names: &[&str]) -> Result<(), Wrong> {
        match self.map.keys().find(|key| !names.contains(&key.as_str())) {
            Some(unknown) => Err(format!("{} is not known here; known are: {}", self.at(unknown), names.join(", "))),
            None => Ok(()),
        }
    }

    /// `null` counts as absent.
    pub fn get(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    pub fn text(&self, name: &str) -> Result<Option<&'a str>, Wrong> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(format!("{} must be a string", self.at(name))),
        }
    }

    pub fn need_text(&self, name: &str) -> Result<&'a str, Wrong> {
        self.text(name)?.filter(|text| !text.is_empty()).ok_or_else(|| format!("{} is missing", self.at(name)))
    }

    pub fn flag(&self, name: &str) -> Result<bool, Wrong> {
        match self.get(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(format!("{} must be true or false", self.at(name))),
        }
    }

    pub fn whole(&self, name: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, Wrong> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.as_u64().filter(|number| range.contains(number));
        number.map(Some).ok_or_else(|| {
            format!("{} must be a whole number from {} to {}", self.at(name), range.start(), range.end())
        })
    }

    pub fn object(&self, name: &str) -> Result<Option<Object<'a>>, Wrong> {
        self.get(name).map(|value| Object::of(value, self.at(name))).transpose()
    }

    pub fn need_object(&self, name: &str) -> Result<Object<'a>, Wrong> {
        self.object(name)?.ok_or_else(|| format!("{} is missing", self.at(name)))
    }

    /// A list, and the path of each of its elements.
    pub fn list(&self, name: &str) -> Result<Option<Vec<(String, &'a Value)>>, Wrong> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Array(list)) => {
                let numbered = list.iter().enumerate();
                Ok(Some(numbered.map(|(number, value)| (format!("{}[{number}]", self.at(name)), value)).collect()))
            }
            Some(_) => Err(format!("{} must be a list", self.at(name))),
        }
    }

    pub fn texts(&self, name: &str) -> Result<Option<Vec<String>>, Wrong> {
        let Some(list) = self.list(name)? else { return Ok(None) };
        let text = |(path, value): (String, &Value)| match value {
            Value::String(text) => Ok(text.clone()),
            _ => Err(format!("{path} must be a string")),
        };
        list.into_iter().map(text).collect::<Result<_, _>>().map(Some)
    }

    /// An object of strings. Numbers and truths are not made into text: two clients would write them differently.
    pub fn map_of_texts(&self, name: &str) -> Result<Vec<(String, String)>, Wrong> {
        let Some(object) = self.object(name)? else { return Ok(Vec::new()) };
        let text = |(key, value): (&String, &Value)| match value {
            Value::String(text) => Ok((key.clone(), text.clone())),
            _ => Err(format!("{} must be a string", object.at(key))),
        };
        object.map.iter().map(text).collect()
    }
}
