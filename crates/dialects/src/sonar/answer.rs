//! What an engine answered, in Sonar's form: whole or as a stream, its citations checked on the way.
//!
//! A stream's event holds the new text (`delta`) and all text so far (`message`), as Perplexity's do. All so far in every event
//! grows with the square of an answer; so an event waits until what is new is [`EVENT_SHARE`]th of what was sent. A short answer
//! leaves word by word, and an answer of 16 KB costs 2 MB instead of 30. A client that wants less says `stream_mode: concise`.
//!
//! Results come before the first word, usage and findings with the last event. Reasoning is counted and not shown. An engine's
//! answer that cannot be read is none: what nobody can check does not leave.

use super::usage::{self, Searched};
use crate::events::{data, write_event};
use crate::grounding::{Checker, Findings, Language};
use serde_json::{Value, json};
use types::snapshot::Price;
use types::{Code, CollectionId, Passage, Usage};

/// New text leaves when it is at least so small a part of what left before.
const EVENT_SHARE: usize = 128;

/// What a client is shown of a passage.
const SNIPPET_CHARS_MAX: usize = 400;

/// The collection of passages that come from no collection but from a search of the web: an id that is never given.
pub const WEB: CollectionId = CollectionId(0);

/// What is known before the model says anything.
#[derive(Debug, Clone, Default)]
pub struct Frame {
    /// As the client named it.
    pub model: String,
    /// Seconds since 1970, where the engine says none.
    pub created: i64,
    /// Of passage `n` at `n - 1`.
    pub citations: Vec<String>,
    pub results: Vec<Value>,
    /// Questions that could follow, if they were asked for.
    pub related: Option<Vec<String>>,
    /// The client asked for images and is told that there are none.
    pub images: bool,
    pub searched: Searched,
    pub price: Option<Price>,
    /// Events hold only what is new.
    pub concise: bool,
}

impl Frame {
    /// The passages that the model was given, in the order of their numbers.
    pub fn cite(&mut self, passages: &[Passage]) {
        self.citations = passages.iter().map(|passage| passage.url.clone()).collect();
        self.results = passages.iter().map(result).collect();
        self.searched.citation_tokens = passages.iter().map(|passage| passage.text.len() as u64 / 4).sum();
    }
}

/// A passage as a search result, with the hash by which the receipt names it.
fn result(passage: &Passage) -> Value {
    json!({
        "title": passage.title,
        "url": passage.url,
        "date": passage.date,
        "last_updated": null,
        "snippet": snippet(&passage.text, SNIPPET_CHARS_MAX),
        "source": if passage.collection == WEB { "web" } else { "attachment" },
        "hash": passage.hash,
    })
}

/// The beginning of a text, cut between words where that loses little.
pub(super) fn snippet(text: &str, chars_max: usize) -> String {
    let Some((end, _)) = text.char_indices().nth(chars_max) else { return text.to_owned() };
    let cut = text[..end].rfind(char::is_whitespace).filter(|at| *at * 2 > end).unwrap_or(end);
    format!("{}…", text[..cut].trim_end())
}

/// Translates one answer.
pub struct Answer {
    frame: Frame,
    /// None: nothing was searched, and nothing is checked.
    checker: Option<Checker>,
    id: String,
    /// All text that left.
    content: String,
    waiting: String,
    begun: bool,
    finish: &'static str,
    usage: Option<Usage>,
}

impl Answer {
    /// The id is shown where the engine gives none.
    pub fn new(frame: Frame, checker: Option<Checker>, id: String) -> Answer {
        Answer {
            frame,
            checker,
            id,
            content: String::new(),
            waiting: String::new(),
            begun: false,
            finish: "stop",
            usage: None,
        }
    }

    /// A whole answer in OpenAI's form. None: it is not JSON, or there is no choice in it.
    pub fn whole(&mut self, body: &[u8]) -> Option<Vec<u8>> {
        let answer: Value = serde_json::from_slice(body).ok()?;
        let choice = answer["choices"].get(0).filter(|choice| choice.is_object())?;
        self.note(&answer);
        self.take(choice["message"]["content"].as_str().unwrap_or_default());
        self.take_end();
        let content = std::mem::take(&mut self.waiting);
        Some(self.ended(&content).to_string().into_bytes())
    }

    /// Whole events of a stream in OpenAI's form.
    pub fn events(&mut self, events: &[u8], out: &mut Vec<u8>) {
        for data in data(events) {
            let Ok(event) = serde_json::from_str::<Value>(&data) else { continue };
            self.note(&event);
            self.take(event["choices"][0]["delta"]["content"].as_str().unwrap_or_default());
        }
        if !self.begun {
            self.begun = true;
            self.send(String::new(), out);
        }
        if !self.waiting.is_empty() && self.waiting.len() * EVENT_SHARE >= self.content.len() {
            let new = std::mem::take(&mut self.waiting);
            self.send(new, out);
        }
    }

    /// The engine ended well: what was held back, and the event with usage and findings.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        self.take_end();
        if !self.waiting.is_empty() || !self.begun {
            self.begun = true;
            let new = std::mem::take(&mut self.waiting);
            self.send(new, out);
        }
        let content = std::mem::take(&mut self.content);
        let mut last = self.ended(&content);
        last["object"] = json!(if self.frame.concise { "chat.completion.done" } else { "chat.completion.chunk" });
        last["type"] = json!("end_of_stream");
        write_event(&last, out);
    }

    /// The closing event.
    pub fn last(&self) -> &'static [u8] {
        b"data: [DONE]\n\n"
    }

    /// In place of the closing event: an event `error` with OpenAI's envelope, and no `[DONE]`.
    pub fn broken(&self, code: Code, message: &str) -> Vec<u8> {
        format!("event: error\ndata: {}\n\n", envelope(code, message)).into_bytes()
    }

    /// The answer where nothing was found, whole or as the events of a stream: no model was asked.
    pub fn absent(&mut self, language: Language, stream: bool) -> Vec<u8> {
        let mut out = Vec::new();
        self.usage = Some(Usage::default());
        self.take(language.absent());
        if stream {
            self.flush(&mut out);
            out.extend_from_slice(self.last());
        } else {
            self.take_end();
            let content = std::mem::take(&mut self.waiting);
            out = self.ended(&content).to_string().into_bytes();
        }
        out
    }

    /// What was found in the text so far.
    pub fn findings(&self) -> Option<Findings> {
        self.checker.as_ref().map(Checker::findings)
    }

    fn note(&mut self, answer: &Value) {
        if let Some(id) = answer["id"].as_str().filter(|id| !id.is_empty()) {
            self.id = id.to_owned();
        }
        if let Some(created) = answer["created"].as_i64() {
            self.frame.created = created;
        }
        if let Some(finish) = answer["choices"][0]["finish_reason"].as_str() {
            self.finish = if finish == "length" { "length" } else { "stop" };
        }
        self.usage = usage::from_openai(&answer["usage"]).or(self.usage);
    }

    fn take(&mut self, text: &str) {
        match &mut self.checker {
            Some(checker) => self.waiting.push_str(&checker.push(text)),
            None => self.waiting.push_str(text),
        }
    }

    fn take_end(&mut self) {
        if let Some(checker) = &mut self.checker {
            self.waiting.push_str(&checker.end());
        }
    }

    /// An event with new text.
    fn send(&mut self, new: String, out: &mut Vec<u8>) {
        self.content.push_str(&new);
        let mut event = json!({
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.frame.created,
            "model": self.frame.model,
            "type": "message",
            "status": "PENDING",
            "choices": [{"index": 0, "finish_reason": null, "delta": {"role": "assistant", "content": new}}],
        });
        if !self.frame.concise {
            event["choices"][0]["message"] =
                json!({"role": "assistant", "content": self.content, "reasoning_steps": []});
            event["citations"] = json!(self.frame.citations);
            event["search_results"] = json!(self.frame.results);
            event["usage"] = usage::unknown_yet();
        }
        write_event(&event, out);
    }

    /// The answer that is over, as an object `chat.completion`.
    fn ended(&self, content: &str) -> Value {
        let mut answer = json!({
            "id": self.id,
            "object": "chat.completion",
            "created": self.frame.created,
            "model": self.frame.model,
            "type": "message",
            "status": "COMPLETED",
            "choices": [{
                "index": 0,
                "finish_reason": self.finish,
                "message": {"role": "assistant", "content": content, "reasoning_steps": []},
                "delta": {"role": "assistant", "content": ""},
            }],
            "citations": self.frame.citations,
            "search_results": self.frame.results,
        });
        if let Some(usage) = self.usage {
            answer["usage"] = usage::whole(usage, self.frame.price.as_ref(), &self.frame.searched);
        }
        if let Some(related) = &self.frame.related {
            answer["related_questions"] = json!(related);
        }
        if self.frame.images {
            answer["images"] = json!([]);
        }
        if let Some(findings) = self.findings() {
            answer["grounding"] = json!(findings);
        }
        answer
    }
}

/// `{"error":{…}}` as OpenAI's clients read it.
fn envelope(code: Code, message: &str) -> Value {
    json!({"error": {"message": message, "type": code.openai_type(), "param": null, "code": code.as_str()}})
}

#[cfg(test)]
mod tests;
