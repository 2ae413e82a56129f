//! Answers as OpenAI writes them: whole, as a stream's chunks, and the usage in both.

use crate::turn::sequence::Finish;
use base64::Engine as _;
use serde_json::{Value, json};

/// Which of the two generating endpoints answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Chat,
    Text,
}

/// What all parts of one answer share.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) dialect: Dialect,
    pub(crate) id: String,
    pub(crate) created: u64,
    pub(crate) model: String,
    /// Names the weights: equal seeds give equal answers as long as it stays the same.
    pub(crate) fingerprint: String,
    pub(crate) prompt_tokens: usize,
}

fn reason(finish: Option<Finish>) -> Value {
    match finish {
        None => Value::Null,
        Some(Finish::Stop) => "stop".into(),
        Some(Finish::Length) => "length".into(),
    }
}

impl Reply {
    pub(crate) fn usage(&self, completion_tokens: usize) -> Value {
        json!({
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": self.prompt_tokens + completion_tokens,
            "prompt_tokens_details": {"cached_tokens": 0},
        })
    }

    fn envelope(&self, object: &str, choices: Value) -> Value {
        json!({"id": self.id, "object": object, "created": self.created, "model": self.model,
               "system_fingerprint": self.fingerprint, "choices": choices})
    }

    pub(crate) fn whole(&self, text: &str, finish: Finish, completion_tokens: usize) -> Value {
        let reason = reason(Some(finish));
        let mut whole = match self.dialect {
            Dialect::Chat => self.envelope(
                "chat.completion",
                json!([{"index": 0, "message": {"role": "assistant", "content": text, "refusal": null},
                        "logprobs": null, "finish_reason": reason}]),
            ),
            Dialect::Text => self.envelope(
                "text_completion",
                json!([{"index": 0, "text": text, "logprobs": null, "finish_reason": reason}]),
            ),
        };
        whole["usage"] = self.usage(completion_tokens);
        whole
    }

    /// The first chunk of a chat: who speaks.
    pub(crate) fn opening(&self) -> Option<Value> {
        (self.dialect == Dialect::Chat).then(|| self.delta(json!({"role": "assistant", "content": ""}), None))
    }

    pub(crate) fn chunk(&self, text: &str, finish: Option<Finish>) -> Value {
        match (self.dialect, finish) {
            (Dialect::Chat, Some(_)) => self.delta(json!({}), finish),
            (Dialect::Chat, None) => self.delta(json!({"content": text}), None),
            (Dialect::Text, _) => {
                let choice = json!({"index": 0, "text": text, "logprobs": null, "finish_reason": reason(finish)});
                self.envelope("text_completion", json!([choice]))
            }
        }
    }

    fn delta(&self, delta: Value, finish: Option<Finish>) -> Value {
        let choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": reason(finish)});
        self.envelope("chat.completion.chunk", json!([choice]))
    }

    /// The last chunk where usage was asked for: no choices, the whole usage.
    pub(crate) fn closing(&self, completion_tokens: usize) -> Value {
        let object = match self.dialect {
            Dialect::Chat => "chat.completion.chunk",
            Dialect::Text => "text_completion",
        };
        let mut closing = self.envelope(object, json!([]));
        closing["usage"] = self.usage(completion_tokens);
        closing
    }
}

/// The answer to `/v1/embeddings`.
pub(crate) fn vectors(vectors: &[Vec<f32>], base64: bool, model: &str, prompt_tokens: usize) -> Value {
    let data: Vec<Value> = (vectors.iter().enumerate())
        .map(|(index, vector)| {
            let embedding = if base64 {
                let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
                json!(base64::engine::general_purpose::STANDARD.encode(bytes))
            } else {
                json!(vector)
            };
            json!({"object": "embedding", "index": index, "embedding": embedding})
        })
        .collect();
    json!({"object": "list", "data": data, "model": model,
           "usage": {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens}})
}
