//! `hoheit fleet events`: what happened, a line each; with `--follow` as it happens.

use crate::cli::Failure;
use crate::cli::client::Client;
use crate::cli::show;
use serde_json::Value;
use std::time::Duration;

/// Between two questions: what people watch need not be quicker.
const ASK_EVERY: Duration = Duration::from_secs(1);

pub async fn run(client: &Client, after: Option<u64>, limit: u32, follow: bool, as_json: bool) -> Result<(), Failure> {
    let mut after = after;
    loop {
        let from = after.map(|after| format!("&after={after}")).unwrap_or_default();
        let page = client.get(&format!("/api/v1/fleet/events?limit={limit}{from}")).await?;
        if as_json && !follow {
            return show::json(&page);
        }
        let events = page["data"].as_array().map_or(&[][..], Vec::as_slice);
        for event in events {
            show::line(&if as_json { event.to_string() } else { line(event) })?;
        }
        if !follow {
            return if events.is_empty() { show::line("Nothing happened yet.") } else { Ok(()) };
        }
        // Nothing yet is also a place to go on from: before the first one.
        after = newest(events).or(after).or(Some(0));
        if events.len() < limit as usize {
            tokio::time::sleep(ASK_EVERY).await;
        }
    }
}

/// The greatest number of a page.
pub fn newest(events: &[Value]) -> Option<u64> {
    events.iter().filter_map(|event| event["seq"].as_u64()).max()
}

/// Events are of machines by their ids; a slot is not in them.
pub fn line(event: &Value) -> String {
    let word = |name: &str| show::text(&event[name]).replace('\n', " ");
    format!("{}  {}  {}: {}", show::time(&event["at"]), word("machine"), word("kind"), word("text"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_is_a_line() {
        let event = json!({ "seq": 7, "at": 0, "machine": "mach_1", "kind": "held", "text": "gpu3:\nwanted A" });
        assert_eq!(line(&event), "1970-01-01T00:00:00Z  mach_1  held: gpu3: wanted A");
        assert_eq!(line(&json!({ "at": 0, "kind": "fault", "text": "x" })), "1970-01-01T00:00:00Z  -  fault: x");
        assert_eq!(newest(&[json!({ "seq": 4 }), event, json!({})]), Some(7));
        assert_eq!(newest(&[]), None);
    }
}
