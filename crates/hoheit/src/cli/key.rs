//! `hoheit key`: API keys. The secret is printed once, by `create` and `rotate`, and nowhere else.

use super::Failure;
use super::client::Connection;
use super::show::{self, Column, field};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use types::{KeyId, MicroEur, ProjectId, UnixMillis};

#[derive(Debug, Args)]
pub struct Key {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    pub command: KeyCommand,
}

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  hoheit key create --project prj_… --budget-eur 1.00 --rpm 60
  hoheit key rotate key_… --grace-hours 24
  hoheit key revoke key_…")]
pub enum KeyCommand {
    /// Make a key; its secret is shown once.
    #[command(after_help = "\
Examples:
  hoheit key create --project prj_… --json
  hoheit key create --project prj_… --name ci --budget-eur 1.00 --rpm 60 --tpm 100000 --expires 2027-06-30T00:00:00Z")]
    Create {
        #[arg(long, value_name = "ID")]
        project: ProjectId,
        #[arg(long)]
        name: Option<String>,
        /// Euro per calendar month, besides the project's and the tenant's.
        #[arg(long, value_name = "AMOUNT")]
        budget_eur: Option<MicroEur>,
        /// Requests per minute.
        #[arg(long, value_name = "N")]
        rpm: Option<u32>,
        /// Tokens per minute.
        #[arg(long, value_name = "N")]
        tpm: Option<u64>,
        /// When it ends, with a time zone.
        #[arg(long, value_name = "TIME", value_parser = parse_time)]
        expires: Option<UnixMillis>,
    },
    /// List keys, without secrets.
    #[command(after_help = "Examples:\n  hoheit key list --project prj_…")]
    List {
        #[arg(long, value_name = "ID")]
        project: Option<ProjectId>,
    },
    /// Show a key, without its secret.
    #[command(after_help = "Examples:\n  hoheit key show key_…")]
    Show { id: KeyId },
    /// End a key at once and for good.
    #[command(after_help = "Examples:\n  hoheit key revoke key_…")]
    Revoke { id: KeyId },
    /// Make a new key in its place; the old one stays good for a while.
    #[command(after_help = "Examples:\n  hoheit key rotate key_… --grace-hours 24 --json")]
    Rotate {
        id: KeyId,
        /// How long the old key stays good.
        #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u32).range(0..=2208))]
        grace_hours: u32,
    },
}

/// Reads an RFC 3339 time.
pub fn parse_time(text: &str) -> Result<UnixMillis, String> {
    let time: Result<jiff::Timestamp, _> = text.parse();
    time.map(|time| UnixMillis(time.as_millisecond()))
        .map_err(|_| "write a time with its zone, for example 2027-06-30T00:00:00Z".to_owned())
}

const COLUMNS: &[Column] = &[
    field!("id"),
    field!("name"),
    field!("project"),
    field!("revoked"),
    field!("expires", "expires_at", show::time),
    field!("budget", "budget_micro_eur", show::euro),
];

fn shown(as_json: bool, key: &Value) -> Result<(), Failure> {
    let text = format!(
        "key {}\n{}\nIt is shown only now. Use it: export HOHEIT_API_KEY=…",
        show::text(&key["id"]),
        show::text(&key["key"])
    );
    show::done(as_json, key, &text)
}

impl Key {
    pub async fn run(self) -> Result<(), Failure> {
        let client = self.connection.control()?;
        let as_json = self.connection.json;
        match self.command {
            KeyCommand::Create { project, name, budget_eur, rpm, tpm, expires } => {
                let body = json!({
                    "project": project, "name": name, "budget_micro_eur": budget_eur, "requests_per_minute": rpm,
                    "tokens_per_minute": tpm, "expires_at": expires,
                });
                shown(as_json, &client.post("/api/v1/keys", &body).await?)
            }
            KeyCommand::List { project } => {
                let query = project.map(|project| format!("?project={project}")).unwrap_or_default();
                let keys = client.get(&format!("/api/v1/keys{query}")).await?;
                show::list(as_json, &keys, COLUMNS, "No keys. Make one: hoheit key create --project ID")
            }
            KeyCommand::Show { id } => show::one(as_json, &client.get(&format!("/api/v1/keys/{id}")).await?),
            KeyCommand::Revoke { id } => {
                let key = client.post(&format!("/api/v1/keys/{id}/revoke"), &json!({})).await?;
                show::done(as_json, &key, &format!("{id} is revoked"))
            }
            KeyCommand::Rotate { id, grace_hours } => {
                let body = json!({ "grace_secs": grace_hours * 3_600 });
                shown(as_json, &client.post(&format!("/api/v1/keys/{id}/rotate"), &body).await?)
            }
        }
    }
}
