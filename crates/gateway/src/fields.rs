//! The few fields of a request body that decide, and the edits that the engine must see.
//!
//! A body is parsed once. What we do not decide on (tools, response_format, logprobs, vision parts) is never looked at
//! and reaches the engine as the bytes that came: edits cut into the original text, they do not write it anew. A member
//! that stands twice is refused, since two parsers could read two different requests from it.

use crate::limits::{CHOICES_MAX, TEMPLATE_TOKENS_MAX};
use crate::refusal::Refusal;
use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::ops::Range;
use types::Code;

/// What is asked of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    ChatCompletions,
    Completions,
    Embeddings,
}

impl Operation {
    /// As in receipts and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::ChatCompletions => "chat.completions",
            Operation::Completions => "completions",
            Operation::Embeddings => "embeddings",
        }
    }

    /// The path, ours and the engine's.
    pub fn path(self) -> &'static str {
        match self {
            Operation::ChatCompletions => "/v1/chat/completions",
            Operation::Completions => "/v1/completions",
            Operation::Embeddings => "/v1/embeddings",
        }
    }
}

/// The members that we read, each as the text it stands in, `null` included: its place matters.
#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow, default, deserialize_with = "as_it_stands")]
    model: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "as_it_stands")]
    stream: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "as_it_stands")]
    stream_options: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "as_it_stands")]
    max_tokens: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "as_it_stands")]
    max_completion_tokens: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "as_it_stands")]
    n: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "as_it_stands")]
    best_of: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "as_it_stands")]
    messages: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "as_it_stands")]
    prompt: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "as_it_stands")]
    input: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "as_it_stands")]
    cache_salt: Option<&'a RawValue>,
}

fn as_it_stands<'de: 'a, 'a, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

#[derive(Deserialize, Default)]
struct StreamOptions {
    #[serde(default)]
    include_usage: Option<bool>,
    #[serde(default)]
    continuous_usage_stats: Option<bool>,
}

/// A value and where it stands in the body.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Placed {
    /// None is `null`, which engines take for absent.
    value: Option<u64>,
    at: Range<usize>,
}

/// The deciding fields, without a borrow of the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    pub operation: Operation,
    pub model: String,
    pub stream: bool,
    /// What the client asked to see of usage in a stream.
    pub include_usage: bool,
    pub continuous_usage: bool,
    /// As asked for, before the model's cap.
    pub output_tokens_asked: Option<u64>,
    /// Answers per request: `n` (or `best_of`) times the number of prompts.
    pub choices: u64,
    /// An upper bound of prompt tokens from the bytes alone; none if parts (images, audio) hide their size.
    pub input_tokens_bound: Option<u64>,
    model_at: Range<usize>,
    stream_options_at: Option<Range<usize>>,
    max_tokens: Option<Placed>,
    max_completion_tokens: Option<Placed>,
    /// Where the object's first member begins.
    open_at: usize,
}

fn invalid(param: &str, message: impl Into<String>) -> Refusal {
    Refusal::new(Code::InvalidRequest, message).param(param)
}

/// `null` counts as absent, as OpenAI has it.
fn present(raw: Option<&RawValue>) -> Option<&RawValue> {
    raw.filter(|raw| raw.get() != "null")
}

fn place(body: &[u8], raw: &RawValue) -> Range<usize> {
    let start = raw.get().as_ptr() as usize - body.as_ptr() as usize;
    start..start + raw.get().len()
}

fn whole_number(body: &[u8], raw: Option<&RawValue>, param: &str) -> Result<Option<Placed>, Refusal> {
    let Some(raw) = raw else { return Ok(None) };
    let value = match raw.get() {
        "null" => None,
        text => match text.parse::<u64>() {
            Ok(0) | Err(_) => return Err(invalid(param, format!("{param} must be a whole number of at least 1"))),
            Ok(value) => Some(value),
        },
    };
    Ok(Some(Placed { value, at: place(body, raw) }))
}

impl Fields {
    /// Reads the deciding fields. Errors say which field and what would be right.
    pub fn parse(operation: Operation, body: &[u8]) -> Result<Fields, Refusal> {
        // serde would also take a list for a struct.
        if !matches!(body.trim_ascii_start().first(), Some(b'{') | None) {
            return Err(Refusal::new(Code::InvalidJson, "the body must be a JSON object"));
        }
        if too_deep(body) {
            return Err(Refusal::new(Code::InvalidJson, format!("the body nests deeper than {DEPTH_MAX} levels")));
        }
        let raw: Raw = serde_json::from_slice(body).map_err(|error| json_refusal(&error))?;
        let model_raw =
            present(raw.model).ok_or_else(|| invalid("model", "model is missing: name one of /v1/models"))?;
        let model: String = serde_json::from_str(model_raw.get())
            .map_err(|_| invalid("model", "model must be a string, one of those that /v1/models lists"))?;
        let stream = match present(raw.stream).map(RawValue::get) {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(invalid("stream", "stream must be true or false")),
        };
        let options: StreamOptions = match present(raw.stream_options) {
            None => StreamOptions::default(),
            Some(_) if !stream => {
                return Err(invalid("stream_options", "stream_options is only allowed where stream is true"));
            }
            Some(raw) => serde_json::from_str(raw.get())
                .map_err(|_| invalid("stream_options", "stream_options must be an object of booleans"))?,
        };
        if present(raw.cache_salt).is_some() {
            return Err(invalid("cache_salt", "cache_salt is set by this site, one per tenant: leave it out"));
        }
        match operation {
            Operation::ChatCompletions => match present(raw.messages).map(|raw| raw.get().as_bytes()) {
                Some([b'[', rest @ ..]) if rest.trim_ascii() != b"]" => {}
                _ => return Err(invalid("messages", "messages must be a list with at least one message")),
            },
            Operation::Completions if present(raw.prompt).is_none() => {
                return Err(invalid("prompt", "prompt is missing: a string, or a list of strings"));
            }
            Operation::Embeddings if present(raw.input).is_none() => {
                return Err(invalid("input", "input is missing: a string, or a list of strings"));
            }
            _ => {}
        }
        let max_tokens = whole_number(body, raw.max_tokens, "max_tokens")?;
        let max_completion_tokens = whole_number(body, raw.max_completion_tokens, "max_completion_tokens")?;
        let n = whole_number(body, raw.n, "n")?.and_then(|n| n.value).unwrap_or(1);
        let best_of = whole_number(body, raw.best_of, "best_of")?.and_then(|n| n.value).unwrap_or(1);
        let per_prompt = n.max(best_of);
        if per_prompt > CHOICES_MAX {
            return Err(invalid("n", format!("n and best_of may be at most {CHOICES_MAX}")));
        }
        let prompts = match operation {
            Operation::Completions => prompt_count(raw.prompt),
            _ => 1,
        };
        let open_at = body.iter().position(|&b| b == b'{').map_or(0, |at| at + 1);
        Ok(Fields {
            operation,
            model,
            stream: stream && operation != Operation::Embeddings,
            include_usage: options.include_usage.unwrap_or(false),
            continuous_usage: options.continuous_usage_stats.unwrap_or(false),
            output_tokens_asked: [&max_tokens, &max_completion_tokens]
                .into_iter()
                .filter_map(|placed| placed.as_ref()?.value)
                .max(),
            choices: per_prompt.saturating_mul(prompts),
            input_tokens_bound: (!hides_size(operation, body))
                .then(|| (body.len() as u64).saturating_add(TEMPLATE_TOKENS_MAX.saturating_mul(prompts))),
            model_at: place(body, model_raw),
            stream_options_at: raw.stream_options.map(|raw| place(body, raw)),
            max_tokens,
            max_completion_tokens,
            open_at,
        })
    }

    /// The body for the engine: usage forced, the answer's length capped, the model under the engine's name, the
    /// tenant's cache salt. Everything else is the client's bytes.
    pub fn for_engine(&self, body: &Bytes, edit: &EngineEdit<'_>) -> Bytes {
        let mut insert = String::new();
        let mut replace: Vec<(Range<usize>, String)> = Vec::new();
        if let Some(alias) = edit.model_alias {
            replace.push((self.model_at.clone(), serde_json::Value::from(alias).to_string()));
        }
        if self.operation != Operation::Embeddings {
            // Every member that stands there ends up with a number: a `null` after ours would undo the cap.
            let standing = || [&self.max_tokens, &self.max_completion_tokens].into_iter().flatten();
            for placed in standing() {
                let within = placed.value.is_some_and(|value| value <= edit.output_tokens_max);
                if !within {
                    replace.push((placed.at.clone(), edit.output_tokens_max.to_string()));
                }
            }
            if standing().next().is_none() {
                insert.push_str(&format!("\"max_tokens\":{},", edit.output_tokens_max));
            }
        }
        if self.stream {
            let options = r#"{"include_usage":true,"continuous_usage_stats":true}"#;
            match &self.stream_options_at {
                Some(at) => replace.push((at.clone(), options.to_owned())),
                None => insert.push_str(&format!("\"stream_options\":{options},")),
            }
        }
        if let Some(salt) = edit.cache_salt {
            insert.push_str(&format!("\"cache_salt\":\"{salt}\","));
        }
        if insert.is_empty() && replace.is_empty() {
            return body.clone();
        }
        replace.push((self.open_at..self.open_at, insert));
        replace.sort_by_key(|(at, _)| at.start);
        let mut edited = BytesMut::with_capacity(body.len() + 160);
        let mut from = 0;
        for (at, text) in replace {
            edited.extend_from_slice(&body[from..at.start]);
            edited.extend_from_slice(text.as_bytes());
            from = at.end;
        }
        edited.extend_from_slice(&body[from..]);
        edited.freeze()
    }
}

/// What differs between what the client sent and what the engine gets.
pub struct EngineEdit<'a> {
    pub model_alias: Option<&'a str>,
    /// Per choice.
    pub output_tokens_max: u64,
    pub cache_salt: Option<&'a str>,
}

/// `prompt` may be a string, a list of strings, a list of token ids, or a list of lists of token ids.
fn prompt_count(prompt: Option<&RawValue>) -> u64 {
    let Some(raw) = prompt.filter(|raw| raw.get().starts_with('[')) else { return 1 };
    let Ok(elements) = serde_json::from_str::<Vec<&RawValue>>(raw.get()) else { return 1 };
    let batch = elements.first().is_some_and(|first| first.get().starts_with(['"', '[']));
    if batch { elements.len() as u64 } else { 1 }
}

/// Deeper than any tool's schema; an engine's own parser may recurse.
const DEPTH_MAX: usize = 64;

/// Whether brackets nest too deep. Strings are skipped at the speed of memchr, so a long prompt costs little. On text
/// that is not JSON the answer means nothing, and the parser says what is wrong.
fn too_deep(body: &[u8]) -> bool {
    let (mut depth, mut at) = (0usize, 0);
    while let Some(&byte) = body.get(at) {
        at += 1;
        match byte {
            b'[' | b'{' => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return true;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => {
                while let Some(found) = memchr::memchr2(b'"', b'\\', &body[at..]) {
                    let quote = body[at + found] == b'"';
                    // A backslash hides the next byte.
                    at = (at + found + if quote { 1 } else { 2 }).min(body.len());
                    if quote {
                        break;
                    }
                }
            }
            _ => {}
        }
    }
    false
}

/// Parts whose tokens are not bounded by the bytes that name them: a URL of an image, a file by its id.
fn hides_size(operation: Operation, body: &[u8]) -> bool {
    const PARTS: [&[u8]; 5] = [b"image_url", b"video_url", b"audio_url", b"\"input_audio\"", b"\"file\""];
    operation == Operation::ChatCompletions && PARTS.iter().any(|part| memchr::memmem::find(body, part).is_some())
}

fn json_refusal(error: &serde_json::Error) -> Refusal {
    use serde_json::error::Category;
    let place = format!("line {}, column {}", error.line(), error.column());
    match error.classify() {
        // serde_json's data errors here can only be a member that stands twice: every field is taken as raw text.
        Category::Data => {
            Refusal::new(Code::InvalidRequest, format!("a member stands twice in the body ({place}): send each once"))
        }
        Category::Eof => Refusal::new(Code::InvalidJson, format!("the body is JSON that ends too early ({place})")),
        _ => Refusal::new(Code::InvalidJson, format!("the body is not JSON, or nested too deep ({place})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<Fields, Refusal> {
        Fields::parse(Operation::ChatCompletions, body.as_bytes())
    }

    #[test]
    fn bad_bodies_name_the_field() {
        let check = |body: &str, code: Code, param: Option<&str>| {
            let refusal = parse(body).unwrap_err();
            assert_eq!((refusal.code, refusal.param.as_deref()), (code, param), "{body}");
        };
        check("", Code::InvalidJson, None);
        check("hello", Code::InvalidJson, None);
        check("[]", Code::InvalidJson, None);
        check(r#"{"model":"m""#, Code::InvalidJson, None);
        check(r#"{"model":"a","model":"b","messages":[1]}"#, Code::InvalidRequest, None);
        check(r#"{"messages":[1]}"#, Code::InvalidRequest, Some("model"));
        check(r#"{"model":7,"messages":[1]}"#, Code::InvalidRequest, Some("model"));
        check(r#"{"model":"m"}"#, Code::InvalidRequest, Some("messages"));
        check(r#"{"model":"m","messages":[ ]}"#, Code::InvalidRequest, Some("messages"));
        check(r#"{"model":"m","messages":"hi"}"#, Code::InvalidRequest, Some("messages"));
        check(r#"{"model":"m","messages":[1],"stream":"yes"}"#, Code::InvalidRequest, Some("stream"));
        check(r#"{"model":"m","messages":[1],"max_tokens":0}"#, Code::InvalidRequest, Some("max_tokens"));
        check(r#"{"model":"m","messages":[1],"max_tokens":-1}"#, Code::InvalidRequest, Some("max_tokens"));
        check(r#"{"model":"m","messages":[1],"max_tokens":1.5}"#, Code::InvalidRequest, Some("max_tokens"));
        check(r#"{"model":"m","messages":[1],"n":129}"#, Code::InvalidRequest, Some("n"));
        check(r#"{"model":"m","messages":[1],"cache_salt":"x"}"#, Code::InvalidRequest, Some("cache_salt"));
        check(r#"{"model":"m","messages":[1],"stream_options":{}}"#, Code::InvalidRequest, Some("stream_options"));
        let deep = |levels| format!(r#"{{"model":"m","messages":{}1{}}}"#, "[".repeat(levels), "]".repeat(levels));
        check(&deep(DEPTH_MAX), Code::InvalidJson, None);
        assert!(parse(&deep(DEPTH_MAX - 1)).is_ok());
        assert!(parse(&format!(r#"{{"model":"m","messages":["{}\\\"["]}}"#, "[".repeat(500))).is_ok());
    }

    fn edited(body: &str, edit: EngineEdit<'_>) -> String {
        let fields = parse(body).unwrap();
        String::from_utf8(fields.for_engine(&Bytes::from(body.to_owned()), &edit).to_vec()).unwrap()
    }

    #[test]
    fn the_engine_gets_the_clients_bytes_and_our_edits() {
        let edit = |alias, salt| EngineEdit { model_alias: alias, output_tokens_max: 100, cache_salt: salt };
        let check = |body: &str, edit: EngineEdit<'_>, expect: &str| assert_eq!(edited(body, edit), expect);
        check(
            r#"{ "model":"m", "messages":[{"a":1e0}], "max_tokens":7}"#,
            edit(None, None),
            r#"{ "model":"m", "messages":[{"a":1e0}], "max_tokens":7}"#,
        );
        check(r#"{"model":"m","messages":[1]}"#, edit(None, None), r#"{"max_tokens":100,"model":"m","messages":[1]}"#);
        check(
            r#"{"model":"m","messages":[1],"max_completion_tokens":101}"#,
            edit(Some("x\"y"), Some("s")),
            r#"{"cache_salt":"s","model":"x\"y","messages":[1],"max_completion_tokens":100}"#,
        );
        check(
            r#"{"model":"m","messages":[1],"max_tokens":null}"#,
            edit(None, None),
            r#"{"model":"m","messages":[1],"max_tokens":100}"#,
        );
        check(
            r#"{"model":"m","messages":[1],"stream":true,"stream_options":null,"max_tokens":1}"#,
            edit(None, None),
            r#"{"model":"m","messages":[1],"stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true},"max_tokens":1}"#,
        );
    }

    #[test]
    fn prompts_multiply_choices() {
        let check = |prompt: &str, expect: u64| {
            let body = format!(r#"{{"model":"m","prompt":{prompt},"n":2}}"#);
            assert_eq!(Fields::parse(Operation::Completions, body.as_bytes()).unwrap().choices, expect, "{prompt}");
        };
        check("\"a\"", 2);
        check("[\"a\",\"b\",\"c\"]", 6);
        check("[1,2,3]", 2);
        check("[[1,2],[3]]", 4);
    }

    #[test]
    fn parts_of_unknown_size_have_no_bound() {
        assert!(parse(r#"{"model":"m","messages":[{"content":"hi"}]}"#).unwrap().input_tokens_bound.is_some());
        let image = r#"{"model":"m","messages":[{"content":[{"type":"image_url","image_url":{"url":"u"}}]}]}"#;
        assert!(parse(image).unwrap().input_tokens_bound.is_none());
    }
}
