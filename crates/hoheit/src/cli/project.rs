//! `hoheit project`: parts of a tenant.

use super::Failure;
use super::client::Connection;
use super::show::{self, Column, field};
use clap::{Args, Subcommand};
use serde_json::{Map, json};
use types::{Country, DataClass, MicroEur, ProjectId, TenantId};

#[derive(Debug, Args)]
pub struct Project {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    pub command: ProjectCommand,
}

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  hoheit project create support --tenant ten_… --class confidential --country DE --budget-eur 5.00
  hoheit project list --tenant ten_…")]
pub enum ProjectCommand {
    /// Make a project.
    #[command(after_help = "\
Examples:
  hoheit project create support --tenant ten_… --json
  hoheit project create mandate --tenant ten_… --class secret --country DE --budget-eur 5.00 --json")]
    Create {
        name: String,
        #[arg(long, value_name = "ID")]
        tenant: TenantId,
        /// public, internal, confidential or secret: default and floor of its requests.
        #[arg(long, default_value = "internal")]
        class: DataClass,
        /// Euro per calendar month; no limit if left out.
        #[arg(long, value_name = "AMOUNT")]
        budget_eur: Option<MicroEur>,
        /// Only engines in this country, without fallback.
        #[arg(long)]
        country: Option<Country>,
        /// Requests per minute.
        #[arg(long, value_name = "N")]
        rpm: Option<u32>,
        /// Tokens per minute.
        #[arg(long, value_name = "N")]
        tpm: Option<u64>,
    },
    /// List projects.
    #[command(after_help = "Examples:\n  hoheit project list --tenant ten_…")]
    List {
        #[arg(long, value_name = "ID")]
        tenant: Option<TenantId>,
    },
    /// Show a project.
    #[command(after_help = "Examples:\n  hoheit project show prj_…")]
    Show { id: ProjectId },
    /// Change a project.
    #[command(after_help = "Examples:\n  hoheit project update prj_… --class secret --country DE")]
    Update {
        id: ProjectId,
        #[arg(long)]
        name: Option<String>,
        #[arg(long)]
        class: Option<DataClass>,
        #[arg(long, conflicts_with = "any_country")]
        country: Option<Country>,
        /// Take the country away: any that policy permits.
        #[arg(long)]
        any_country: bool,
        #[arg(long, value_name = "N")]
        rpm: Option<u32>,
        #[arg(long, value_name = "N")]
        tpm: Option<u64>,
    },
}

const COLUMNS: &[Column] = &[
    field!("id"),
    field!("name"),
    field!("tenant"),
    field!("class"),
    field!("country"),
    field!("budget", "budget_micro_eur", show::euro),
    field!("closed", "closed_at", show::time),
];

impl Project {
    pub async fn run(self) -> Result<(), Failure> {
        let client = self.connection.control()?;
        let as_json = self.connection.json;
        match self.command {
            ProjectCommand::Create { name, tenant, class, budget_eur, country, rpm, tpm } => {
                let body = json!({
                    "name": name, "tenant": tenant, "class": class, "country": country, "budget_micro_eur": budget_eur,
                    "requests_per_minute": rpm, "tokens_per_minute": tpm,
                });
                let project = client.post("/api/v1/projects", &body).await?;
                let id = show::text(&project["id"]);
                show::done(as_json, &project, &format!("project {id}\nnext: hoheit key create --project {id}"))
            }
            ProjectCommand::List { tenant } => {
                let query = tenant.map(|tenant| format!("?tenant={tenant}")).unwrap_or_default();
                let projects = client.get(&format!("/api/v1/projects{query}")).await?;
                show::list(as_json, &projects, COLUMNS, "No projects. Make one: hoheit project create NAME --tenant ID")
            }
            ProjectCommand::Show { id } => show::one(as_json, &client.get(&format!("/api/v1/projects/{id}")).await?),
            ProjectCommand::Update { id, name, class, country, any_country, rpm, tpm } => {
                let fields = [
                    ("name", name.map(|name| json!(name))),
                    ("class", class.map(|class| json!(class))),
                    ("country", country.map(|country| json!(country)).or(any_country.then(|| json!(null)))),
                    ("requests_per_minute", rpm.map(|rpm| json!(rpm))),
                    ("tokens_per_minute", tpm.map(|tpm| json!(tpm))),
                ];
                let body: Map<_, _> =
                    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
                if body.is_empty() {
                    return Err(Failure::usage("Nothing to change.").hint("see hoheit project update --help"));
                }
                show::one(as_json, &client.patch(&format!("/api/v1/projects/{id}"), &body.into()).await?)
            }
        }
    }
}
