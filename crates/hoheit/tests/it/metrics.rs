//! `/metrics` and `docs/metrics.md` say the same, and what is counted is what happened.

use crate::client::Client;
use crate::site::Site;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use twin::engine::{Behaviour, Script, ScriptedEngine};

const PAGE: &str = include_str!("../../../../docs/metrics.md");

/// Name, type, and the labels of every family that is served.
fn served(text: &str) -> BTreeMap<String, (String, BTreeSet<String>)> {
    let mut families = BTreeMap::new();
    let mut last = String::new();
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            last = match kind {
                "counter" => format!("{name}_total"),
                "info" => format!("{name}_info"),
                _ => name.to_owned(),
            };
            families.insert(last.clone(), (kind.to_owned(), BTreeSet::new()));
        } else if !line.starts_with('#')
            && let Some((_, labels)) = line.split_once('{')
        {
            let labels = labels.split('}').next().unwrap().split(',').filter_map(|label| label.split_once('='));
            let names = labels.map(|(name, _)| name.to_owned()).filter(|name| name != "le");
            families.get_mut(&last).unwrap().1.extend(names);
        }
    }
    families
}

/// The rows of the page: `| name | type | labels | meaning |`.
pub fn explained() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let rows = PAGE.lines().filter_map(|line| line.strip_prefix("| `hoheit_"));
    rows.map(|row| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let name = format!("hoheit_{}", cells[0].trim_end_matches('`'));
        assert!(cells.len() >= 4 && cells[3].len() > 10, "{name}: its meaning");
        // `label`: what it says. Only the names are in backticks.
        let labels = cells[2].split('`').skip(1).step_by(2).map(str::to_owned).collect();
        (name, (cells[1].to_owned(), labels))
    })
    .collect()
}

/// The value of one sample, by its whole name.
fn value(text: &str, sample: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {sample} in\n{text}")).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_explains_what_is_served_and_the_counts_are_right() {
    let engine = ScriptedEngine::start(Script::always(Behaviour::tokens(5))).await.unwrap();
    let site = Site::start(&["--no-model"]);
    site.engine(&engine.url(), "here");
    site.engine_in("http://127.0.0.1:9", "abroad", "US", "US");
    let tenant = site.tenant("Muster");
    let project = site.project(&tenant, &["--country", "DE", "--budget-eur", "5.00"]);
    let (_, key) = site.key(&project, &[]);
    let client = Client::new();
    let ask = async |model: &str, stream: bool| {
        let body = json!({"model": model, "messages": [{"role": "user", "content": "hi"}], "stream": stream});
        client.post(&site.chat_url(), &key, &body).await.status
    };
    assert_eq!((ask("here", false).await, ask("here", true).await, ask("abroad", false).await), (200, 200, 503));
    // The scrape before this one has read what the sealer did meanwhile, or not: only names count here.
    let text = client.get(&site.path("/metrics"), &[]).await.body;
    let text = std::str::from_utf8(&text).unwrap();
    assert_eq!(served(text), explained(), "left: /metrics, right: docs/metrics.md");
    assert!(text.ends_with("# EOF\n"), "{text}");
    for (sample, expect) in [
        ("hoheit_receipts_total{outcome=\"completed\"}", 2.0),
        ("hoheit_receipts_total{outcome=\"refused\"}", 1.0),
        ("hoheit_errors_total{code=\"residency_unavailable\"}", 1.0),
        ("hoheit_refusals_total{rule=\"residency\"}", 1.0),
        ("hoheit_tokens_total{kind=\"output\"}", 10.0),
        ("hoheit_engine_attempts_total", 2.0),
        ("hoheit_request_seconds_count", 3.0),
        ("hoheit_first_token_seconds_count", 1.0),
        ("hoheit_readiness{state=\"ready\"}", 1.0),
        ("hoheit_readiness{state=\"forked\"}", 0.0),
        ("hoheit_requests_open", 0.0),
        ("hoheit_requests_at_engines", 0.0),
        ("hoheit_replicas{breaker=\"closed\"}", 2.0),
        ("hoheit_budgets{owner=\"project\",left=\"more\"}", 1.0),
        ("hoheit_budgets{owner=\"tenant\",left=\"more\"}", 0.0),
        ("hoheit_journal_records_waiting", 0.0),
    ] {
        assert_eq!(value(text, sample), expect, "{sample}");
    }
    assert!(!text.contains(&tenant) && !text.contains("Muster"), "the page is open: it names no tenant");
}
