//! An answer as a stream, in orchestration's events: the first with what the modules before the model did, then one for each
//! chunk, the last with the finish reason and the usage. Pseudonyms are replaced on the way, and no chunk cuts one.
//!
//! What waits here is bounded by the answer's own length, which admission bounded.

use super::answer::{Answer, blocks, unmask_arguments, without_nulls};
use super::read::{Object, Wrong};
use crate::events::{data, write_event};
use masking::{Masker, Unmasker};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// As SAP's: characters that a chunk has at least.
const CHUNK_MAX: u64 = 10_000;
const CHUNK_USUAL: usize = 100;

/// The closing event.
pub const DONE: &str = "data: [DONE]\n\n";

/// How large chunks are to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunking {
    size: Option<usize>,
    delimiters: Vec<String>,
}

impl Chunking {
    pub(super) fn read(stream: &Object<'_>) -> Result<Chunking, Wrong> {
        let size = stream.whole("chunk_size", 1..=CHUNK_MAX)?;
        let delimiters = stream.texts("delimiters")?;
        if delimiters.as_ref().is_some_and(|list| list.is_empty() || list.iter().any(String::is_empty)) {
            return Err(format!("{}.delimiters must be a list of at least one text, none of them empty", stream.path));
        }
        let size = size.and_then(|size| usize::try_from(size).ok());
        Ok(Chunking { size, delimiters: delimiters.unwrap_or_default() })
    }
}

pub(super) struct Stream {
    /// Characters of a chunk; none: as they come from the engine.
    size: Option<usize>,
    delimiters: Vec<String>,
    begun: bool,
    /// What every event repeats: id, model and so on.
    head: Map<String, Value>,
    usage: Option<Value>,
    choices: BTreeMap<u64, Choice>,
}

#[derive(Default)]
struct Choice {
    /// Sent once, with the first chunk.
    role: Option<Value>,
    content: Channel,
    reasoning: Channel,
    /// Parts of tool calls, passed on as they come.
    calls: Vec<Value>,
    /// Whole tool calls by their index, where pseudonyms must be replaced in their arguments.
    gathered: BTreeMap<u64, Map<String, Value>>,
    refusal: Option<Value>,
    logprobs: Option<Value>,
    finish: Option<Value>,
}

/// One text of a choice.
#[derive(Default)]
struct Channel {
    /// As the model wrote it.
    waiting: String,
    characters: usize,
    unmasker: Option<Unmasker>,
}

/// The part of a choice for one event: as the model wrote it, and as the client gets it.
struct Part {
    masked: Map<String, Value>,
    clear: Map<String, Value>,
}

impl Stream {
    pub fn new(chunking: &Chunking, masked: bool) -> Stream {
        let usual = (masked || !chunking.delimiters.is_empty()).then_some(CHUNK_USUAL);
        Stream {
            size: chunking.size.or(usual),
            delimiters: chunking.delimiters.clone(),
            begun: false,
            head: Map::new(),
            usage: None,
            choices: BTreeMap::new(),
        }
    }

    fn take(&mut self, event: Map<String, Value>, masker: Option<&Masker>) {
        let mut event = without_nulls(event);
        for name in ["id", "object", "created", "model", "system_fingerprint"] {
            if let Some(value) = event.remove(name) {
                self.head.insert(name.to_owned(), value);
            }
        }
        if let Some(usage) = event.remove("usage") {
            self.usage = Some(usage);
        }
        let Some(Value::Array(choices)) = event.remove("choices") else { return };
        for choice in choices {
            let Value::Object(mut choice) = choice else { continue };
            let index = choice.get("index").and_then(Value::as_u64).unwrap_or(0);
            let known = self.choices.entry(index).or_insert_with(|| Choice::new(masker));
            if let Some(Value::Object(delta)) = choice.remove("delta") {
                known.take(delta, masker.is_some());
            }
            if let Some(Value::Object(logprobs)) = choice.remove("logprobs") {
                known.take_logprobs(logprobs);
            }
            if let Some(finish) = choice.remove("finish_reason") {
                known.finish = Some(finish);
            }
        }
    }

    /// What is ready to leave; at the end all of it.
    fn ready(&mut self, end: bool) -> Vec<Part> {
        let (size, delimiters) = (self.size, &self.delimiters);
        self.choices.iter_mut().filter_map(|(index, choice)| choice.ready(*index, size, delimiters, end)).collect()
    }
}

impl Choice {
    fn new(masker: Option<&Masker>) -> Choice {
        let channel = || Channel { unmasker: masker.map(Masker::unmasker), ..Channel::default() };
        Choice { role: Some("assistant".into()), content: channel(), reasoning: channel(), ..Choice::default() }
    }

    fn take(&mut self, mut delta: Map<String, Value>, masked: bool) {
        if let Some(Value::String(text)) = delta.remove("content") {
            self.content.push(&text);
        }
        // One engine's name for it, and another's.
        for name in ["reasoning_content", "reasoning"] {
            if let Some(Value::String(text)) = delta.remove(name) {
                self.reasoning.push(&text);
                break;
            }
        }
        if let Some(refusal) = delta.remove("refusal") {
            self.refusal = Some(refusal);
        }
        let Some(Value::Array(calls)) = delta.remove("tool_calls") else { return };
        match masked {
            true => calls.into_iter().for_each(|call| self.gather(call)),
            false => self.calls.extend(calls),
        }
    }

    fn gather(&mut self, call: Value) {
        let Value::Object(call) = call else { return };
        let index = call.get("index").and_then(Value::as_u64).unwrap_or(0);
        let known = self.gathered.entry(index).or_default();
        let more = call.get("function").and_then(|function| function.get("arguments")).and_then(Value::as_str);
        let text = known.get("function").and_then(|function| function.get("arguments")).and_then(Value::as_str);
        let arguments = format!("{}{}", text.unwrap_or_default(), more.unwrap_or_default());
        let mut function = known.get("function").and_then(Value::as_object).cloned().unwrap_or_default();
        if let Some(name) = call.get("function").and_then(|function| function.get("name")) {
            function.insert("name".into(), name.clone());
        }
        function.insert("arguments".into(), arguments.into());
        for (name, value) in call {
            known.insert(name, value);
        }
        known.insert("function".into(), function.into());
    }

    fn take_logprobs(&mut self, more: Map<String, Value>) {
        let logprobs = self.logprobs.get_or_insert_with(|| json!({}));
        for (name, value) in more {
            match (logprobs.get_mut(&name), value) {
                (Some(Value::Array(known)), Value::Array(more)) => known.extend(more),
                (_, value) => logprobs[&name] = value,
            }
        }
    }

    fn ready(&mut self, index: u64, size: Option<usize>, delimiters: &[String], end: bool) -> Option<Part> {
        let content = self.content.take(size, delimiters, end);
        let reasoning = self.reasoning.take(size, delimiters, end);
        if !end && content.is_none() && reasoning.is_none() && self.calls.is_empty() && self.refusal.is_none() {
            return None;
        }
        let mut both = Map::new();
        if let Some(role) = self.role.take() {
            both.insert("role".into(), role);
        }
        if let Some(refusal) = self.refusal.take() {
            both.insert("refusal".into(), refusal);
        }
        let (mut masked, mut clear) = (both.clone(), both);
        let content = content.unwrap_or_default();
        clear.insert("content".into(), self.content.unmasked(&content, end).into());
        masked.insert("content".into(), content.into());
        if let Some(reasoning) = reasoning {
            clear.insert("reasoning_content".into(), blocks(self.reasoning.unmasked(&reasoning, end).into()));
            masked.insert("reasoning_content".into(), blocks(reasoning.into()));
        } else if end {
            let held = self.reasoning.unmasked("", true);
            if !held.is_empty() {
                clear.insert("reasoning_content".into(), blocks(held.into()));
            }
        }
        if !self.calls.is_empty() {
            let calls = Value::from(std::mem::take(&mut self.calls));
            masked.insert("tool_calls".into(), calls.clone());
            clear.insert("tool_calls".into(), calls);
        }
        if end && !self.gathered.is_empty() {
            let calls = std::mem::take(&mut self.gathered).into_values().map(Value::from);
            masked.insert("tool_calls".into(), calls.collect());
            clear.insert("tool_calls".into(), masked["tool_calls"].clone());
        }
        let finish = self.finish.take_if(|_| end).unwrap_or_else(|| "".into());
        let logprobs = self.logprobs.take();
        let part = |delta: Map<String, Value>| {
            let mut part = Map::new();
            part.insert("index".into(), index.into());
            part.insert("delta".into(), delta.into());
            part.insert("finish_reason".into(), finish.clone());
            if let Some(logprobs) = &logprobs {
                part.insert("logprobs".into(), logprobs.clone());
            }
            part
        };
        Some(Part { masked: part(masked), clear: part(clear) })
    }
}

impl Channel {
    fn push(&mut self, text: &str) {
        self.characters += text.chars().count();
        self.waiting.push_str(text);
    }

    /// The next chunk of what the model wrote: at least `size` characters, and then up to the next delimiter.
    fn take(&mut self, size: Option<usize>, delimiters: &[String], end: bool) -> Option<String> {
        let until = match size {
            _ if self.waiting.is_empty() => return None,
            _ if end => self.waiting.len(),
            Some(size) if self.characters < size => return None,
            Some(size) if !delimiters.is_empty() => {
                let least = self.waiting.char_indices().nth(size).map_or(self.waiting.len(), |(at, _)| at);
                let ends = |delimiter: &String| {
                    let mut ends = self.waiting.match_indices(delimiter.as_str()).map(|(at, text)| at + text.len());
                    ends.find(|end| *end >= least)
                };
                delimiters.iter().filter_map(ends).min()?
            }
            _ => self.waiting.len(),
        };
        let rest = self.waiting.split_off(until);
        let chunk = std::mem::replace(&mut self.waiting, rest);
        self.characters -= chunk.chars().count();
        Some(chunk)
    }

    /// The chunk with what its pseudonyms stand for; a cut one is held back until it is whole.
    fn unmasked(&mut self, chunk: &str, end: bool) -> String {
        let Some(unmasker) = &mut self.unmasker else { return chunk.to_owned() };
        let mut clear = unmasker.push(chunk);
        if end {
            clear.push_str(&unmasker.end());
        }
        clear
    }
}

impl Answer {
    /// Whole events in OpenAI's form, never `[DONE]`.
    pub fn events(&mut self, events: &[u8], out: &mut Vec<u8>) {
        for data in data(events) {
            let Ok(Value::Object(event)) = serde_json::from_str::<Value>(&data) else { continue };
            self.begin(out);
            let Some(stream) = &mut self.stream else { return };
            stream.take(event, self.masker.as_ref());
            loop {
                let parts = self.stream.as_mut().map(|stream| stream.ready(false)).unwrap_or_default();
                if parts.is_empty() {
                    break;
                }
                self.event(parts, None, out);
            }
        }
    }

    /// The engine ended well: what waits leaves, with the finish reasons and the usage.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        self.begin(out);
        let Some(stream) = &mut self.stream else { return };
        let (mut parts, usage) = (stream.ready(true), stream.usage.take());
        if let Some(masker) = &self.masker {
            let calls = parts.iter_mut().filter_map(|part| part.clear.get_mut("delta")?.get_mut("tool_calls"));
            for call in calls.filter_map(Value::as_array_mut).flatten() {
                if let Some(Value::String(arguments)) = call.pointer_mut("/function/arguments") {
                    *arguments = unmask_arguments(arguments, masker);
                }
            }
        }
        self.event(parts, usage, out);
    }

    /// The closing event.
    pub fn last(&mut self) -> &'static str {
        DONE
    }

    /// In place of the closing event, where the answer broke off.
    pub fn broken_event(&mut self, status: u16, message: &str) -> String {
        format!("data: {}\n\n", self.broken(status, message))
    }

    /// The first event: what the modules before the model did, and a result that is empty.
    fn begin(&mut self, out: &mut Vec<u8>) {
        let Some(stream) = &mut self.stream else { return };
        if std::mem::replace(&mut stream.begun, true) {
            return;
        }
        let empty = json!({"id": "", "object": "", "created": 0, "model": "", "choices": []});
        let mut event =
            json!({"request_id": self.request_id, "intermediate_results": self.results, "final_result": empty});
        if !self.failures.is_empty() {
            event["intermediate_failures"] = self.failures.clone().into();
        }
        write_event(&event, out);
    }

    fn event(&self, parts: Vec<Part>, usage: Option<Value>, out: &mut Vec<u8>) {
        let Some(stream) = &self.stream else { return };
        let (masked, clear): (Vec<Value>, Vec<Value>) =
            parts.into_iter().map(|part| (Value::from(part.masked), Value::from(part.clear))).unzip();
        let with = |choices: Vec<Value>| {
            let mut result = stream.head.clone();
            result.insert("choices".into(), choices.into());
            if let Some(usage) = &usage {
                result.insert("usage".into(), usage.clone());
            }
            result
        };
        let mut results = json!({"llm": with(masked)});
        if self.masker.is_some() {
            results["output_unmasking"] = clear.clone().into();
        }
        let event =
            json!({"request_id": self.request_id, "intermediate_results": results, "final_result": with(clear)});
        write_event(&event, out);
    }
}
