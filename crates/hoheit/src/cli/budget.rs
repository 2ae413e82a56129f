//! `hoheit budget`: money per calendar month (UTC), at the tenant, the project or the key. The tightest one decides.

use super::Failure;
use super::client::Connection;
use super::show::{self, Column, field};
use clap::{ArgGroup, Args, Subcommand};
use serde_json::json;
use types::{KeyId, MicroEur, ProjectId, TenantId};

#[derive(Debug, Args)]
pub struct Budget {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    pub command: BudgetCommand,
}

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  hoheit budget show --tenant ten_…
  hoheit budget set --project prj_… 5.00
  hoheit budget set --key key_… none")]
pub enum BudgetCommand {
    /// Limits of this month and what is left of them.
    #[command(after_help = "Examples:\n  hoheit budget show\n  hoheit budget show --tenant ten_… --json")]
    Show {
        #[arg(long, value_name = "ID")]
        tenant: Option<TenantId>,
    },
    /// Set or take away a limit.
    #[command(after_help = "Examples:\n  hoheit budget set --tenant ten_… 500\n  hoheit budget set --key key_… none")]
    #[command(group = ArgGroup::new("level").required(true))]
    Set {
        #[arg(long, value_name = "ID", group = "level")]
        tenant: Option<TenantId>,
        #[arg(long, value_name = "ID", group = "level")]
        project: Option<ProjectId>,
        #[arg(long, value_name = "ID", group = "level")]
        key: Option<KeyId>,
        /// Euro per calendar month, or none.
        #[arg(value_name = "AMOUNT|none", value_parser = parse_limit)]
        amount: Limit,
    },
}

/// A limit, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit(pub Option<MicroEur>);

fn parse_limit(text: &str) -> Result<Limit, String> {
    match text {
        "none" => Ok(Limit(None)),
        amount => amount
            .parse()
            .map(|amount| Limit(Some(amount)))
            .map_err(|error: types::money::AmountError| error.to_string()),
    }
}

const COLUMNS: &[Column] = &[
    field!("level"),
    field!("id"),
    field!("name"),
    field!("month"),
    field!("limit", "limit_micro_eur", show::euro),
    field!("spent", "spent_micro_eur", show::euro),
    field!("left", "left_micro_eur", show::euro),
];

impl Budget {
    pub async fn run(self) -> Result<(), Failure> {
        let client = self.connection.control()?;
        let as_json = self.connection.json;
        match self.command {
            BudgetCommand::Show { tenant } => {
                let query = tenant.map(|tenant| format!("?tenant={tenant}")).unwrap_or_default();
                let budgets = client.get(&format!("/api/v1/budgets{query}")).await?;
                show::list(as_json, &budgets, COLUMNS, "Nobody here who could spend anything.")
            }
            BudgetCommand::Set { tenant, project, key, amount } => {
                let path = match (tenant, project, key) {
                    (Some(id), _, _) => format!("/api/v1/tenants/{id}"),
                    (_, Some(id), _) => format!("/api/v1/projects/{id}"),
                    (_, _, Some(id)) => format!("/api/v1/keys/{id}"),
                    _ => return Err(Failure::usage("Say whose budget: --tenant, --project or --key.")),
                };
                let changed = client.patch(&path, &json!({ "budget_micro_eur": amount.0 })).await?;
                let text =
                    format!("{}: {} a month", show::text(&changed["id"]), show::euro(&changed["budget_micro_eur"]));
                show::done(as_json, &changed, &text)
            }
        }
    }
}
