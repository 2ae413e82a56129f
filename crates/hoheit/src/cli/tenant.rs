//! `hoheit tenant`: customers.

use super::Failure;
use super::client::Connection;
use super::show::{self, Column, field};
use clap::{Args, Subcommand};
use serde_json::json;
use types::{MicroEur, TenantId};

#[derive(Debug, Args)]
pub struct Tenant {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    pub command: TenantCommand,
}

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  hoheit tenant create \"Muster GmbH\" --json
  hoheit tenant list")]
pub enum TenantCommand {
    /// Make a tenant.
    #[command(after_help = "Examples:\n  hoheit tenant create \"Muster GmbH\" --budget-eur 500.00 --json")]
    Create {
        name: String,
        /// Euro per calendar month; no limit if left out.
        #[arg(long, value_name = "AMOUNT")]
        budget_eur: Option<MicroEur>,
    },
    /// List tenants.
    #[command(after_help = "Examples:\n  hoheit tenant list\n  hoheit tenant list --json")]
    List,
    /// Show a tenant.
    #[command(after_help = "Examples:\n  hoheit tenant show ten_01kb4w2r3n8v5x0c9d7f6g4h2j")]
    Show { id: TenantId },
    /// Give a tenant another name.
    #[command(after_help = "Examples:\n  hoheit tenant rename ten_01kb4w2r3n8v5x0c9d7f6g4h2j \"Muster AG\"")]
    Rename { id: TenantId, name: String },
}

const COLUMNS: &[Column] = &[field!("id"), field!("name"), field!("budget", "budget_micro_eur", show::euro)];

impl Tenant {
    pub async fn run(self) -> Result<(), Failure> {
        let client = self.connection.control()?;
        let as_json = self.connection.json;
        match self.command {
            TenantCommand::Create { name, budget_eur } => {
                let body = json!({ "name": name, "budget_micro_eur": budget_eur });
                let tenant = client.post("/api/v1/tenants", &body).await?;
                let next = format!("next: hoheit project create NAME --tenant {}", show::text(&tenant["id"]));
                show::done(as_json, &tenant, &format!("tenant {}\n{next}", show::text(&tenant["id"])))
            }
            TenantCommand::List => {
                let tenants = client.get("/api/v1/tenants").await?;
                show::list(as_json, &tenants, COLUMNS, "No tenants yet. Make one: hoheit tenant create NAME")
            }
            TenantCommand::Show { id } => show::one(as_json, &client.get(&format!("/api/v1/tenants/{id}")).await?),
            TenantCommand::Rename { id, name } => {
                let tenant = client.patch(&format!("/api/v1/tenants/{id}"), &json!({ "name": name })).await?;
                show::one(as_json, &tenant)
            }
        }
    }
}
