//! `hoheit chat`: one question to a model, streamed, as any OpenAI client would ask it; and the receipt it left.
//!
//! It uses an API key, not a control token: what it can and cannot do is what a tenant's program can and cannot do.

use super::Failure;
use super::client::{Client, Connection, collect, refusal};
use super::show;
use clap::Args;
use http::{Method, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value, json};
use std::io::Write;
use types::DataClass;

/// The longest event: a chunk with log-probabilities is some KB; without a limit a broken engine could fill memory.
const EVENT_BYTES_MAX: usize = 1 << 20;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  export HOHEIT_API_KEY=hk_…
  hoheit chat \"Was ist ein Beleg?\"
  hoheit chat --model nano --class secret \"Who may read this?\"
  hoheit chat --json \"One word, please.\"              the answer, its usage and its receipt as JSON")]
pub struct Chat {
    #[command(flatten)]
    connection: Connection,
    /// The question.
    pub prompt: String,
    /// The model; the first one on offer if left out.
    #[arg(long)]
    pub model: Option<String>,
    /// An API key; better given by HOHEIT_API_KEY than here.
    #[arg(long, env = "HOHEIT_API_KEY", hide_env_values = true)]
    pub key: Option<String>,
    /// Raises the data class of this request: public, internal, confidential or secret.
    #[arg(long)]
    pub class: Option<DataClass>,
    /// A system message before the question.
    #[arg(long)]
    pub system: Option<String>,
    /// Tokens the answer may have.
    #[arg(long, value_name = "N")]
    pub max_tokens: Option<u64>,
    #[arg(long, value_name = "X")]
    pub temperature: Option<f64>,
}

impl Chat {
    pub async fn run(self) -> Result<(), Failure> {
        let Some(key) = self.key.clone().filter(|key| !key.is_empty()) else {
            return Err(Failure::usage("No API key.")
                .hint("make one with `hoheit key create --project ID` and set HOHEIT_API_KEY"));
        };
        let client = self.connection.inference(key)?;
        let model = match &self.model {
            Some(model) => model.clone(),
            None => first_model(&client).await?,
        };
        let mut messages = Vec::new();
        messages.extend(self.system.as_ref().map(|text| json!({ "role": "system", "content": text })));
        messages.push(json!({ "role": "user", "content": self.prompt }));
        let mut body = json!({ "model": model, "messages": messages, "stream": !self.connection.json });
        if !self.connection.json {
            body["stream_options"] = json!({ "include_usage": true });
        }
        for (name, value) in [
            ("max_tokens", self.max_tokens.map(|tokens| json!(tokens))),
            ("temperature", self.temperature.map(|degree| json!(degree))),
        ] {
            if let Some(value) = value {
                body[name] = value;
            }
        }
        let headers: Vec<_> = self.class.iter().map(|class| ("hoheit-data-class", class.to_string())).collect();
        let response = client.send(Method::POST, "/v1/chat/completions", Some(&body), &headers).await?;
        let receipt = response.headers().get("hoheit-receipt").and_then(|id| id.to_str().ok()).map(str::to_owned);
        let outcome = if !response.status().is_success() {
            let status = response.status();
            Err(refusal(status, &collect(response).await?))
        } else if self.connection.json {
            whole(response, receipt.as_deref()).await
        } else {
            stream(response).await
        };
        if let Some(receipt) = receipt.filter(|_| !self.connection.json || outcome.is_err()) {
            eprintln!("receipt {}", show::clean(&receipt));
        }
        outcome
    }
}

async fn first_model(client: &Client) -> Result<String, Failure> {
    let models = client.get("/v1/models").await?;
    models["data"][0]["id"].as_str().map(str::to_owned).ok_or_else(|| {
        Failure::failed("This key sees no model.").hint("register an engine: hoheit engine add URL --model NAME …")
    })
}

async fn whole(response: Response<Incoming>, receipt: Option<&str>) -> Result<(), Failure> {
    let answer: Value = serde_json::from_slice(&collect(response).await?)
        .map_err(|error| Failure::failed(format!("The answer is not JSON: {error}.")))?;
    show::json(&json!({
        "answer": answer["choices"][0]["message"]["content"], "model": answer["model"], "usage": answer["usage"],
        "finish_reason": answer["choices"][0]["finish_reason"], "receipt": receipt,
    }))
}

/// What one event of the stream says.
#[derive(Debug, PartialEq)]
enum Said {
    Text(String),
    Usage(u64, u64),
    Broken(String),
    Done,
    Nothing,
}

/// Reads one line of the stream.
fn said(line: &str) -> Said {
    let Some(data) = line.strip_prefix("data:").map(str::trim) else { return Said::Nothing };
    if data == "[DONE]" {
        return Said::Done;
    }
    let event: Value = serde_json::from_str(data).unwrap_or_default();
    if let Some(message) = event["error"]["message"].as_str() {
        return Said::Broken(message.to_owned());
    }
    if let Some(text) = event["choices"][0]["delta"]["content"].as_str().filter(|text| !text.is_empty()) {
        return Said::Text(text.to_owned());
    }
    let tokens = |name: &str| event["usage"][name].as_u64();
    match (tokens("prompt_tokens"), tokens("completion_tokens")) {
        (Some(prompt), Some(answer)) => Said::Usage(prompt, answer),
        _ => Said::Nothing,
    }
}

async fn stream(response: Response<Incoming>) -> Result<(), Failure> {
    let mut body = response.into_body();
    let mut waiting = Vec::new();
    let (mut done, mut usage) = (false, None);
    let mut out = std::io::stdout();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Failure::failed(format!("The stream broke off: {error}.")))?;
        let Ok(bytes) = frame.into_data() else { continue };
        waiting.extend_from_slice(&bytes);
        while let Some(end) = waiting.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = waiting.drain(..=end).collect();
            match said(String::from_utf8_lossy(&line).trim_end()) {
                Said::Text(text) => {
                    out.write_all(show::clean(&text).as_bytes())?;
                    out.flush()?;
                }
                Said::Usage(prompt, answer) => usage = Some((prompt, answer)),
                Said::Broken(message) => {
                    show::line("")?;
                    return Err(Failure::failed(message).hint("the receipt says what was delivered and billed"));
                }
                Said::Done => done = true,
                Said::Nothing => {}
            }
        }
        if waiting.len() > EVENT_BYTES_MAX {
            return Err(Failure::failed("The stream holds an event of more than 1 MiB.").hint("look at the engine"));
        }
    }
    show::line("")?;
    if let Some((prompt, answer)) = usage {
        eprintln!("{prompt} tokens asked, {answer} answered");
    }
    if done {
        Ok(())
    } else {
        Err(Failure::failed("The stream ended before its end.").hint("ask again; the receipt says what happened"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events() {
        assert_eq!(said(r#"data: {"choices":[{"delta":{"content":"Hi"}}]}"#), Said::Text("Hi".into()));
        assert_eq!(said(r#"data:{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":5}}"#), Said::Usage(3, 5));
        assert_eq!(said(r#"data: {"error":{"message":"broke off"}}"#), Said::Broken("broke off".into()));
        assert_eq!(said("data: [DONE]"), Said::Done);
        for nothing in ["", ": comment", "event: x", "data: {", "data: null", r#"data: {"choices":[{"delta":{}}]}"#] {
            assert_eq!(said(nothing), Said::Nothing, "{nothing}");
        }
    }
}
