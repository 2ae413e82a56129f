//! The answers: chat completions, completions and embeddings, as one JSON document or as events of a stream.
//!
//! Everything is a function of the request and the behaviour, so the same request gets the same bytes. Identifiers and
//! times are constants: nothing may depend on them.

use super::behaviour::{Behaviour, UsageStory};
use super::log::Counted;
use serde_json::{Map, Value, json};

const CREATED: u64 = 1_795_000_000;

/// What kind of answer a path asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Chat,
    Completion,
    Embedding,
}

impl Operation {
    pub fn of_path(path: &str) -> Option<Operation> {
        match path {
            "/v1/chat/completions" => Some(Operation::Chat),
            "/v1/completions" => Some(Operation::Completion),
            "/v1/embeddings" => Some(Operation::Embedding),
            _ => None,
        }
    }
}

/// The fields of a request that the engine reads.
pub(crate) struct Asked {
    pub operation: Operation,
    pub model: String,
    pub stream: bool,
    include_usage: bool,
    continuous_usage: bool,
    output_tokens_max: Option<u64>,
    prompt_words: u64,
    tool: Option<String>,
    inputs: usize,
    all: Map<String, Value>,
    /// As it came. A parsed number need not print as it was written.
    text: String,
}

impl Asked {
    pub fn parse(operation: Operation, body: &[u8]) -> Option<Asked> {
        let Value::Object(all) = serde_json::from_slice(body).ok()? else { return None };
        let flag = |holder: Option<&Value>, name: &str| {
            holder.and_then(|holder| holder.get(name)).and_then(Value::as_bool).unwrap_or(false)
        };
        let options = all.get("stream_options");
        let prompt = all.get("messages").or_else(|| all.get("prompt")).or_else(|| all.get("input"));
        let tool = match all.get("tool_choice").and_then(Value::as_str) {
            Some("none") => None,
            _ => all.get("tools").and_then(|tools| tools.pointer("/0/function/name")).and_then(Value::as_str),
        };
        Some(Asked {
            operation,
            model: all.get("model")?.as_str()?.to_owned(),
            stream: all.get("stream").and_then(Value::as_bool).unwrap_or(false),
            include_usage: flag(options, "include_usage"),
            continuous_usage: flag(options, "continuous_usage_stats"),
            output_tokens_max: ["max_completion_tokens", "max_tokens"]
                .iter()
                .find_map(|name| all.get(*name).and_then(Value::as_u64)),
            prompt_words: prompt.map_or(0, words).max(1),
            tool: tool.map(str::to_owned),
            inputs: all.get("input").and_then(Value::as_array).map_or(1, Vec::len),
            all,
            text: String::from_utf8_lossy(body).into_owned(),
        })
    }

    /// Tokens that the answer will have, and whether `max_tokens` cut it.
    pub fn output(&self, behaviour: &Behaviour) -> (u64, bool) {
        match self.output_tokens_max {
            _ if self.operation == Operation::Embedding => (0, false),
            Some(max) if max < behaviour.tokens && !behaviour.ignore_max_tokens => (max, true),
            _ => (behaviour.tokens, false),
        }
    }

    /// What an honest engine has counted once `output` tokens are out.
    pub fn counted(&self, behaviour: &Behaviour, output: u64) -> Counted {
        let input = behaviour.prompt_tokens.unwrap_or(self.prompt_words);
        Counted { input, cached: behaviour.cached_tokens.min(input), output }
    }
}

/// Words of every text in a prompt; image parts and the like count as one each.
fn words(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.split_whitespace().count() as u64,
        Value::Array(items) => items.iter().map(words).sum(),
        Value::Object(fields) => fields.iter().filter(|(name, _)| *name != "role").map(|(_, value)| words(value)).sum(),
        Value::Number(_) => 1,
        Value::Null | Value::Bool(_) => 0,
    }
}

fn usage_json(counted: Counted) -> Value {
    json!({
        "prompt_tokens": counted.input,
        "completion_tokens": counted.output,
        "total_tokens": counted.input + counted.output,
        "prompt_tokens_details": {"cached_tokens": counted.cached},
        "completion_tokens_details": {"reasoning_tokens": 0},
    })
}

/// What the engine says where it has counted this; `None` where it says nothing. `last` is the final report.
fn reported(story: UsageStory, counted: Counted, planned: u64, last: bool) -> Option<Value> {
    let output = match story {
        UsageStory::Absent => return None,
        UsageStory::Zero => return Some(usage_json(Counted::default())),
        UsageStory::Correct => counted.output,
        UsageStory::Shrinking if last => counted.output,
        UsageStory::Shrinking => planned.saturating_sub(counted.output),
        UsageStory::TooLarge => counted.output.max(1).saturating_mul(100),
        UsageStory::FinalDiffers if last => counted.output.saturating_sub(1),
        UsageStory::FinalDiffers => counted.output,
    };
    Some(usage_json(Counted { output, ..counted }))
}

/// The words of the answer from token `from` up to token `to`.
fn text(behaviour: &Behaviour, from: u64, to: u64) -> String {
    (from..to)
        .map(|token| match &behaviour.text {
            Some(text) if token == 0 => text.clone(),
            Some(text) => format!(" {text}"),
            None if token == 0 => "tok0".to_owned(),
            None => format!(" tok{token}"),
        })
        .collect()
}

/// One event of a stream before framing: its JSON, and what is counted once it is out.
pub(crate) struct Event {
    pub data: String,
    pub counted: Counted,
    /// It carries a part of the answer, not only a role, a finish reason or usage.
    pub content: bool,
}

fn head(asked: &Asked, behaviour: &Behaviour, object: &str, choices: Value) -> Map<String, Value> {
    let id = match asked.operation {
        Operation::Chat => "chatcmpl-twin",
        Operation::Completion | Operation::Embedding => "cmpl-twin",
    };
    let mut answer = Map::new();
    answer.insert("id".into(), id.into());
    answer.insert("object".into(), object.into());
    answer.insert("created".into(), CREATED.into());
    answer.insert("model".into(), asked.model.clone().into());
    answer.insert("choices".into(), choices);
    if behaviour.echo {
        answer.insert("twin_echo".into(), Value::from(asked.text.clone()));
    }
    answer
}

/// The whole answer as one document.
pub(crate) fn document(asked: &Asked, behaviour: &Behaviour) -> String {
    let (planned, cut) = asked.output(behaviour);
    let content = text(behaviour, 0, planned);
    let finish = if cut { "length" } else { "stop" };
    let mut answer = match (asked.operation, &asked.tool) {
        (Operation::Embedding, _) => return embedding(asked, behaviour),
        (Operation::Chat, Some(tool)) => {
            let message = json!({"role": "assistant", "content": null, "tool_calls": [call(tool)]});
            let choice = json!({"index": 0, "message": message, "logprobs": null, "finish_reason": "tool_calls"});
            head(asked, behaviour, "chat.completion", json!([choice]))
        }
        (Operation::Chat, None) => {
            let message = json!({"role": "assistant", "content": content, "refusal": null});
            let choice = json!({"index": 0, "message": message, "logprobs": null, "finish_reason": finish});
            head(asked, behaviour, "chat.completion", json!([choice]))
        }
        (Operation::Completion, _) => {
            let choice = json!({"index": 0, "text": content, "logprobs": null, "finish_reason": finish});
            head(asked, behaviour, "text_completion", json!([choice]))
        }
    };
    if let Some(usage) = reported(behaviour.usage, asked.counted(behaviour, planned), planned, true) {
        answer.insert("usage".into(), usage);
    }
    Value::Object(answer).to_string()
}

fn call(tool: &str) -> Value {
    json!({"id": "call_twin", "type": "function", "function": {"name": tool, "arguments": "{\"city\":\"München\"}"}})
}

/// Vectors of four numbers; base64 of little-endian floats where asked, because OpenAI's own SDK asks for it.
fn embedding(asked: &Asked, behaviour: &Behaviour) -> String {
    // 0.5, -0.25, 0.125, 1.0 as little-endian f32.
    const BASE64: &str = "AAAAPwAAgL4AAAA+AACAPw==";
    let vector = match asked.all.get("encoding_format").and_then(Value::as_str) {
        Some("base64") => Value::from(BASE64),
        _ => json!([0.5, -0.25, 0.125, 1.0]),
    };
    let data: Vec<Value> =
        (0..asked.inputs).map(|index| json!({"object": "embedding", "index": index, "embedding": vector})).collect();
    let mut answer = json!({"object": "list", "model": asked.model, "data": data});
    let counted = asked.counted(behaviour, 0);
    if behaviour.usage != UsageStory::Absent {
        let input = if behaviour.usage == UsageStory::Zero { 0 } else { counted.input };
        answer["usage"] = json!({"prompt_tokens": input, "total_tokens": input});
    }
    if behaviour.echo {
        answer["twin_echo"] = Value::from(asked.text.clone());
    }
    answer.to_string()
}

/// The answer as events, without the closing `[DONE]`.
pub(crate) fn events(asked: &Asked, behaviour: &Behaviour) -> Vec<Event> {
    let (planned, cut) = asked.output(behaviour);
    let chat = asked.operation == Operation::Chat;
    let object = if chat { "chat.completion.chunk" } else { "text_completion" };
    let mut events = Vec::new();
    let mut push = |choices: Value, output: u64, content: bool, last: bool| {
        let counted = asked.counted(behaviour, output);
        let mut event = head(asked, behaviour, object, choices);
        if (last || asked.continuous_usage)
            && let Some(usage) = reported(behaviour.usage, counted, planned, last)
        {
            event.insert("usage".into(), usage);
        }
        events.push(Event { data: Value::Object(event).to_string(), counted, content });
    };
    let choice = |delta: Value, finish: Value| match chat {
        true => json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}]),
        false => json!([{"index": 0, "text": delta, "logprobs": null, "finish_reason": finish}]),
    };
    if chat {
        push(choice(json!({"role": "assistant", "content": ""}), Value::Null), 0, false, false);
    }
    let mut out = 0;
    while out < planned {
        let to = planned.min(out + behaviour.tokens_per_event.max(1));
        let content = match (&asked.tool, chat) {
            (Some(tool), true) if out == 0 => {
                let mut call = call(tool);
                call["index"] = 0.into();
                json!({"tool_calls": [call]})
            }
            (Some(_), true) => json!({"tool_calls": [{"index": 0, "function": {"arguments": " "}}]}),
            (None, true) => json!({"content": text(behaviour, out, to)}),
            (_, false) => Value::from(text(behaviour, out, to)),
        };
        push(choice(content, Value::Null), to, true, false);
        out = to;
    }
    let finish = match &asked.tool {
        Some(_) if chat => "tool_calls",
        _ if cut => "length",
        _ => "stop",
    };
    push(choice(if chat { json!({}) } else { Value::from("") }, finish.into()), planned, false, false);
    if asked.include_usage && behaviour.usage != UsageStory::Absent {
        push(json!([]), planned, false, true);
    }
    events
}
