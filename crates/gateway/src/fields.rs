//! The few fields of a request body that decide, and where they stand in it.
//!
//! A body is parsed once. What we do not decide on (tools, response_format, logprobs, vision parts) is never looked at
//! and reaches the engine as the bytes that came: `edit` cuts into the original text at the places found here. A member
//! that stands twice is refused, since two parsers could read two different requests from it.

use crate::limits::{CHOICES_MAX, TEMPLATE_TOKENS_MAX};
use crate::refusal::Refusal;
use memchr::memmem::Finder;
use routing::fair::Class;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::ops::Range;
use std::sync::LazyLock;
use types::Code;

/// What is asked of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    ChatCompletions,
    Completions,
    Embeddings,
}

impl Operation {
    /// In the order of their declaration.
    pub const ALL: [Operation; 3] = [Operation::ChatCompletions, Operation::Completions, Operation::Embeddings];

    /// As in receipts and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::ChatCompletions => "chat.completions",
            Operation::Completions => "completions",
            Operation::Embeddings => "embeddings",
        }
    }

    /// The path, ours and the engine's.
    pub const fn path(self) -> &'static str {
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
    service_tier: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "as_it_stands")]
    cache_salt: Option<&'a RawValue>,
    // Other engines' names for max_tokens: beside ours they would win.
    #[serde(borrow, default, deserialize_with = "as_it_stands")]
    n_predict: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "as_it_stands")]
    num_predict: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "as_it_stands")]
    max_new_tokens: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "as_it_stands")]
    max_output_tokens: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "as_it_stands")]
    max_length: Option<&'a RawValue>,
    /// What we tell our own engine; nobody else may.
    #[serde(borrow, default, deserialize_with = "as_it_stands")]
    max_tokens_fitting: Option<&'a RawValue>,
}

fn as_it_stands<'de: 'a, 'a, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
struct RawOptions<'a> {
    #[serde(borrow, default, deserialize_with = "as_it_stands")]
    include_usage: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "as_it_stands")]
    continuous_usage_stats: Option<&'a RawValue>,
}

/// `stream_options` of a client, and where its parts stand: the members that we do not know stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamOptions {
    Null(Range<usize>),
    Object {
        /// Behind the opening brace.
        open_at: usize,
        empty: bool,
        include_usage: Option<Switch>,
        continuous_usage: Option<Switch>,
    },
}

/// A member that is true or false, and where its value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switch {
    pub on: bool,
    pub at: Range<usize>,
}

/// A value and where it stands in the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// None is `null`, which engines take for absent.
    pub value: Option<u64>,
    pub at: Range<usize>,
}

/// The deciding fields, without a borrow of the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    pub operation: Operation,
    pub model: String,
    pub stream: bool,
    pub stream_options: Option<StreamOptions>,
    /// What the client asked to see of usage in a stream.
    pub include_usage: bool,
    pub continuous_usage: bool,
    /// As asked for, before the model's cap.
    pub output_tokens_asked: Option<u64>,
    /// Answers per request: `n` (or `best_of`) times the number of prompts.
    pub choices: u64,
    /// An upper bound of prompt tokens from the bytes alone; none if parts (images, audio) hide their size.
    pub input_tokens_bound: Option<u64>,
    /// Batch where `service_tier` is `flex`; a header may say otherwise. The member goes to the engine as it came.
    pub priority: Class,
    pub model_at: Range<usize>,
    /// What the model is to read, for routing: messages, prompt or input as they came.
    pub prompt_at: Range<usize>,
    pub max_tokens: Option<Placed>,
    pub max_completion_tokens: Option<Placed>,
    /// Where the object's first member begins.
    pub open_at: usize,
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
        let (model, model_at) = model(body, raw.model)?;
        let stream = stream(raw.stream)?;
        let stream_options = stream_options(body, raw.stream_options, stream)?;
        if present(raw.cache_salt).is_some() {
            return Err(invalid("cache_salt", "cache_salt is set by this site, one per tenant: leave it out"));
        }
        lengths_of_others(&raw)?;
        content(operation, &raw)?;
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
        let on = |switch: &Option<Switch>| switch.as_ref().is_some_and(|switch| switch.on);
        let (include_usage, continuous_usage) = match &stream_options {
            Some(StreamOptions::Object { include_usage, continuous_usage, .. }) => {
                (on(include_usage), on(continuous_usage))
            }
            _ => (false, false),
        };
        Ok(Fields {
            operation,
            model,
            stream: stream && operation != Operation::Embeddings,
            stream_options,
            include_usage,
            continuous_usage,
            output_tokens_asked: [&max_tokens, &max_completion_tokens]
                .into_iter()
                .filter_map(|placed| placed.as_ref()?.value)
                .max(),
            choices: per_prompt.saturating_mul(prompts),
            input_tokens_bound: (!hides_size(operation, body))
                .then(|| (body.len() as u64).saturating_add(TEMPLATE_TOKENS_MAX.saturating_mul(prompts))),
            priority: match raw.service_tier.map(RawValue::get) {
                Some("\"flex\"") => Class::Batch,
                _ => Class::Interactive,
            },
            model_at,
            prompt_at: prompt_at(operation, body, &raw),
            max_tokens,
            max_completion_tokens,
            open_at: body.iter().position(|&b| b == b'{').map_or(0, |at| at + 1),
        })
    }
}

fn model(body: &[u8], raw: Option<&RawValue>) -> Result<(String, Range<usize>), Refusal> {
    let raw = present(raw).ok_or_else(|| invalid("model", "model is missing: name one of /v1/models"))?;
    let name = serde_json::from_str(raw.get())
        .map_err(|_| invalid("model", "model must be a string, one of those that /v1/models lists"))?;
    Ok((name, place(body, raw)))
}

fn stream(raw: Option<&RawValue>) -> Result<bool, Refusal> {
    match present(raw).map(RawValue::get) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(invalid("stream", "stream must be true or false")),
    }
}

fn stream_options(body: &[u8], raw: Option<&RawValue>, stream: bool) -> Result<Option<StreamOptions>, Refusal> {
    let Some(raw) = raw else { return Ok(None) };
    if raw.get() == "null" {
        return Ok(Some(StreamOptions::Null(place(body, raw))));
    }
    if !stream {
        return Err(invalid("stream_options", "stream_options is only allowed where stream is true"));
    }
    let wrong = || invalid("stream_options", "stream_options must be an object, its usage members true or false");
    // serde would also take a list for a struct.
    let inner = raw.get().strip_prefix('{').ok_or_else(wrong)?;
    let options: RawOptions = serde_json::from_str(raw.get()).map_err(|_| wrong())?;
    let switch = |raw: Option<&RawValue>| match raw {
        None => Ok(None),
        Some(raw) => match raw.get() {
            "true" => Ok(Some(Switch { on: true, at: place(body, raw) })),
            "false" | "null" => Ok(Some(Switch { on: false, at: place(body, raw) })),
            _ => Err(wrong()),
        },
    };
    Ok(Some(StreamOptions::Object {
        open_at: place(body, raw).start + 1,
        empty: inner.trim_ascii_start() == "}",
        include_usage: switch(options.include_usage)?,
        continuous_usage: switch(options.continuous_usage_stats)?,
    }))
}

/// An answer's length by another name than the two that we read would not be bounded by what is reserved.
fn lengths_of_others(raw: &Raw<'_>) -> Result<(), Refusal> {
    let others = [
        ("n_predict", raw.n_predict),
        ("num_predict", raw.num_predict),
        ("max_new_tokens", raw.max_new_tokens),
        ("max_output_tokens", raw.max_output_tokens),
        ("max_length", raw.max_length),
        ("max_tokens_fitting", raw.max_tokens_fitting),
    ];
    match others.into_iter().find(|(_, raw)| raw.is_some()) {
        Some((name, _)) => Err(invalid(name, format!("{name} is not known here: say max_tokens"))),
        None => Ok(()),
    }
}

fn prompt_at(operation: Operation, body: &[u8], raw: &Raw<'_>) -> Range<usize> {
    let raw = match operation {
        Operation::ChatCompletions => raw.messages,
        Operation::Completions => raw.prompt,
        Operation::Embeddings => raw.input,
    };
    raw.map_or(0..0, |raw| place(body, raw))
}

/// What the model is to read must be there; what stands in it is the engine's matter.
fn content(operation: Operation, raw: &Raw<'_>) -> Result<(), Refusal> {
    match operation {
        Operation::ChatCompletions => match present(raw.messages).map(|raw| raw.get().as_bytes()) {
            Some([b'[', rest @ ..]) if rest.trim_ascii() != b"]" => Ok(()),
            _ => Err(invalid("messages", "messages must be a list with at least one message")),
        },
        Operation::Completions if present(raw.prompt).is_none() => {
            Err(invalid("prompt", "prompt is missing: a string, or a list of strings"))
        }
        Operation::Embeddings if present(raw.input).is_none() => {
            Err(invalid("input", "input is missing: a string, or a list of strings"))
        }
        _ => Ok(()),
    }
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

/// Parts whose tokens are not bounded by the bytes that name them: a URL of an image, a file by its id. A name may be
/// written with escapes; so may a prompt that is none, and then the bound is only wider than it need be.
fn hides_size(operation: Operation, body: &[u8]) -> bool {
    operation == Operation::ChatCompletions
        && (names_part(body) || unescaped(body).is_some_and(|text| names_part(&text)))
}

/// Whether one of these stands in the text. Searchers are made once; three of the names are searched for by their end.
fn names_part(text: &[u8]) -> bool {
    static URL: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("_url"));
    static AUDIO: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"input_audio\""));
    static FILE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"file\""));
    const WITH_URL: [&[u8]; 3] = [b"image", b"video", b"audio"];
    URL.find_iter(text).any(|at| WITH_URL.iter().any(|name| text[..at].ends_with(name)))
        || AUDIO.find(text).is_some()
        || FILE.find(text).is_some()
}

/// The body with its escaped ASCII written out, if it has any: `image\u005furl`. Not JSON any more.
fn unescaped(body: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    let mut rest = body;
    static ESCAPE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\\u00"));
    while let Some(at) = ESCAPE.find(rest) {
        let digits = rest.get(at + 4..at + 6).and_then(|digits| std::str::from_utf8(digits).ok());
        let character = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        text.extend_from_slice(&rest[..at]);
        text.extend(character);
        rest = &rest[(at + 6).min(rest.len())..];
    }
    if rest.len() == body.len() {
        return None;
    }
    text.extend_from_slice(rest);
    Some(text)
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
        for other in
            ["n_predict", "n\\u005fpredict", "num_predict", "max_new_tokens", "max_output_tokens", "max_length"]
        {
            let name = other.replace("\\u005f", "_");
            check(&format!(r#"{{"model":"m","messages":[1],"{other}":1}}"#), Code::InvalidRequest, Some(&name));
        }
        check(
            r#"{"model":"m","messages":[1],"max_tokens_fitting":1}"#,
            Code::InvalidRequest,
            Some("max_tokens_fitting"),
        );
        check(r#"{"model":"m","messages":[1],"stream_options":{}}"#, Code::InvalidRequest, Some("stream_options"));
        for options in ["[]", "true", r#"{"include_usage":1}"#, r#"{"include_usage":true,"include_usage":false}"#] {
            let body = format!(r#"{{"model":"m","messages":[1],"stream":true,"stream_options":{options}}}"#);
            check(&body, Code::InvalidRequest, Some("stream_options"));
        }
        let deep = |levels| format!(r#"{{"model":"m","messages":{}1{}}}"#, "[".repeat(levels), "]".repeat(levels));
        check(&deep(DEPTH_MAX), Code::InvalidJson, None);
        assert!(parse(&deep(DEPTH_MAX - 1)).is_ok());
        assert!(parse(&format!(r#"{{"model":"m","messages":["{}\\\"["]}}"#, "[".repeat(500))).is_ok());
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
        let bounded = |part: &str| {
            parse(&format!(r#"{{"model":"m","messages":[{{"content":[{{{part}}}]}}]}}"#)).unwrap().input_tokens_bound
        };
        for escaped in [
            r#""type":"image\u005furl","image\u005Furl":{"url":"u"}"#,
            r#""type":"\u0069mage_url","\u0069m\u0061ge_url":"u""#,
            r#""type":"fi\u006ce","fi\u006ce":{"file_id":"f"}"#,
        ] {
            assert!(bounded(escaped).is_none(), "{escaped}");
        }
        assert!(bounded(r#""type":"text","text":"M\u00fcnchen \u0022file\u0020x\u0022""#).is_some());
    }
}
