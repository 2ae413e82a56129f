//! `hoheit broker`: platforms that order through the Open Service Broker, and their orders. The password is printed once.

use super::Failure;
use super::client::Connection;
use super::show::{self, Column, field};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use types::{BrokerId, MicroEur, OperationId};

#[derive(Debug, Args)]
pub struct Broker {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: BrokerCommand,
}

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  hoheit broker register btp --subaccount 6a1d… --signature required --signature-key info.key
  hoheit broker operations
  hoheit broker fulfil op_… --reason \"h1/r01 is theirs\"")]
enum BrokerCommand {
    /// Register a platform; its password is shown once.
    #[command(after_help = "\
Examples:
  hoheit broker register btp --subaccount 6a1d… --tenant-budget-eur 500.00 --signature required --signature-key info.key
  hoheit broker register cf --any-subaccount --tenant-key organization_guid --plan inference-shared --signature off
  hoheit broker register btp --subaccount 6a1d… --signature required --signature-key info.key \\
      --certificate-subject CN=service-manager,O=SAP,C=DE")]
    Register(Register),
    /// List platforms, without passwords.
    #[command(after_help = "Examples:\n  hoheit broker list")]
    List,
    /// Change what a platform may order, or the keys that sign its contexts.
    #[command(after_help = "\
Examples:
  hoheit broker update brk_… --successor-key next.key        before the platform changes its key
  hoheit broker update brk_… --signature-key next.key        after it has
  hoheit broker update brk_… --subaccount 6a1d… --subaccount 77f0…")]
    Update(Update),
    /// Make a new password; the old one ends at once.
    #[command(after_help = "Examples:\n  hoheit broker rotate brk_…")]
    Rotate { id: BrokerId },
    /// End a registration at once and for good; what it ordered stays until its keys are revoked.
    #[command(after_help = "Examples:\n  hoheit broker remove brk_…")]
    Remove { id: BrokerId },
    /// What a platform ordered, with the projects that it became.
    #[command(after_help = "Examples:\n  hoheit broker instances brk_…")]
    Instances { id: BrokerId },
    /// Orders that wait for you.
    #[command(after_help = "Examples:\n  hoheit broker operations")]
    Operations,
    /// The ordered capacity is there: the customer's order ends well.
    #[command(after_help = "Examples:\n  hoheit broker fulfil op_… --reason \"h1/r01 is theirs\"")]
    Fulfil {
        id: OperationId,
        /// What it is fulfilled with; kept in the audit log.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// The ordered capacity will not be there.
    #[command(after_help = "Examples:\n  hoheit broker refuse op_… --reason \"no H100 before March\"")]
    Refuse {
        id: OperationId,
        /// Why; the customer reads it.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

#[derive(Debug, Args)]
struct Register {
    name: String,
    /// A customer that it orders for; once for each.
    #[arg(long, value_name = "ID", required_unless_present = "any_subaccount", conflicts_with = "any_subaccount")]
    subaccount: Vec<String>,
    /// It orders for whomever it names.
    #[arg(long)]
    any_subaccount: bool,
    /// The member of a context that names the customer: subaccount_id, organization_guid, or as the platform is configured.
    #[arg(long, value_name = "NAME")]
    tenant_key: Option<String>,
    /// Whether contexts must be signed by the platform.
    #[arg(long, value_name = "off|required", value_parser = ["off", "required"])]
    signature: String,
    #[command(flatten)]
    rules: Rules,
}

#[derive(Debug, Args)]
struct Update {
    id: BrokerId,
    /// The customers that it orders for from now on; once for each.
    #[arg(long, value_name = "ID", conflicts_with = "any_subaccount")]
    subaccount: Vec<String>,
    /// It orders for whomever it names.
    #[arg(long)]
    any_subaccount: bool,
    /// Whether contexts must be signed by the platform.
    #[arg(long, value_name = "off|required", value_parser = ["off", "required"])]
    signature: Option<String>,
    #[command(flatten)]
    rules: Rules,
}

/// What can be said when a platform is registered, and when that is changed.
#[derive(Debug, Args)]
struct Rules {
    /// A plan that it may order; once for each. Never said, it is all of them.
    #[arg(long, value_name = "PLAN", value_parser = ["inference-shared", "inference-dedicated", "grounded-answers"])]
    plan: Vec<String>,
    /// How many customers it may bring; never said, 100.
    #[arg(long, value_name = "N")]
    tenants_max: Option<u32>,
    /// How many instances it may have; never said, 100.
    #[arg(long, value_name = "N")]
    instances_max: Option<u32>,
    /// The monthly budget of each customer that it brings from now on.
    #[arg(long, value_name = "EUR")]
    tenant_budget_eur: Option<MicroEur>,
    /// A file with context_rsa_public_key of the platform's /v1/info, or PEM.
    #[arg(long, value_name = "FILE")]
    signature_key: Option<PathBuf>,
    /// A file with context_successor_rsa_public_key, the key that follows it.
    #[arg(long, value_name = "FILE")]
    successor_key: Option<PathBuf>,
    /// The subject of its client certificate, instead of a password (`hoheit up --broker-certificate-header`).
    #[arg(long, value_name = "SUBJECT")]
    certificate_subject: Option<String>,
}

impl Rules {
    /// As the control API names them.
    fn members(self) -> Result<[(&'static str, Value); 7], Failure> {
        Ok([
            ("plans", list(self.plan)),
            ("tenants_max", json!(self.tenants_max)),
            ("instances_max", json!(self.instances_max)),
            ("tenant_budget_micro_eur", json!(self.tenant_budget_eur)),
            ("signature_key", json!(key(self.signature_key.as_deref())?)),
            ("signature_successor_key", json!(key(self.successor_key.as_deref())?)),
            ("certificate_subject", json!(self.certificate_subject)),
        ])
    }
}

const COLUMNS: &[Column] = &[
    field!("id"),
    field!("name"),
    field!("plans"),
    ("customers", |row| if row["subaccounts"].is_null() { "any".to_owned() } else { show::text(&row["subaccounts"]) }),
    field!("signature"),
    ("proof", |row| if row["certificate_subject"].is_null() { "password" } else { "certificate" }.to_owned()),
    field!("removed"),
];

const INSTANCES: &[Column] = &[
    field!("id"),
    field!("name"),
    field!("plan"),
    field!("state"),
    field!("customer", "subaccount"),
    field!("tenant"),
    field!("project"),
    field!("operation"),
];

const OPERATIONS: &[Column] = &[
    field!("id"),
    field!("kind"),
    field!("plan"),
    ("ordered", |row| show::text(&row["parameters"])),
    field!("customer", "subaccount"),
    field!("name"),
    field!("since", "ordered_at", show::time),
    field!("until", "ends_at", show::time),
];

fn key(path: Option<&Path>) -> Result<Option<String>, Failure> {
    let read = |path: &Path| {
        std::fs::read_to_string(path)
            .map_err(|error| Failure::failed(format!("{} could not be read: {error}", path.display())))
    };
    path.map(read).transpose()
}

/// Only what was said.
fn said(members: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    Value::Object(
        members
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.to_owned(), value))
            .collect::<Map<_, _>>(),
    )
}

fn list(values: Vec<String>) -> Value {
    if values.is_empty() { Value::Null } else { json!(values) }
}

/// What goes to the platform's administrator.
fn secret(as_json: bool, made: &Value) -> Result<(), Failure> {
    let of = |name: &str| show::text(&made[name]);
    let proof = if made["password"].is_null() {
        "It proves itself by its certificate.".to_owned()
    } else {
        format!("password  {}\nThe password is shown only now.", of("password"))
    };
    show::done(
        as_json,
        made,
        &format!("registration {}\nurl       {}\nuser      {}\n{proof}", of("id"), of("url"), of("username")),
    )
}

impl Broker {
    pub async fn run(self) -> Result<(), Failure> {
        let client = self.connection.control()?;
        let as_json = self.connection.json;
        let decide = async |id: OperationId, verb: &str, reason: String| {
            let body = json!({ "do": verb, "reason": reason });
            let instance = client.post(&format!("/api/v1/operations/{id}"), &body).await?;
            show::done(
                as_json,
                &instance,
                &format!("instance {} is {}", show::text(&instance["id"]), show::text(&instance["state"])),
            )
        };
        match self.command {
            BrokerCommand::Register(new) => {
                let own = [
                    ("name", json!(new.name)),
                    ("subaccounts", list(new.subaccount)),
                    ("tenant_key", json!(new.tenant_key)),
                    ("signature", json!(new.signature)),
                ];
                let body = said(own.into_iter().chain(new.rules.members()?));
                secret(as_json, &client.post("/api/v1/brokers", &body).await?)
            }
            BrokerCommand::List => {
                show::list(as_json, &client.get("/api/v1/brokers").await?, COLUMNS, "No platforms are registered.")
            }
            BrokerCommand::Update(to) => {
                let own = [("subaccounts", list(to.subaccount)), ("signature", json!(to.signature))];
                let mut body = said(own.into_iter().chain(to.rules.members()?));
                if to.any_subaccount {
                    body["subaccounts"] = Value::Null;
                }
                show::one(as_json, &client.patch(&format!("/api/v1/brokers/{}", to.id), &body).await?)
            }
            BrokerCommand::Rotate { id } => {
                secret(as_json, &client.post(&format!("/api/v1/brokers/{id}/rotate"), &json!({})).await?)
            }
            BrokerCommand::Remove { id } => {
                let removed = client.delete(&format!("/api/v1/brokers/{id}")).await?;
                show::done(as_json, &removed, &format!("{id} is removed"))
            }
            BrokerCommand::Instances { id } => {
                let rows = client.all(&format!("/api/v1/brokers/{id}/instances")).await?;
                show::list(as_json, &rows, INSTANCES, "It ordered nothing.")
            }
            BrokerCommand::Operations => {
                show::list(as_json, &client.get("/api/v1/operations").await?, OPERATIONS, "No order waits.")
            }
            BrokerCommand::Fulfil { id, reason } => decide(id, "fulfil", reason).await,
            BrokerCommand::Refuse { id, reason } => decide(id, "refuse", reason).await,
        }
    }
}
