//! `/search`: results without an answer. No model speaks; an embedding of the query may be made, and is receipted.

use super::answer::snippet;
use super::fields::{Fields, Finding};
use super::filters::Filters;
use super::request::{ContextSize, collections};
use serde_json::{Value, json};
use types::{Passage, UnixMillis};

/// As Perplexity has it.
pub const QUERIES_MAX: usize = 5;
pub const RESULTS_MAX: u64 = 20;
const RESULTS_USUAL: u64 = 10;
const QUERY_CHARS_MAX: usize = 1_000;
/// A result is at most a passage; a million is Perplexity's own bound for all together.
const TOKENS_MAX: u64 = 1_000_000;
/// What is shown of a result by `search_context_size`, in tokens.
const PAGE_TOKENS: [(ContextSize, u64); 3] =
    [(ContextSize::Low, 128), (ContextSize::Medium, 512), (ContextSize::High, 1_024)];
const CHARS_PER_TOKEN: u64 = 4;

#[derive(Debug, Clone, PartialEq)]
pub struct Search {
    pub queries: Vec<String>,
    pub results: usize,
    pub filters: Filters,
    pub collections: Vec<String>,
    /// As in a question: the web may be asked, too.
    pub web: bool,
    page_chars: usize,
    all_chars: usize,
    pub server_time: bool,
}

impl Search {
    pub fn parse(body: &[u8], now: UnixMillis) -> Result<Search, Finding> {
        let fields = Fields::parse(body)?;
        if fields.choice("search_mode", &["web", "academic", "sec"])?.is_some_and(|mode| mode != "web") {
            let message = "search_mode academic and sec are not offered here: the project's documents are searched";
            return Err(Finding::of("search_mode", message));
        }
        if fields.choice("search_type", &["web", "people"])? == Some("people") {
            return Err(Finding::of("search_type", "search_type people is not offered here"));
        }
        let queries: Vec<String> = fields
            .texts("query", QUERIES_MAX)?
            .into_iter()
            .map(|query| query.trim().chars().take(QUERY_CHARS_MAX).collect::<String>())
            .filter(|query| !query.is_empty())
            .collect();
        if queries.is_empty() {
            return Err(Finding::of("query", "query is missing: a string, or a list of at most five"));
        }
        let size = fields.choice("search_context_size", &ContextSize::WORDS)?.and_then(ContextSize::from_word);
        let size = size.unwrap_or(ContextSize::High);
        let usual = PAGE_TOKENS.iter().find(|(of, _)| *of == size).map_or(0, |(_, tokens)| *tokens);
        let page = fields.number("max_tokens_per_page", 1, TOKENS_MAX)?.unwrap_or(usual);
        let all = fields.number("max_tokens", 1, TOKENS_MAX)?.unwrap_or(TOKENS_MAX);
        Ok(Search {
            queries,
            results: fields.number("max_results", 1, RESULTS_MAX)?.unwrap_or(RESULTS_USUAL) as usize,
            filters: Filters::parse(&fields, now)?,
            collections: collections(&fields)?,
            web: fields.choice("search_mode", &["web"])?.is_some(),
            page_chars: (page * CHARS_PER_TOKEN) as usize,
            all_chars: (all * CHARS_PER_TOKEN) as usize,
            server_time: fields.flag("display_server_time")?,
        })
    }

    /// Passages found, best first, as results. Those that no longer fit `max_tokens` are left out.
    pub fn answer(&self, id: &str, passages: &[Passage], server_time: Option<String>) -> Vec<u8> {
        let mut left = self.all_chars;
        let mut results: Vec<Value> = Vec::new();
        for passage in passages.iter().take(self.results) {
            let text = snippet(&passage.text, self.page_chars);
            let Some(rest) = left.checked_sub(text.chars().count()) else { break };
            left = rest;
            results.push(json!({
                "title": passage.title, "url": passage.url, "snippet": text, "date": passage.date, "last_updated": null,
                "hash": passage.hash,
            }));
        }
        let mut answer = json!({"id": id, "results": results});
        if let Some(time) = server_time.filter(|_| self.server_time) {
            answer["server_time"] = json!(time);
        }
        answer.to_string().into_bytes()
    }
}

/// Results of several queries as one list: first of each, then second of each; what several found stands once.
pub fn merge(found: Vec<Vec<Passage>>) -> Vec<Passage> {
    let mut merged: Vec<Passage> = Vec::new();
    let mut lists: Vec<_> = found.into_iter().map(Vec::into_iter).collect();
    loop {
        let round: Vec<Passage> = lists.iter_mut().filter_map(Iterator::next).collect();
        if round.is_empty() {
            return merged;
        }
        for passage in round {
            let same = |other: &Passage| {
                (other.file, other.number, &other.url) == (passage.file, passage.number, &passage.url)
            };
            if !merged.iter().any(same) {
                merged.push(passage);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sonar::tests::passage;

    fn parse(json: &str) -> Result<Search, Finding> {
        Search::parse(json.as_bytes(), UnixMillis(0))
    }

    #[test]
    fn queries() {
        assert_eq!(parse(r#"{"query":"Urlaub"}"#).unwrap().queries, ["Urlaub"]);
        assert_eq!(parse(r#"{"query":["a"," b ",""]}"#).unwrap().queries, ["a", "b"]);
        for (json, param) in [
            (r#"{}"#, "query"),
            (r#"{"query":" "}"#, "query"),
            (r#"{"query":["1","2","3","4","5","6"]}"#, "query"),
            (r#"{"query":"a","max_results":0}"#, "max_results"),
            (r#"{"query":"a","max_results":21}"#, "max_results"),
            (r#"{"query":"a","search_mode":"sec"}"#, "search_mode"),
            (r#"{"query":"a","search_type":"people"}"#, "search_type"),
            (r#"{"query":"a","max_tokens":"viele"}"#, "max_tokens"),
        ] {
            assert_eq!(parse(json).unwrap_err().param.as_deref(), Some(param), "{json}");
        }
        assert_eq!(parse(r#"{"query":"a","max_results":20}"#).unwrap().results, 20);
    }

    #[test]
    fn results() {
        let found = [passage("eins zwei drei"), passage("vier"), passage("fünf")];
        let answer = |json: &str| -> Value {
            let time = Some("2026-11-27T10:00:00Z".to_owned());
            serde_json::from_slice(&parse(json).unwrap().answer("rcp_1", &found, time)).unwrap()
        };
        let all = answer(r#"{"query":"a","display_server_time":true}"#);
        assert_eq!((all["results"].as_array().unwrap().len(), &all["id"]), (3, &json!("rcp_1")));
        assert_eq!(all["server_time"], "2026-11-27T10:00:00Z");
        assert_eq!(all["results"][0]["snippet"], "eins zwei drei");
        let few = answer(r#"{"query":"a","max_results":2,"max_tokens_per_page":1}"#);
        assert_eq!((few["results"].as_array().unwrap().len(), &few["results"][0]["snippet"]), (2, &json!("eins…")));
        assert_eq!(answer(r#"{"query":"a","max_tokens":4}"#)["results"].as_array().unwrap().len(), 1);
        assert!(few.get("server_time").is_none());
    }

    #[test]
    fn lists_are_merged_by_rank() {
        let one = |number| Passage { number, ..passage("a") };
        let merged = merge(vec![vec![one(1), one(2)], vec![one(3), one(1)], vec![]]);
        assert_eq!(merged.iter().map(|passage| passage.number).collect::<Vec<_>>(), [1, 3, 2]);
    }
}
