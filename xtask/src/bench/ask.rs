//! What is asked and what is answered: the same for every peer.

use clap::ValueEnum;

/// Sizes of a request for a whole answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Body {
    /// 0.57 kB: a shared system prompt and a short question.
    Small,
    /// A prompt of 48 kB.
    #[value(name = "48k")]
    Long,
    /// No whole answers in this run.
    None,
}

impl Body {
    pub fn name(self) -> &'static str {
        match self {
            Body::Small => "small",
            Body::Long => "48k",
            Body::None => "none",
        }
    }
}

const SYSTEM: &str = "You are the assistant of a company in Munich. Answer briefly, in the language of the question, and \
                      only from what you know. If you do not know, say so. Never invent names, numbers, dates or sources. \
                      Do not give legal advice; name the department that can. Keep personal data out of your answers. \
                      Write in full sentences, without headings and without lists, and stay under one hundred words.";

const QUESTION: &str = "Which form do I need to order a new laptop, and who signs it?";

/// Bytes of the long prompt.
const LONG_BYTES: usize = 48 * 1024;

pub fn request(body: Body) -> String {
    let text = match body {
        Body::Long => {
            "The order of a laptop begins with a form and ends with a signature. ".repeat(LONG_BYTES / 68 + 1)
        }
        Body::Small | Body::None => String::new(),
    };
    let text = &text[..text.len().min(LONG_BYTES)];
    format!(
        r#"{{"model":"bench","messages":[{{"role":"system","content":"{SYSTEM}"}},{{"role":"user","content":"{text}{QUESTION}"}}],"max_tokens":64,"temperature":0.2}}"#
    )
}

/// The same for a stream, with usage at its end: every peer has to send the same events.
pub fn stream_request() -> String {
    format!(
        r#"{{"model":"bench","messages":[{{"role":"system","content":"{SYSTEM}"}},{{"role":"user","content":"{QUESTION}"}}],"max_tokens":64,"temperature":0.2,"stream":true,"stream_options":{{"include_usage":true}}}}"#
    )
}

/// 0.42 kB, as an engine answers.
pub fn answer() -> String {
    r#"{"id":"chatcmpl-bench","object":"chat.completion","created":1795000000,"model":"bench","choices":[{"index":0,"message":{"role":"assistant","content":"Please use the equipment form on the intranet; your team lead signs it first."},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":121,"completion_tokens":17,"total_tokens":138,"prompt_tokens_details":{"cached_tokens":96}},"service_tier":"default"}"#.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_json_of_the_size_that_they_are_called_by() {
        for (body, bytes) in [(Body::Small, 500..700), (Body::Long, 48_000..50_500)] {
            let text = request(body);
            assert!(bytes.contains(&text.len()), "{}", text.len());
            assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
        }
        assert!(serde_json::from_str::<serde_json::Value>(&stream_request()).is_ok());
    }
}
