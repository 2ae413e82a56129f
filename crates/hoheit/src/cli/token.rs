//! `hoheit token`: bearers of a role at the control API. The secret is printed once.

use super::Failure;
use super::client::Connection;
use super::key::parse_time;
use super::show::{self, Column, field};
use clap::{Args, Subcommand};
use serde_json::json;
use types::{TenantId, TokenId, UnixMillis};

#[derive(Debug, Args)]
pub struct Token {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    pub command: TokenCommand,
}

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  hoheit token create ops --role operator
  hoheit token create admin --role tenant_admin --tenant ten_…
  hoheit token revoke tok_…")]
pub enum TokenCommand {
    /// Make a token; its secret is shown once.
    #[command(
        after_help = "Examples:\n  hoheit token create audit --role auditor --tenant ten_… --expires 2027-01-01T00:00:00Z"
    )]
    Create {
        name: String,
        /// operator, tenant_admin, developer, auditor, finance, installer or partner.
        #[arg(long)]
        role: String,
        /// Binds it to a tenant: it sees nothing else.
        #[arg(long, value_name = "ID")]
        tenant: Option<TenantId>,
        /// When it ends, with a time zone.
        #[arg(long, value_name = "TIME", value_parser = parse_time)]
        expires: Option<UnixMillis>,
    },
    /// List tokens, without secrets.
    #[command(after_help = "Examples:\n  hoheit token list")]
    List,
    /// End a token at once and for good.
    #[command(after_help = "Examples:\n  hoheit token revoke tok_…")]
    Revoke { id: TokenId },
}

const COLUMNS: &[Column] = &[
    field!("id"),
    field!("name"),
    field!("role"),
    field!("tenant"),
    field!("revoked"),
    field!("expires", "expires_at", show::time),
];

impl Token {
    pub async fn run(self) -> Result<(), Failure> {
        let client = self.connection.control()?;
        let as_json = self.connection.json;
        match self.command {
            TokenCommand::Create { name, role, tenant, expires } => {
                let body = json!({ "name": name, "role": role, "tenant": tenant, "expires_at": expires });
                let token = client.post("/api/v1/tokens", &body).await?;
                let (id, secret) = (show::text(&token["id"]), show::text(&token["token"]));
                show::done(
                    as_json,
                    &token,
                    &format!("token {id}\n{secret}\nIt is shown only now. Use it: export HOHEIT_TOKEN=…"),
                )
            }
            TokenCommand::List => {
                show::list(as_json, &client.get("/api/v1/tokens").await?, COLUMNS, "No tokens besides the admin token.")
            }
            TokenCommand::Revoke { id } => {
                let token = client.post(&format!("/api/v1/tokens/{id}/revoke"), &json!({})).await?;
                show::done(as_json, &token, &format!("{id} is revoked"))
            }
        }
    }
}
