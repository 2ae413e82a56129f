//! `hoheit price`: the price book. Setting one price writes the whole next book; a book is never changed.

use super::Failure;
use super::client::Connection;
use super::show::{self, Column, field};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use types::MicroEur;

#[derive(Debug, Args)]
pub struct Price {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    pub command: PriceCommand,
}

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  hoheit price show
  hoheit price set qwen3-32b --input-eur 0.50 --cached-input-eur 0.10 --output-eur 1.50
  hoheit price set '*' --input-eur 1 --output-eur 3")]
pub enum PriceCommand {
    /// Show the price book in force.
    #[command(after_help = "Examples:\n  hoheit price show --json")]
    Show,
    /// Set a model's price, in euro per million tokens.
    #[command(after_help = "Examples:\n  hoheit price set qwen3-32b --input-eur 0.50 --output-eur 1.50")]
    Set {
        /// The model; * is the price of all that have none of their own.
        model: String,
        #[arg(long, value_name = "AMOUNT")]
        input_eur: MicroEur,
        /// For prompt tokens that the engine had cached; the input price if left out.
        #[arg(long, value_name = "AMOUNT")]
        cached_input_eur: Option<MicroEur>,
        #[arg(long, value_name = "AMOUNT")]
        output_eur: MicroEur,
    },
    /// Take a model's own price away; * applies then.
    #[command(after_help = "Examples:\n  hoheit price remove qwen3-32b")]
    Remove { model: String },
}

const COLUMNS: &[Column] = &[
    field!("model"),
    field!("input", "input_micro_eur", show::euro),
    field!("cached input", "cached_input_micro_eur", show::euro),
    field!("output", "output_micro_eur", show::euro),
];

fn print(as_json: bool, book: &Value) -> Result<(), Failure> {
    if as_json {
        return show::json(book);
    }
    show::line(&format!("version {}, {} (per million tokens)", book["version"], show::text(&book["digest"])))?;
    show::list(false, &json!({ "data": book["prices"] }), COLUMNS, "No prices: everything is free.")
}

impl Price {
    pub async fn run(self) -> Result<(), Failure> {
        let client = self.connection.control()?;
        let as_json = self.connection.json;
        let book = client.get("/api/v1/prices").await?;
        let (model, price) = match self.command {
            PriceCommand::Show => return print(as_json, &book),
            PriceCommand::Set { model, input_eur, cached_input_eur, output_eur } => {
                let price = json!({
                    "model": model, "input_micro_eur": input_eur, "output_micro_eur": output_eur,
                    "cached_input_micro_eur": cached_input_eur.unwrap_or(input_eur),
                });
                (model, Some(price))
            }
            PriceCommand::Remove { model } => (model, None),
        };
        let mut prices: Vec<Value> = book["prices"].as_array().cloned().unwrap_or_default();
        let before = prices.len();
        prices.retain(|price| price["model"] != model.as_str());
        if price.is_none() && prices.len() == before {
            return Err(Failure::failed(format!("{model} has no price of its own.")).hint("see hoheit price show"));
        }
        prices.extend(price);
        let next = json!({ "follows": book["version"], "prices": prices });
        print(as_json, &client.put("/api/v1/prices", &next).await?)
    }
}
