//! `X-Broker-API-Originating-Identity`: the person behind a call, for the audit log. Recorded and never decided on.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::{Value, json};

/// Of a longer header nothing is kept: an audit entry is a line, not a store.
const HEADER_BYTES_MAX: usize = 4 * 1_024;

/// `platform base64(JSON)` as an object; what is not of this form is kept as text.
pub fn identity(header: Option<&str>) -> Option<Value> {
    let header = header?.trim();
    if header.is_empty() {
        return None;
    }
    if header.len() > HEADER_BYTES_MAX {
        return Some(json!({ "unreadable": "longer than 4096 bytes" }));
    }
    let read = || {
        let (platform, encoded) = header.split_once(' ')?;
        let encoded = encoded.trim();
        let bytes = STANDARD.decode(encoded).or_else(|_| STANDARD_NO_PAD.decode(encoded)).ok()?;
        let value: Value = serde_json::from_slice(&bytes).ok().filter(Value::is_object)?;
        Some(json!({ "platform": platform, "user": value }))
    };
    Some(read().unwrap_or_else(|| json!({ "unreadable": header })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_read_and_what_cannot() {
        let encoded = STANDARD.encode(r#"{"user":"anna@example.org"}"#);
        let read = |text: &str| identity(Some(text));
        assert_eq!(
            read(&format!("sapcp {encoded}")),
            Some(json!({ "platform": "sapcp", "user": { "user": "anna@example.org" } }))
        );
        for text in ["sapcp", "sapcp !", "sapcp MQ=="] {
            assert_eq!(read(text), Some(json!({ "unreadable": text })));
        }
        assert_eq!((identity(None), read("  ")), (None, None));
        assert!(read(&"x".repeat(HEADER_BYTES_MAX + 1)).unwrap().to_string().len() < 100);
    }
}
