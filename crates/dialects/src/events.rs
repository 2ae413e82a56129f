//! Events of a stream (`text/event-stream`), as engines send them and as clients of either dialect get them.
//!
//! What it is not: it waits for nothing. The gateway gives whole events only, so there is no rest to keep between two calls.

use serde_json::Value;

/// The data of each event; several lines of one are joined.
pub(crate) fn data(events: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(events).replace("\r\n", "\n");
    let mut found = Vec::new();
    let mut lines: Vec<&str> = Vec::new();
    for line in text.split(['\n', '\r']).chain([""]) {
        if let Some(value) = line.strip_prefix("data:") {
            lines.push(value.strip_prefix(' ').unwrap_or(value));
        } else if line.is_empty() && !lines.is_empty() {
            found.push(lines.join("\n"));
            lines.clear();
        }
    }
    found
}

/// An event with this data.
pub(crate) fn write_event(event: &Value, out: &mut Vec<u8>) {
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(event.to_string().as_bytes());
    out.extend_from_slice(b"\n\n");
}
