//! Fields of a resource, read as what they should be and cut to their limits.

use crate::error::Error;
use crate::limits::TEXT_CHARS_MAX;
use serde_json::Value;

/// Without control characters and spaces around it, at most `max` characters: fit for a table, a log, a comparison.
pub(crate) fn clean(text: &str, max: usize) -> String {
    let printable = text.trim().chars().map(|letter| if letter.is_control() { ' ' } else { letter });
    let cut: String = printable.take(max).collect();
    cut.trim_end().to_owned()
}

/// A text that may be missing or null. A number counts as the text that it would be: serial numbers come like that too.
pub(crate) fn text(resource: &Value, field: &str, path: &str) -> Result<String, Error> {
    match &resource[field] {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(clean(text, TEXT_CHARS_MAX)),
        Value::Number(number) => Ok(clean(&number.to_string(), TEXT_CHARS_MAX)),
        _ => Err(Error::Shape { path: path.to_owned(), field: field.to_owned(), wanted: "text" }),
    }
}

/// A text where anything else counts as none: fields that nothing is decided on.
pub(crate) fn text_or_none(resource: &Value, field: &str) -> String {
    text(resource, field, "").unwrap_or_default()
}

/// A list that may be missing.
pub(crate) fn list<'a>(resource: &'a Value, field: &str, path: &str) -> Result<&'a [Value], Error> {
    match &resource[field] {
        Value::Null => Ok(&[]),
        Value::Array(list) => Ok(list),
        _ => Err(Error::Shape { path: path.to_owned(), field: field.to_owned(), wanted: "a list" }),
    }
}

/// A serial number, or nothing where a BMC fills the field with what is none.
pub(crate) fn serial(resource: &Value, path: &str) -> Result<String, Error> {
    let serial = text(resource, "SerialNumber", path)?;
    let filler = ["n/a", "na", "none", "null", "unknown", "default string", "to be filled by o.e.m.", "not specified"];
    let empty = serial.chars().all(|letter| matches!(letter, '0' | ' ' | '-' | '.'));
    Ok(if empty || filler.contains(&serial.to_ascii_lowercase().as_str()) { String::new() } else { serial })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts() {
        assert_eq!(clean("  a\tb\u{7}c \n", 10), "a b c");
        assert_eq!(clean(&"x".repeat(TEXT_CHARS_MAX + 1), TEXT_CHARS_MAX).len(), TEXT_CHARS_MAX);
        assert_eq!(text(&json!({"a": 7}), "a", "/x"), Ok("7".to_owned()));
        assert_eq!(text(&json!({"a": null}), "a", "/x"), Ok(String::new()));
        assert_eq!(text(&json!({}), "a", "/x"), Ok(String::new()));
        assert!(text(&json!({"a": ["b"]}), "a", "/x").is_err());
        assert!(text(&json!({"a": true}), "a", "/x").is_err());
    }

    #[test]
    fn what_is_no_serial() {
        for none in ["", " ", "0000000000000000000000000", "N/A", "Default string", "To be filled by O.E.M."] {
            assert_eq!(serial(&json!({ "SerialNumber": none }), "/x"), Ok(String::new()), "{none}");
        }
        assert_eq!(serial(&json!({"SerialNumber": "1652923003067 "}), "/x").as_deref(), Ok("1652923003067"));
    }
}
