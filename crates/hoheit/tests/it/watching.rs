//! What an operator watches with: the dashboard and the alerts ask for names that exist, and every alert has a runbook.
//!
//! Whether an expression is good PromQL only Prometheus can say (`promtool check rules docs/prometheus/alerts.yml`).

use crate::metrics::explained;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn docs(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(docs(path)).unwrap_or_else(|error| panic!("docs/{path}: {error}"))
}

/// Every word of ours in a text.
fn names(text: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !word(c)).filter(|word| word.starts_with("hoheit_"));
    words.map(str::to_owned).collect()
}

/// Every word is the name of a metric, or of a histogram's samples.
fn check_names(place: &str, text: &str) {
    let known = explained();
    for name in names(text) {
        let samples = ["_bucket", "_count", "_sum"].iter().find_map(|end| name.strip_suffix(end));
        let is_histogram = samples.is_some_and(|base| known.get(base).is_some_and(|(kind, _)| kind == "histogram"));
        let is_plain = known.get(&name).is_some_and(|(kind, _)| kind != "histogram");
        assert!(is_plain || is_histogram, "{place} asks for {name}, which docs/metrics.md does not have");
    }
}

/// What a slip of the hand breaks first.
fn check_brackets(place: &str, expression: &str) {
    let count = |c: char| expression.matches(c).count();
    assert!(count('(') == count(')') && count('{') == count('}') && count('[') == count(']'), "{place}: {expression}");
}

#[test]
fn the_dashboard_asks_for_names_that_exist_and_shows_all_of_them() {
    let dashboard: Value = serde_json::from_str(&read("grafana/hoheit.json")).unwrap();
    let mut shown = BTreeSet::new();
    let mut places = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        assert!(places.insert(panel["gridPos"].to_string()), "{title} lies on another panel");
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{title}");
        for target in targets {
            let expression = target["expr"].as_str().unwrap();
            check_names(title, expression);
            check_brackets(title, expression);
            shown.extend(names(expression).into_iter().map(|name| name.trim_end_matches("_bucket").to_owned()));
        }
        for word in panel["description"].as_str().unwrap_or_default().split([' ', ',', '.', ':']) {
            if word.contains('-') {
                assert!(docs(&format!("runbooks/{word}.md")).exists(), "{title} names the runbook {word}");
            }
        }
    }
    let all: BTreeSet<String> = explained().into_keys().collect();
    assert_eq!(shown, all, "left: what the dashboard shows, right: docs/metrics.md");
}

/// Name, expression and runbook of each rule, from the few forms of YAML that our file uses.
fn alerts(text: &str) -> Vec<(String, String, String)> {
    let rules = text.split("- alert: ").skip(1);
    rules
        .map(|rule| {
            let (name, rest) = rule.split_once('\n').unwrap();
            let (_, rest) = rest.split_once("expr: ").unwrap();
            let end = ["\n        for: ", "\n        labels: "].iter().filter_map(|end| rest.find(end)).min().unwrap();
            let runbook =
                rest.split_once("runbook: docs/runbooks/").map_or("", |(_, path)| path.lines().next().unwrap());
            (name.trim().to_owned(), rest[..end].to_owned(), runbook.to_owned())
        })
        .collect()
}

#[test]
fn every_alert_asks_for_names_that_exist_and_has_its_runbook() {
    const SECTIONS: [&str; 3] = ["**What you see.**", "**What it means.**", "**What to do.**"];
    let text = read("prometheus/alerts.yml");
    let alerts = alerts(&text);
    assert!(alerts.len() >= 10, "{alerts:?}");
    let mut seen = BTreeSet::new();
    for (name, expression, runbook) in &alerts {
        assert!(seen.insert(name), "{name} stands there twice");
        check_names(name, expression);
        check_brackets(name, expression);
        assert!(!runbook.is_empty(), "{name} has no runbook");
        let page = read(&format!("runbooks/{runbook}"));
        let title = page.lines().next().unwrap();
        assert!(title.contains(&format!("alert {name}")), "docs/runbooks/{runbook}: its title names {name}");
        for section in SECTIONS {
            assert!(page.contains(section), "docs/runbooks/{runbook}: nothing under {section}");
        }
    }
    // The names in a summary and everything else that is written there.
    check_names("docs/prometheus/alerts.yml", &text);
    for entry in std::fs::read_dir(docs("runbooks")).unwrap() {
        let path = entry.unwrap().path();
        let page = std::fs::read_to_string(&path).unwrap();
        check_names(&path.display().to_string(), &page);
        for link in page.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            assert!(docs("runbooks").join(link).exists(), "{}: {link} is not there", path.display());
        }
    }
}

#[test]
fn structured_logs_are_one_object_a_line() {
    let mut site = crate::site::Site::start(&["--no-model", "--log-format", "json"]);
    assert_eq!(site.stop(), Some(0));
    let page = read("logs.md");
    let mut messages = BTreeSet::new();
    for line in site.log().lines() {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert!(event["timestamp"].is_string() && event["level"].is_string() && event["target"].is_string(), "{line}");
        let mut fields = event["fields"].as_object().unwrap().clone();
        messages.insert(fields.remove("message").unwrap().as_str().unwrap().to_owned());
        for name in fields.keys() {
            assert!(page.contains(&format!("| `{name}` |")), "{name} is not in docs/logs.md: {line}");
        }
    }
    assert!(messages.contains("serving") && messages.contains("stopped"), "{messages:?}");
}
