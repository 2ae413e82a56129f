//! What a model answered, in orchestration's form: whole, or event by event (`stream`). The shell hands it to the gateway as the
//! translator of the answer, so what is made here is what the receipt commits to.

use super::error::{Failure, Location};
use super::messages::in_arguments;
use super::stream::{Chunking, Stream};
use masking::Masker;
use serde_json::{Map, Value, json};

pub struct Answer {
    pub(super) request_id: String,
    pub(super) results: Map<String, Value>,
    pub(super) failures: Vec<Value>,
    /// Some: the answer's pseudonyms are replaced by what they stand for.
    pub(super) masker: Option<Masker>,
    pub(super) stream: Option<Stream>,
}

impl Answer {
    pub(super) fn new(
        request_id: &str,
        results: Map<String, Value>,
        failures: &[Failure],
        masker: Option<Masker>,
        stream: Option<&Chunking>,
    ) -> Answer {
        Answer {
            request_id: request_id.to_owned(),
            results,
            failures: failures.iter().map(|failure| failure.json(request_id)).collect(),
            stream: stream.map(|chunking| Stream::new(chunking, masker.is_some())),
            masker,
        }
    }

    /// What the modules before the model did: an attempt that fails at the model tells it.
    pub fn results(&self) -> &Map<String, Value> {
        &self.results
    }

    /// A whole answer in OpenAI's form. None: the engine's is not an object of JSON.
    pub fn whole(&mut self, body: &[u8]) -> Option<Vec<u8>> {
        let Ok(Value::Object(llm)) = serde_json::from_slice::<Value>(body) else { return None };
        let mut llm = without_nulls(llm);
        for choice in choices(&mut llm) {
            if let Some(message) = choice.get_mut("message").and_then(Value::as_object_mut) {
                whole_message(message);
            }
        }
        let mut results = self.results.clone();
        let mut last = llm.clone();
        results.insert("llm".into(), llm.into());
        if let Some(masker) = &self.masker {
            for choice in choices(&mut last) {
                if let Some(message) = choice.get_mut("message") {
                    unmask(message, masker);
                }
            }
            results.insert("output_unmasking".into(), last.get("choices").cloned().unwrap_or_default());
        }
        let mut answer = json!({"request_id": self.request_id, "intermediate_results": results, "final_result": last});
        if !self.failures.is_empty() {
            answer["intermediate_failures"] = self.failures.clone().into();
        }
        Some(answer.to_string().into_bytes())
    }

    /// The error object, for an answer that broke off.
    pub(super) fn broken(&self, status: u16, message: &str) -> String {
        Failure::body(&[Failure::new(status, Location::Llm, message)], &self.request_id)
    }
}

fn choices(llm: &mut Map<String, Value>) -> impl Iterator<Item = &mut Value> {
    llm.get_mut("choices").and_then(Value::as_array_mut).into_iter().flatten()
}

/// Absent members of OpenAI's form are often null; SAP's clients know them absent.
pub(super) fn without_nulls(map: Map<String, Value>) -> Map<String, Value> {
    fn clean(value: Value) -> Value {
        match value {
            Value::Object(map) => Value::Object(without_nulls(map)),
            Value::Array(list) => list.into_iter().map(clean).collect(),
            other => other,
        }
    }
    map.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name, clean(value))).collect()
}

/// Content is a text always, also beside tool calls; reasoning is a list of blocks.
fn whole_message(message: &mut Map<String, Value>) {
    message.entry("role").or_insert_with(|| "assistant".into());
    message.entry("content").or_insert_with(|| "".into());
    if let Some(reasoning) = message.remove("reasoning_content") {
        message.insert("reasoning_content".into(), blocks(reasoning));
    }
}

/// Engines send reasoning as a text; SAP's form has blocks with a signature, which only other providers' models sign.
pub(super) fn blocks(reasoning: Value) -> Value {
    match reasoning {
        Value::String(text) => json!([{"content": text, "signature": ""}]),
        other => other,
    }
}

fn unmask(message: &mut Value, masker: &Masker) {
    if let Some(Value::String(text)) = message.get_mut("content") {
        *text = masker.unmask(text);
    }
    for block in message.get_mut("reasoning_content").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(Value::String(text)) = block.get_mut("content") {
            *text = masker.unmask(text);
        }
    }
    for call in message.get_mut("tool_calls").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(Value::String(arguments)) = call.pointer_mut("/function/arguments") {
            *arguments = unmask_arguments(arguments, masker);
        }
    }
}

pub(super) fn unmask_arguments(arguments: &str, masker: &Masker) -> String {
    let Ok(unmasked) = in_arguments(arguments, &mut |text| Ok::<_, std::convert::Infallible>(masker.unmask(text)));
    unmasked
}
