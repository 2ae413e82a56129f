//! `hoheit order`: work on a machine, in tasks; the tasks themselves are `hoheit task`.

use super::Failure;
use super::client::Connection;
use super::machine::{over, progress};
use super::show::{self, Column, field};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use types::OrderId;

#[derive(Debug, Args)]
pub struct Order {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: OrderCommand,
}

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  hoheit order list --state held
  hoheit order show ord_…
  hoheit order resume ord_… --reason \"the right machine stands there now\"")]
enum OrderCommand {
    /// List orders, oldest first.
    #[command(after_help = "Examples:\n  hoheit order list\n  hoheit order list --state open --json")]
    List {
        /// Only in this state.
        #[arg(long, value_parser = ["open", "held", "done", "cancelled"])]
        state: Option<String>,
    },
    /// Show an order with its tasks.
    #[command(after_help = "Examples:\n  hoheit order show ord_…")]
    Show { id: OrderId },
    /// Let a held order go on; what failed is begun anew.
    #[command(after_help = "Examples:\n  hoheit order resume ord_… --reason \"the label was read wrongly\"")]
    Resume {
        id: OrderId,
        /// Why; kept in the audit log.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// End an order; its machine is held until somebody releases it.
    #[command(after_help = "Examples:\n  hoheit order cancel ord_… --reason \"delivered to the wrong hall\"")]
    Cancel {
        id: OrderId,
        /// Why; kept in the audit log.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

const COLUMNS: &[Column] =
    &[field!("id"), field!("kind"), field!("state"), field!("slot"), ("tasks", tasks), ("now", now)];

const TASKS: &[Column] = &[
    field!("id"),
    ("task", |task| format!("{} {}", show::text(&task["verb"]), show::text(&task["subject"]))),
    field!("state"),
    ("confirmed", confirmed),
    ("who", |task| show::text(&task["assignee"])),
    ("shown", shown),
    field!("note"),
];

fn tasks(order: &Value) -> String {
    let (done, tasks) = progress(order);
    format!("{done} of {tasks}")
}

/// The task at hand.
pub(super) fn at_hand(order: &Value) -> Option<&Value> {
    order["tasks"].as_array()?.iter().find(|task| !over(task))
}

/// What is to be done now, or why nothing is.
fn now(order: &Value) -> String {
    match (order["finding"].as_str(), at_hand(order)) {
        (Some(finding), _) => show::clean(finding),
        (None, Some(task)) => {
            let word = |name: &str| show::text(&task[name]);
            format!("{} {}: {}", word("verb"), word("subject"), word("state"))
        }
        (None, None) => "-".to_owned(),
    }
}

/// Of how many; a task that nobody must confirm says nothing.
pub(super) fn confirmed(task: &Value) -> String {
    match task["confirmations_min"].as_u64() {
        None | Some(0) => "-".to_owned(),
        Some(least) => format!("{} of {least}", task["confirmations"].as_u64().unwrap_or(0)),
    }
}

/// What was read and photographed.
fn shown(task: &Value) -> String {
    let evidence = task["evidence"].as_array().map_or(&[][..], Vec::as_slice);
    let all: Vec<String> =
        evidence.iter().map(|one| format!("{} {}", show::text(&one["kind"]), show::text(&one["value"]))).collect();
    if all.is_empty() { "-".to_owned() } else { all.join(", ") }
}

impl Order {
    pub async fn run(self) -> Result<(), Failure> {
        let client = self.connection.control()?;
        let as_json = self.connection.json;
        match self.command {
            OrderCommand::List { state } => {
                let filter = state.map(|state| format!("?state={state}")).unwrap_or_default();
                let orders = client.all(&format!("/api/v1/orders{filter}")).await?;
                show::list(as_json, &orders, COLUMNS, "No such orders. Machines make them: hoheit machine list")
            }
            OrderCommand::Show { id } => {
                let order = client.get(&format!("/api/v1/orders/{id}")).await?;
                if as_json {
                    return show::json(&order);
                }
                show::line(&page(&order))?;
                show::list(false, &json!({ "data": order["tasks"] }), TASKS, "It has no tasks.")
            }
            OrderCommand::Resume { id, reason } => {
                let order =
                    client.post(&format!("/api/v1/orders/{id}"), &json!({ "do": "resume", "reason": reason })).await?;
                show::done(as_json, &order, &format!("{id} goes on\nnow: {}", now(&order)))
            }
            OrderCommand::Cancel { id, reason } => {
                let order =
                    client.post(&format!("/api/v1/orders/{id}"), &json!({ "do": "cancel", "reason": reason })).await?;
                let next = format!("next: hoheit machine release {} --reason …", show::text(&order["slot"]));
                show::done(as_json, &order, &format!("{id} is cancelled; its machine is held\n{next}"))
            }
        }
    }
}

fn page(order: &Value) -> String {
    let word = |name: &str| show::text(&order[name]);
    let made = show::time(&order["made_at"]);
    let mut page = format!("{} {} of {} ({})\n", word("id"), word("kind"), word("slot"), word("machine"));
    page += &format!("{}, {} tasks, made {made}, serial {}", word("state"), tasks(order), word("serial"));
    if let Some(finding) = order["finding"].as_str() {
        page += &format!("\n{}: {}\n", word("state"), show::clean(finding));
        if order["state"] == "held" {
            page += &format!("what to do: look, then hoheit order resume {} --reason …", word("id"));
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_says_what_is_to_be_done_now() {
        let task = |state: &str| json!({ "verb": "scan", "subject": "chassis", "state": state });
        let check = |finding: Value, states: &[&str], expect: (&str, &str)| {
            let all: Vec<Value> = states.iter().map(|state| task(state)).collect();
            let order = json!({ "finding": finding, "tasks": all });
            assert_eq!((tasks(&order).as_str(), now(&order).as_str()), expect, "{states:?}");
        };
        check(Value::Null, &["done", "skipped", "ready", "waiting"], ("2 of 4", "scan chassis: ready"));
        check(Value::Null, &["done"], ("1 of 1", "-"));
        check(json!("scan: wanted A, scanned B"), &["failed"], ("0 of 1", "scan: wanted A, scanned B"));
        check(Value::Null, &[], ("0 of 0", "-"));
    }

    #[test]
    fn confirmations() {
        let check = |task: Value, expect: &str| assert_eq!(confirmed(&task), expect, "{task}");
        check(json!({ "confirmations": 1, "confirmations_min": 2 }), "1 of 2");
        check(json!({ "confirmations": 0, "confirmations_min": 0 }), "-");
    }
}
