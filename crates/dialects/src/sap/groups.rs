//! Resource groups in AI Core's words.

use super::read::{Object, Wrong};
use serde_json::{Value, json};

/// As SAP's: labels of a group, and characters of a label's key and value.
const LABELS_MAX: usize = 25;
const KEY_MAX: usize = 63;
const VALUE_MAX: usize = 5_000;

/// What a client sends to make one.
#[derive(Debug, Clone, PartialEq)]
pub struct ResourceGroup {
    /// None: the site finds one.
    pub id: Option<String>,
    pub labels: Value,
}

impl ResourceGroup {
    pub fn parse(body: &[u8]) -> Result<ResourceGroup, Wrong> {
        let root: Value = serde_json::from_slice(body).map_err(|error| format!("the body is not JSON: {error}"))?;
        let new = Object::body(&root)?;
        new.only(&["resourceGroupId", "labels"])?;
        let id = new.text("resourceGroupId")?.map(str::to_owned);
        if id.as_deref().is_some_and(|id| !is_id(id)) {
            return Err(
                "resourceGroupId has 3 to 253 of A-Z, a-z, 0-9, - and ., a letter or digit first and last".to_owned()
            );
        }
        Ok(ResourceGroup { id, labels: read(&new)? })
    }
}

/// The labels that a group is to have instead of its own.
pub fn labels(body: &[u8]) -> Result<Value, Wrong> {
    let root: Value = serde_json::from_slice(body).map_err(|error| format!("the body is not JSON: {error}"))?;
    let change = Object::body(&root)?;
    change.only(&["labels"])?;
    read(&change)
}

fn read(of: &Object<'_>) -> Result<Value, Wrong> {
    let labels = of.list("labels")?.unwrap_or_default();
    if labels.len() > LABELS_MAX {
        return Err(format!("a resource group has at most {LABELS_MAX} labels"));
    }
    let one = |(path, label): (String, &Value)| {
        let label = Object::of(label, &*path)?;
        label.only(&["key", "value"])?;
        let (key, value) = (label.need_text("key")?, label.text("value")?.unwrap_or_default());
        if key.chars().count() > KEY_MAX || value.chars().count() > VALUE_MAX {
            return Err(format!("{path}: a key has at most {KEY_MAX} characters, a value {VALUE_MAX}"));
        }
        Ok(json!({"key": key, "value": value}))
    };
    labels.into_iter().map(one).collect()
}

fn is_id(id: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = id.as_bytes();
    (3..=253).contains(&bytes.len())
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_at_their_edges() {
        for good in ["abc", "A.b-9", &"x".repeat(253)] {
            assert!(is_id(good), "{good}");
        }
        for bad in ["ab", "-ab", "ab.", "a b", "a_b", "äbc", &"x".repeat(254)] {
            assert!(!is_id(bad), "{bad}");
        }
    }

    #[test]
    fn labels_are_kept_as_they_are() {
        let body = br#"{"resourceGroupId":"team","labels":[{"key":"ext.ai.sap.com/x","value":"1"}]}"#;
        let group = ResourceGroup::parse(body).unwrap();
        assert_eq!(group.labels, json!([{"key": "ext.ai.sap.com/x", "value": "1"}]));
        assert_eq!(ResourceGroup::parse(b"{}").unwrap(), ResourceGroup { id: None, labels: json!([]) });
        assert!(labels(br#"{"labels":[{"value":"1"}]}"#).is_err());
        assert!(labels(br#"{"resourceGroupId":"x"}"#).is_err());
    }
}
