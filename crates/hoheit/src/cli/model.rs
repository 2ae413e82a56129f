//! `hoheit model`: the names that tenants ask for.

use super::Failure;
use super::client::Connection;
use super::show::{self, Column, field};
use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub struct Model {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    pub command: ModelCommand,
}

#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  hoheit model list\n  hoheit model list --json")]
pub enum ModelCommand {
    /// List models with the endpoints that offer them.
    #[command(after_help = "Examples:\n  hoheit model list")]
    List,
}

const COLUMNS: &[Column] = &[field!("name"), field!("replicas"), field!("endpoints")];

impl Model {
    pub async fn run(self) -> Result<(), Failure> {
        let models = self.connection.control()?.get("/api/v1/models").await?;
        let ModelCommand::List = self.command;
        let empty = "No models. Register an engine: hoheit engine add URL --model NAME …";
        show::list(self.connection.json, &models, COLUMNS, empty)
    }
}
