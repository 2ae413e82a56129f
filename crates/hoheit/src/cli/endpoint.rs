//! `hoheit endpoint`: models under one set of facts, which are what policy decides on.

use super::Failure;
use super::client::Connection;
use super::show::{self, Column, field};
use clap::{Args, Subcommand};
use serde_json::{Map, json};
use types::EndpointId;

#[derive(Debug, Args)]
pub struct Endpoint {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    pub command: EndpointCommand,
}

#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  hoheit endpoint list\n  hoheit endpoint update end_… --output-tokens-max 8192")]
pub enum EndpointCommand {
    /// List endpoints with their facts.
    #[command(after_help = "Examples:\n  hoheit endpoint list")]
    List,
    /// Show an endpoint.
    #[command(after_help = "Examples:\n  hoheit endpoint show end_…")]
    Show { id: EndpointId },
    /// Change what is known of its weights and lengths. Other facts are another endpoint.
    #[command(
        after_help = "Examples:\n  hoheit endpoint update end_… --context-length 131072 --output-tokens-max 8192"
    )]
    Update {
        id: EndpointId,
        /// sha256:<hex> of the weights.
        #[arg(long, value_name = "DIGEST")]
        weights: Option<String>,
        /// Tokens of prompt and answer together.
        #[arg(long, value_name = "N")]
        context_length: Option<u64>,
        /// Tokens an answer may have at most.
        #[arg(long, value_name = "N")]
        output_tokens_max: Option<u64>,
    },
}

const COLUMNS: &[Column] = &[
    field!("id"),
    field!("model"),
    field!("country"),
    field!("operator"),
    field!("provider"),
    field!("jurisdiction"),
    field!("retention"),
    field!("replicas"),
];

impl Endpoint {
    pub async fn run(self) -> Result<(), Failure> {
        let client = self.connection.control()?;
        let as_json = self.connection.json;
        match self.command {
            EndpointCommand::List => {
                let endpoints = client.get("/api/v1/endpoints").await?;
                show::list(as_json, &endpoints, COLUMNS, "No endpoints. Register an engine: hoheit engine add URL …")
            }
            EndpointCommand::Show { id } => show::one(as_json, &client.get(&format!("/api/v1/endpoints/{id}")).await?),
            EndpointCommand::Update { id, weights, context_length, output_tokens_max } => {
                let fields = [
                    ("weights", weights.map(|weights| json!(weights))),
                    ("context_length", context_length.map(|tokens| json!(tokens))),
                    ("output_tokens_max", output_tokens_max.map(|tokens| json!(tokens))),
                ];
                let body: Map<_, _> =
                    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
                if body.is_empty() {
                    return Err(Failure::usage("Nothing to change.").hint("see hoheit endpoint update --help"));
                }
                show::one(as_json, &client.patch(&format!("/api/v1/endpoints/{id}"), &body.into()).await?)
            }
        }
    }
}
