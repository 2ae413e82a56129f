//! The body as the engine gets it: the client's bytes with a few cuts, at the places that `fields` found.
//!
//! Usage is forced, the answer's length bounded, the model called by the engine's name, the tenant's cache salt set. An
//! engine is asked only for what its kind knows: a strict one refuses a member that it has never heard of.

use crate::allowance::Length;
use crate::fields::{Fields, Operation, StreamOptions, Switch};
use bytes::{Bytes, BytesMut};
use std::ops::Range;
use types::snapshot::EngineKind;

/// What differs between what the client sent and what the engine gets.
pub struct EngineEdit<'a> {
    pub kind: EngineKind,
    pub model_alias: Option<&'a str>,
    pub length: Length,
    /// The tenant's, for engines that know one.
    pub cache_salt: &'a str,
}

/// Texts that take the place of parts of a body; an empty part is a place to insert at.
#[derive(Default)]
struct Cuts {
    replace: Vec<(Range<usize>, String)>,
    /// Members for the front of the body's object, each with its comma.
    members: String,
}

impl Fields {
    /// The body for one engine. Everything that is not cut is the client's bytes.
    pub fn for_engine(&self, body: &Bytes, edit: &EngineEdit<'_>) -> Bytes {
        let mut cuts = Cuts::default();
        if let Some(alias) = edit.model_alias {
            cuts.replace.push((self.model_at.clone(), serde_json::Value::from(alias).to_string()));
        }
        if self.operation != Operation::Embeddings {
            self.bound_answer(edit, &mut cuts);
        }
        if self.stream {
            self.force_usage(edit.kind, &mut cuts);
        }
        if edit.kind == EngineKind::Vllm {
            cuts.members.push_str(&format!("\"cache_salt\":\"{}\",", edit.cache_salt));
        }
        cuts.apply(body, self.open_at)
    }

    fn bound_answer(&self, edit: &EngineEdit<'_>, cuts: &mut Cuts) {
        let standing = || [&self.max_tokens, &self.max_completion_tokens].into_iter().flatten();
        let max = match (edit.length, edit.kind) {
            // Ours gives way to a long prompt by itself.
            (Length::Fits { max } | Length::Open { cap: max }, EngineKind::Embedded) => {
                cuts.members.push_str(&format!("\"max_tokens_fitting\":{max},"));
                return;
            }
            (Length::Open { .. }, _) => return,
            (Length::Named { max } | Length::Fits { max }, _) => max,
        };
        // Every member that stands there ends up with a number: a `null` may undo what the other says.
        for placed in standing() {
            if placed.value.is_none_or(|value| value > max) {
                cuts.replace.push((placed.at.clone(), max.to_string()));
            }
        }
        if standing().next().is_none() {
            cuts.members.push_str(&format!("\"max_tokens\":{max},"));
        }
    }

    fn force_usage(&self, kind: EngineKind, cuts: &mut Cuts) {
        let running = kind.counts_as_it_goes();
        let fresh = match running {
            true => r#"{"include_usage":true,"continuous_usage_stats":true}"#,
            false => r#"{"include_usage":true}"#,
        };
        match &self.stream_options {
            None => cuts.members.push_str(&format!("\"stream_options\":{fresh},")),
            Some(StreamOptions::Null(at)) => cuts.replace.push((at.clone(), fresh.to_owned())),
            Some(StreamOptions::Object { open_at, empty, include_usage, continuous_usage }) => {
                let mut missing = Vec::new();
                let mut force = |switch: &Option<Switch>, member: &'static str| match switch {
                    Some(Switch { on: true, .. }) => {}
                    Some(Switch { at, .. }) => cuts.replace.push((at.clone(), "true".to_owned())),
                    None => missing.push(member),
                };
                force(include_usage, r#""include_usage":true"#);
                if running {
                    force(continuous_usage, r#""continuous_usage_stats":true"#);
                }
                if !missing.is_empty() {
                    let comma = if *empty { "" } else { "," };
                    cuts.replace.push((*open_at..*open_at, format!("{}{comma}", missing.join(","))));
                }
            }
        }
    }
}

impl Cuts {
    fn apply(mut self, body: &Bytes, open_at: usize) -> Bytes {
        if self.members.is_empty() && self.replace.is_empty() {
            return body.clone();
        }
        self.replace.push((open_at..open_at, self.members));
        self.replace.sort_by_key(|(at, _)| at.start);
        let mut edited = BytesMut::with_capacity(body.len() + 160);
        let mut from = 0;
        for (at, text) in self.replace {
            edited.extend_from_slice(&body[from..at.start]);
            edited.extend_from_slice(text.as_bytes());
            from = at.end;
        }
        edited.extend_from_slice(&body[from..]);
        edited.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, kind: EngineKind, alias: Option<&str>, length: Length, expect: &str) {
        let fields = Fields::parse(Operation::ChatCompletions, body.as_bytes()).unwrap();
        let edit = EngineEdit { kind, model_alias: alias, length, cache_salt: "s" };
        let edited = fields.for_engine(&Bytes::from(body.to_owned()), &edit);
        assert_eq!(std::str::from_utf8(&edited).unwrap(), expect, "{kind:?} {length:?}");
        serde_json::from_slice::<serde_json::Value>(&edited).unwrap();
    }

    #[test]
    fn the_engine_gets_the_clients_bytes_and_our_edits() {
        let named = Length::Named { max: 100 };
        let same = r#"{ "model":"m", "messages":[{"a":1e0}], "max_tokens":7}"#;
        check(same, EngineKind::Openai, None, named, same);
        check(
            r#"{"model":"m","messages":[1],"max_completion_tokens":101}"#,
            EngineKind::Vllm,
            Some("x\"y"),
            named,
            r#"{"cache_salt":"s","model":"x\"y","messages":[1],"max_completion_tokens":100}"#,
        );
    }

    #[test]
    fn every_length_that_stands_there_is_within_what_was_reserved() {
        check(
            r#"{"model":"m","messages":[1],"max_tokens":5,"max_completion_tokens":null}"#,
            EngineKind::Openai,
            None,
            Length::Named { max: 5 },
            r#"{"model":"m","messages":[1],"max_tokens":5,"max_completion_tokens":5}"#,
        );
        let (fits, open) = (Length::Fits { max: 100 }, Length::Open { cap: 100 });
        let (bare, null) = (r#"{"model":"m","messages":[1]}"#, r#"{"model":"m","messages":[1],"max_tokens":null}"#);
        check(bare, EngineKind::Vllm, None, fits, r#"{"max_tokens":100,"cache_salt":"s","model":"m","messages":[1]}"#);
        check(bare, EngineKind::Openai, None, open, bare);
        check(null, EngineKind::Openai, None, fits, r#"{"model":"m","messages":[1],"max_tokens":100}"#);
        check(null, EngineKind::Sglang, None, open, null);
        for length in [fits, open] {
            check(bare, EngineKind::Embedded, None, length, r#"{"max_tokens_fitting":100,"model":"m","messages":[1]}"#);
        }
    }

    #[test]
    fn usage_is_forced_as_the_kind_knows_it_and_the_rest_of_the_options_stays() {
        let check = |options: &str, openai: &str, sglang: &str| {
            let body = |options| {
                format!(r#"{{"model":"m","messages":[1],"max_tokens":1,"stream":true,"stream_options":{options}}}"#)
            };
            for (kind, expect) in [(EngineKind::Openai, openai), (EngineKind::Sglang, sglang)] {
                self::check(&body(options), kind, None, Length::Named { max: 1 }, &body(expect));
            }
        };
        let both = r#"{"include_usage":true,"continuous_usage_stats":true}"#;
        check("null", r#"{"include_usage":true}"#, both);
        check("{ }", r#"{"include_usage":true }"#, r#"{"include_usage":true,"continuous_usage_stats":true }"#);
        check(
            r#"{"include_usage":false,"continuous_usage_stats":false}"#,
            r#"{"include_usage":true,"continuous_usage_stats":false}"#,
            both,
        );
        check(
            r#"{"include_obfuscation":false}"#,
            r#"{"include_usage":true,"include_obfuscation":false}"#,
            r#"{"include_usage":true,"continuous_usage_stats":true,"include_obfuscation":false}"#,
        );
        check(
            r#"{"include_obfuscation":false,"include_usage":null}"#,
            r#"{"include_obfuscation":false,"include_usage":true}"#,
            r#"{"continuous_usage_stats":true,"include_obfuscation":false,"include_usage":true}"#,
        );
    }
}
