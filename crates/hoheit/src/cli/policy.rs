//! `hoheit policy`: rules, and the answer to "which endpoints may serve this, and why not the others".

use super::Failure;
use super::client::Connection;
use super::show::{self, Column, field};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::io::Read;
use std::path::PathBuf;
use types::{DataClass, KeyId, ProjectId, RuleId, TenantId};

#[derive(Debug, Args)]
pub struct Policy {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    pub command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  hoheit policy explain --key key_… --class secret
  hoheit policy rules list
  hoheit policy rules add no-us --tenant ten_… --file no-us.cedar")]
pub enum PolicyCommand {
    /// Which endpoints may serve a key or project, and why not the others.
    #[command(after_help = "\
Examples:
  hoheit policy explain --key key_… --class secret
  hoheit policy explain --project prj_… --class confidential --model qwen3-32b --json")]
    Explain {
        /// A key's id; a whole hk_… key is taken too, its secret stays here.
        #[arg(long, value_name = "KEY", value_parser = parse_key, required_unless_present = "project", conflicts_with = "project")]
        key: Option<KeyId>,
        #[arg(long, value_name = "ID")]
        project: Option<ProjectId>,
        /// public, internal, confidential or secret; the project's if left out.
        #[arg(long)]
        class: Option<DataClass>,
        /// Only endpoints of this model.
        #[arg(long)]
        model: Option<String>,
    },
    /// The rules themselves.
    #[command(subcommand)]
    Rules(RulesCommand),
}

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  hoheit policy rules list
  hoheit policy rules add no-us --tenant ten_… --file no-us.cedar
  hoheit policy rules remove rul_…")]
pub enum RulesCommand {
    /// Add a rule. The operator's may permit; a tenant's only forbid.
    #[command(after_help = "\
Examples:
  hoheit policy rules add no-us --tenant ten_… --file no-us.cedar
  echo 'forbid (principal, action, resource) when { resource.country == \"US\" };' \\
      | hoheit policy rules add no-us --tenant ten_… --file -")]
    Add {
        /// What receipts and `policy explain` show.
        name: String,
        /// Cedar; - reads it from standard input.
        #[arg(long)]
        file: PathBuf,
        /// Whose rule it is; the operator's if left out.
        #[arg(long, value_name = "ID")]
        tenant: Option<TenantId>,
    },
    /// List rules: shipped ones, the operator's, and the tenants' that you may see.
    #[command(after_help = "Examples:\n  hoheit policy rules list --tenant ten_…")]
    List {
        #[arg(long, value_name = "ID")]
        tenant: Option<TenantId>,
    },
    /// Remove a rule.
    #[command(after_help = "Examples:\n  hoheit policy rules remove rul_…")]
    Remove { id: RuleId },
}

/// Takes `key_…` or the id out of a whole `hk_<id>_<secret>`.
fn parse_key(text: &str) -> Result<KeyId, String> {
    let parsed = match text.strip_prefix("hk_").and_then(|rest| rest.split_once('_')) {
        Some((digits, _)) => KeyId::from_digits(digits),
        None => text.parse(),
    };
    parsed.map_err(|error| error.to_string())
}

fn verdict(row: &Value) -> String {
    if row["permit"] == true { "permit".to_owned() } else { "refuse".to_owned() }
}

fn rules(row: &Value) -> String {
    match row["rules"].as_array() {
        Some(rules) if rules.is_empty() => "no rule permits it".to_owned(),
        _ => show::text(&row["rules"]),
    }
}

const EXPLAINED: &[Column] = &[
    ("", verdict),
    field!("endpoint"),
    field!("model"),
    field!("country"),
    field!("provider"),
    field!("jurisdiction"),
    field!("retention"),
    ("because of", rules),
];

const RULES: &[Column] = &[field!("id"), field!("name"), ("owner", owner), field!("text")];

fn owner(rule: &Value) -> String {
    match (rule["id"].is_null(), rule["tenant"].is_null()) {
        (true, _) => "ships with Hoheit".to_owned(),
        (_, true) => "operator".to_owned(),
        _ => show::text(&rule["tenant"]),
    }
}

impl Policy {
    pub async fn run(self) -> Result<(), Failure> {
        let client = self.connection.control()?;
        let as_json = self.connection.json;
        match self.command {
            PolicyCommand::Explain { key, project, class, model } => {
                let body = json!({ "key": key, "project": project, "class": class, "model": model });
                let answer = client.post("/api/v1/policy/explain", &body).await?;
                if as_json {
                    return show::json(&answer);
                }
                let country =
                    if answer["country"].is_null() { "any" } else { answer["country"].as_str().unwrap_or("any") };
                show::line(&format!(
                    "data class {}, country {country}, rules {}",
                    show::text(&answer["class"]),
                    show::text(&answer["policy"])
                ))?;
                show::list(false, &json!({ "data": answer["endpoints"] }), EXPLAINED, "No endpoints yet.")
            }
            PolicyCommand::Rules(RulesCommand::Add { name, file, tenant }) => {
                let body = json!({ "name": name, "text": read(&file)?, "tenant": tenant });
                let rule = client.post("/api/v1/rules", &body).await?;
                show::done(as_json, &rule, &format!("rule {}", show::text(&rule["id"])))
            }
            PolicyCommand::Rules(RulesCommand::List { tenant }) => {
                let query = tenant.map(|tenant| format!("?tenant={tenant}")).unwrap_or_default();
                let rules = client.get(&format!("/api/v1/rules{query}")).await?;
                show::list(as_json, &rules, RULES, "No rules.")
            }
            PolicyCommand::Rules(RulesCommand::Remove { id }) => {
                client.delete(&format!("/api/v1/rules/{id}")).await?;
                show::done(as_json, &json!({ "id": id, "removed": true }), &format!("{id} is removed"))
            }
        }
    }
}

fn read(file: &std::path::Path) -> Result<String, Failure> {
    let mut text = String::new();
    let result = if file.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text).map(|_| ())
    } else {
        std::fs::read_to_string(file).map(|read| text = read)
    };
    match result {
        Ok(()) => Ok(text),
        Err(error) => Err(Failure::failed(format!("{} could not be read: {error}", file.display()))),
    }
}
