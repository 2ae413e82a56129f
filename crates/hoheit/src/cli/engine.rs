//! `hoheit engine`: running engines, ours or any OpenAI-compatible URL.

use super::Failure;
use super::client::{Client, Connection};
use super::show::{self, Column, field};
use clap::{Args, Subcommand};
use serde_json::json;
use std::time::Duration;
use types::snapshot::EngineKind;
use types::{Country, EngineId, Retention};

#[derive(Debug, Args)]
pub struct Engine {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    pub command: EngineCommand,
}

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  hoheit engine add http://10.0.0.7:8000 --model qwen3-32b --kind vllm --country DE \\
      --operator \"Muster RZ\" --provider \"Muster RZ\" --jurisdiction DE
  hoheit engine cordon eng_…
  hoheit engine list")]
#[expect(clippy::large_enum_variant, reason = "parsed once in a process")]
pub enum EngineCommand {
    /// Register an engine. Equal model and facts make it a replica of the same endpoint.
    #[command(after_help = "\
Examples:
  hoheit engine add http://127.0.0.1:8000 --model qwen3-32b --country DE --operator \"Muster RZ\" \\
      --provider \"Muster RZ\" --jurisdiction DE --json
  ENGINE_CREDENTIAL=sk-… hoheit engine add https://api.example.com --model big --country US --operator Example \\
      --provider Example --jurisdiction US --retention limited")]
    Add {
        /// The engine's base URL; /v1 at the end may be left out.
        #[arg(value_name = "URL")]
        address: String,
        /// The name that tenants ask for.
        #[arg(long)]
        model: String,
        /// Where the engine stands.
        #[arg(long)]
        country: Country,
        /// Who runs the machine.
        #[arg(long)]
        operator: String,
        /// Who offers the model.
        #[arg(long)]
        provider: String,
        /// Whose law can compel the provider.
        #[arg(long)]
        jurisdiction: Country,
        /// What the provider keeps: none, limited or unlimited.
        #[arg(long, default_value = "none")]
        retention: Retention,
        /// The site it stands in; this site if left out.
        #[arg(long)]
        site: Option<String>,
        /// How the machine proves what it is.
        #[arg(long)]
        attestation: Option<String>,
        /// sha256:<hex> of the weights.
        #[arg(long, value_name = "DIGEST")]
        weights: Option<String>,
        /// Tokens of prompt and answer together [default: 32768].
        #[arg(long, value_name = "N")]
        context_length: Option<u64>,
        /// Tokens an answer may have at most [default: 4096].
        #[arg(long, value_name = "N")]
        output_tokens_max: Option<u64>,
        /// What it understands; left out, the engine is asked, and is taken for openai if it does not answer.
        #[arg(long, value_parser = EngineKind::ALL.map(EngineKind::as_str))]
        kind: Option<String>,
        /// The name the engine knows the model by.
        #[arg(long, value_name = "NAME")]
        model_alias: Option<String>,
        /// Requests that it takes at once; more wait at the gateway [default: 256].
        #[arg(long, value_name = "N")]
        slots: Option<u32>,
        /// Sent to the engine as a bearer token; better given by the environment than here.
        #[arg(long, env = "ENGINE_CREDENTIAL", hide_env_values = true)]
        credential: Option<String>,
    },
    /// List engines.
    #[command(after_help = "Examples:\n  hoheit engine list")]
    List,
    /// Show an engine.
    #[command(after_help = "Examples:\n  hoheit engine show eng_…")]
    Show { id: EngineId },
    /// Let it take so many requests at once.
    #[command(after_help = "Examples:\n  hoheit engine slots eng_… 128")]
    Slots {
        id: EngineId,
        #[arg(value_name = "N")]
        slots: u32,
    },
    /// Let it take no new requests.
    #[command(after_help = "Examples:\n  hoheit engine cordon eng_…")]
    Cordon { id: EngineId },
    /// Let it take requests again.
    #[command(after_help = "Examples:\n  hoheit engine uncordon eng_…")]
    Uncordon { id: EngineId },
    /// Take it out.
    #[command(after_help = "Examples:\n  hoheit engine remove eng_…")]
    Remove { id: EngineId },
}

/// How long an engine may take to say what it is. Registering waits no longer: the engine may still be loading.
const DETECT_SECS_MAX: u64 = 2;

/// The kind by what the engine writes into `owned_by` of its models: vLLM, SGLang and llama.cpp write their names. Without the kind
/// a vLLM would share its prefix cache between tenants and count nothing until an answer has ended.
async fn detect(address: &str, credential: Option<String>) -> &'static str {
    let models = async { Client::engine(address, credential)?.get("/v1/models").await };
    let answer = tokio::time::timeout(Duration::from_secs(DETECT_SECS_MAX), models).await;
    match answer.ok().and_then(Result::ok).as_ref().and_then(|models| models["data"][0]["owned_by"].as_str()) {
        Some("vllm") => "vllm",
        Some("sglang") => "sglang",
        Some("llamacpp") => "llama-server",
        _ => "openai",
    }
}

const COLUMNS: &[Column] =
    &[field!("id"), field!("endpoint"), field!("url"), field!("kind"), field!("slots"), field!("cordoned")];

impl Engine {
    pub async fn run(self) -> Result<(), Failure> {
        let client = self.connection.control()?;
        let as_json = self.connection.json;
        match self.command {
            EngineCommand::Add {
                address,
                model,
                country,
                operator,
                provider,
                jurisdiction,
                retention,
                site,
                attestation,
                weights,
                context_length,
                output_tokens_max,
                kind,
                model_alias,
                slots,
                credential,
            } => {
                let kind = match kind {
                    Some(kind) => kind,
                    None => detect(&address, credential.clone()).await.to_owned(),
                };
                let body = json!({
                    "url": address, "model": model, "country": country, "operator": operator, "provider": provider,
                    "jurisdiction": jurisdiction, "retention": retention, "site": site, "attestation": attestation,
                    "weights": weights, "context_length": context_length, "output_tokens_max": output_tokens_max,
                    "kind": kind, "model_alias": model_alias, "slots": slots, "credential": credential,
                });
                let engine = client.post("/api/v1/engines", &body).await?;
                let text =
                    format!("engine {} of endpoint {}", show::text(&engine["id"]), show::text(&engine["endpoint"]));
                show::done(as_json, &engine, &text)
            }
            EngineCommand::List => {
                let engines = client.get("/api/v1/engines").await?;
                show::list(as_json, &engines, COLUMNS, "No engines. Register one: hoheit engine add URL --model NAME …")
            }
            EngineCommand::Show { id } => show::one(as_json, &client.get(&format!("/api/v1/engines/{id}")).await?),
            EngineCommand::Slots { id, slots } => {
                let engine = client.patch(&format!("/api/v1/engines/{id}"), &json!({ "slots": slots })).await?;
                show::done(as_json, &engine, &format!("{id} takes {slots} requests at once"))
            }
            EngineCommand::Cordon { id } => {
                let engine = client.patch(&format!("/api/v1/engines/{id}"), &json!({ "cordoned": true })).await?;
                show::done(as_json, &engine, &format!("{id} takes no new requests"))
            }
            EngineCommand::Uncordon { id } => {
                let engine = client.patch(&format!("/api/v1/engines/{id}"), &json!({ "cordoned": false })).await?;
                show::done(as_json, &engine, &format!("{id} takes requests"))
            }
            EngineCommand::Remove { id } => {
                client.delete(&format!("/api/v1/engines/{id}")).await?;
                show::done(as_json, &json!({ "id": id, "removed": true }), &format!("{id} is removed"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::detect;
    use std::io::{Read, Write};

    /// An engine that answers one request like this.
    fn engine(answer: String) -> String {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                socket.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap().to_lowercase();
            assert!(head.starts_with("get /v1/models ") && head.contains("authorization: bearer key"), "{head}");
            let length = answer.len();
            write!(socket, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{answer}").unwrap();
        });
        url
    }

    #[tokio::test]
    async fn an_engine_is_asked_what_it_is() {
        for (owner, expect) in
            [("vllm", "vllm"), ("sglang", "sglang"), ("llamacpp", "llama-server"), ("hoheit", "openai")]
        {
            for path in ["", "/", "/v1", "/v1/"] {
                let url = engine(format!(r#"{{"data":[{{"id":"m","owned_by":"{owner}"}}]}}"#));
                assert_eq!(detect(&format!("{url}{path}"), Some("key".into())).await, expect, "{owner} {path}");
            }
        }
        assert_eq!(detect(&engine("<html>".into()), Some("key".into())).await, "openai");
        assert_eq!(detect("http://127.0.0.1:1", None).await, "openai");
        assert_eq!(detect("nonsense", None).await, "openai");
    }
}
