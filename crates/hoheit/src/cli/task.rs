//! `hoheit task`: work of people, one step at a time: confirm at a hold point, take, start, done, fail, skip.
//!
//! What shows that it was done stays with whoever did it: a photograph is hashed here, and only its hash goes to the site.

use super::Failure;
use super::client::{Client, Connection};
use super::machine::find;
use super::order::{at_hand, confirmed};
use super::show::{self, Column, field};
use aws_lc_rs::digest;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::io::Read;
use std::path::{Path, PathBuf};
use types::TaskId;

/// How much of a file is hashed at once; a photograph is never in memory whole.
const HASHED_BYTES: usize = 64 << 10;

#[derive(Debug, Args)]
pub struct Task {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: TaskCommand,
}

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  hoheit task list
  hoheit task start tsk_…
  hoheit task done tsk_… --scan 1663522000017
  hoheit task done h1/r01/k01/u01 --photo front.jpg     the task at hand in this slot
  hoheit task confirm tsk_…                             two people, each with their own HOHEIT_TOKEN")]
enum TaskCommand {
    /// List what can be worked on, oldest order first; of each order the next task.
    #[command(after_help = "Examples:\n  hoheit task list\n  hoheit task list --state held")]
    List {
        /// Only in this state.
        #[arg(long, value_parser = ["held", "ready", "assigned", "running", "failed"])]
        state: Option<String>,
    },
    /// Stand at the hold point and say so. The same person twice counts once.
    #[command(after_help = "Examples:\n  HOHEIT_TOKEN=ht_… hoheit task confirm tsk_…")]
    Confirm(Which),
    /// Take it, also from a robot that has not begun.
    #[command(after_help = "Examples:\n  hoheit task take tsk_…")]
    Take(Which),
    /// Begin.
    #[command(after_help = "Examples:\n  hoheit task start tsk_…\n  hoheit task start h1/r01/k01/u01")]
    Start(Which),
    /// It is done, and this shows it.
    #[command(after_help = "\
Examples:
  hoheit task done tsk_… --scan 1663522000017
  hoheit task done tsk_… --photo front.jpg --photo back.jpg
  hoheit task done tsk_… --torque 5.1
  hoheit task done tsk_… --label cab-0017

A photograph stays here; the site gets its name and its SHA-256. Keep the file: the certificate of the machine names its hash.
Exit code 1 if what is shown does not fit (another serial number, a wrong torque): nobody goes on before a person has looked.")]
    Done {
        #[command(flatten)]
        which: Which,
        /// The serial number as read.
        #[arg(long, value_name = "SERIAL")]
        scan: Option<String>,
        /// A photograph; may be given several times.
        #[arg(long, value_name = "FILE")]
        photo: Vec<PathBuf>,
        /// What the wrench said, in newton metres.
        #[arg(long, value_name = "NM")]
        torque: Option<String>,
        /// The label of the cable.
        #[arg(long, value_name = "ID")]
        label: Option<String>,
    },
    /// It does not work.
    #[command(after_help = "\
Examples:
  hoheit task fail tsk_… --reason \"the lift is broken\" --retry
  hoheit task fail tsk_… --reason \"the rails are bent\"        the order is held until somebody resumes it")]
    Fail {
        #[command(flatten)]
        which: Which,
        /// What happened.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// It may be tried again, by anybody.
        #[arg(long)]
        retry: bool,
    },
    /// Leave it out. Never possible for a scan.
    #[command(after_help = "Examples:\n  hoheit task skip tsk_… --reason \"cabled by the vendor\"")]
    Skip {
        #[command(flatten)]
        which: Which,
        /// Why; kept in the audit log.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

#[derive(Debug, Args)]
struct Which {
    /// tsk_…, or a slot: the task at hand there.
    #[arg(value_name = "TASK|SLOT")]
    task: String,
}

const COLUMNS: &[Column] = &[
    field!("id"),
    field!("slot"),
    ("task", what),
    field!("state"),
    ("confirmed", confirmed),
    ("who", |task| show::text(&task["assignee"])),
    ("next", next),
];

fn what(task: &Value) -> String {
    format!("{} {}", show::text(&task["verb"]), show::text(&task["subject"]))
}

/// What a person can do with it.
fn next(task: &Value) -> String {
    match task["state"].as_str() {
        Some("held") => "confirm",
        Some("ready" | "assigned") => "start",
        Some("running") => match task["verb"].as_str() {
            Some("scan" | "swap") => "done --scan SERIAL",
            Some("photograph") => "done --photo FILE",
            Some("torque") => "done --torque NM",
            Some("cable") => "done --label ID",
            _ => "done",
        },
        Some("failed") => "order resume",
        _ => "-",
    }
    .to_owned()
}

impl Task {
    pub async fn run(self) -> Result<(), Failure> {
        let client = self.connection.control()?;
        let as_json = self.connection.json;
        let (which, body) = match self.command {
            TaskCommand::List { state } => {
                let filter = state.map(|state| format!("?state={state}")).unwrap_or_default();
                let tasks = client.all(&format!("/api/v1/tasks{filter}")).await?;
                return show::list(
                    as_json,
                    &tasks,
                    COLUMNS,
                    "Nothing to do. Held orders: hoheit order list --state held",
                );
            }
            TaskCommand::Confirm(which) => (which, json!({ "do": "confirm" })),
            TaskCommand::Take(which) => (which, json!({ "do": "take" })),
            TaskCommand::Start(which) => (which, json!({ "do": "start" })),
            TaskCommand::Fail { which, reason, retry } => {
                (which, json!({ "do": "fail", "why": reason, "retriable": retry }))
            }
            TaskCommand::Skip { which, reason } => (which, json!({ "do": "skip", "reason": reason })),
            TaskCommand::Done { which, scan, photo, torque, label } => {
                let read = [("scan", scan), ("torque", torque), ("label", label)].into_iter();
                let mut evidence: Vec<Value> =
                    read.filter_map(|(kind, value)| Some(json!({ "kind": kind, "value": value?.trim() }))).collect();
                for file in &photo {
                    let (name, sha256) = hashed(file)?;
                    evidence.push(json!({ "kind": "photo", "value": name, "sha256": sha256 }));
                }
                (which, json!({ "do": "done", "evidence": evidence }))
            }
        };
        let id = task_of(&client, &which.task).await?;
        let order = client.post(&format!("/api/v1/tasks/{id}"), &body).await?;
        show::done(as_json, &order, &said(&order, id))?;
        verdict(&order, id, body["do"] == "done")
    }
}

/// The id as it is, or the task at hand in a slot.
async fn task_of(client: &Client, which: &str) -> Result<TaskId, Failure> {
    if let Ok(id) = which.parse() {
        return Ok(id);
    }
    let machine = client.get(&format!("/api/v1/machines/{}", find(client, which).await?)).await?;
    let live = |order: &&Value| matches!(order["state"].as_str(), Some("open" | "held"));
    let order = machine["orders"].as_array().into_iter().flatten().find(live);
    let id = order.and_then(at_hand).and_then(|task| task["id"].as_str()?.parse().ok());
    id.ok_or_else(|| {
        Failure::failed(format!("No order is at work in {}.", show::clean(which)))
            .hint(format!("see what it waits for: hoheit machine show {}", show::clean(which)))
    })
}

fn task_in(order: &Value, id: TaskId) -> Option<&Value> {
    order["tasks"].as_array()?.iter().find(|task| task["id"] == *id.to_string())
}

/// What became of the task, and what comes next in its order.
fn said(order: &Value, id: TaskId) -> String {
    let Some(task) = task_in(order, id) else { return "done".to_owned() };
    let confirmations = confirmed(task);
    let mut text = format!("{} is {}", what(task), show::text(&task["state"]));
    if task["state"] == "held" {
        text += &format!(": {confirmations} confirmed");
    }
    match at_hand(order).filter(|_| order["state"] == "open") {
        Some(task) => {
            let (id, slot) = (show::text(&task["id"]), show::text(&task["slot"]));
            text + &format!("\nnext: {} in {slot}: hoheit task {}", what(task), command(task, &id))
        }
        None if order["state"] == "done" => {
            text + &format!("\nthe order is done; see hoheit machine show {}", show::text(&order["slot"]))
        }
        None => text,
    }
}

/// `done tsk_… --scan SERIAL`.
fn command(task: &Value, id: &str) -> String {
    match next(task).split_once(' ') {
        Some((verb, rest)) => format!("{verb} {id} {rest}"),
        None => format!("{} {id}", next(task)),
    }
}

/// What was shown and does not fit is an error for a script, though the site took it down.
fn verdict(order: &Value, id: TaskId, done: bool) -> Result<(), Failure> {
    let Some(task) = task_in(order, id).filter(|task| done && task["state"] != "done") else { return Ok(()) };
    let why = order["finding"].as_str().map_or_else(|| show::text(&task["note"]), show::clean);
    let hint = match order["state"].as_str() {
        Some("held") => format!("look, then hoheit order resume {} --reason …", show::text(&order["id"])),
        _ => format!("mend it, then hoheit task {}", command(task, &id.to_string())),
    };
    Err(Failure::failed(format!("It does not count as done: {why}.")).hint(hint))
}

/// The file's name, and its SHA-256 in hex.
fn hashed(path: &Path) -> Result<(String, String), Failure> {
    let unread = |error: std::io::Error| {
        Failure::failed(format!("{} could not be read: {error}", path.display())).hint("name the photograph's file")
    };
    let mut file = std::fs::File::open(path).map_err(unread)?;
    let mut context = digest::Context::new(&digest::SHA256);
    let mut buffer = vec![0; HASHED_BYTES];
    loop {
        match file.read(&mut buffer).map_err(unread)? {
            0 => break,
            length => context.update(&buffer[..length]),
        }
    }
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    Ok((name, context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_photograph_is_hashed_piece_by_piece() {
        let dir = tempfile::tempdir().unwrap();
        let check = |bytes: Vec<u8>, expect: &str| {
            let path = dir.path().join("front.jpg");
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(hashed(&path).unwrap(), ("front.jpg".to_owned(), expect.to_owned()));
        };
        // As sha256sum says.
        check(b"abc".to_vec(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        check(vec![b'a'; 1_000_000], "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
        assert!(hashed(&dir.path().join("none.jpg")).is_err());
    }

    fn order(state: &str, finding: Value, tasks: &[(&str, &str)]) -> Value {
        let tasks = tasks.iter().enumerate().map(|(index, (verb, state))| {
            json!({ "id": TaskId(index as u128).to_string(), "slot": "s", "verb": verb, "subject": "chassis",
                "state": state, "confirmations": 1, "confirmations_min": 2, "note": null })
        });
        json!({ "id": "ord_1", "slot": "s", "state": state, "finding": finding, "tasks": tasks.collect::<Vec<_>>() })
    }

    #[test]
    fn what_is_next_is_a_command() {
        let check = |tasks: &[(&str, &str)], expect: &str| {
            assert_eq!(said(&order("open", Value::Null, tasks), TaskId(0)), expect, "{tasks:?}");
        };
        let second = TaskId(1);
        check(
            &[("scan", "done"), ("photograph", "ready")],
            &format!("scan chassis is done\nnext: photograph chassis in s: hoheit task start {second}"),
        );
        let first = TaskId(0);
        check(
            &[("scan", "running")],
            &format!("scan chassis is running\nnext: scan chassis in s: hoheit task done {first} --scan SERIAL"),
        );
        check(
            &[("lift", "held")],
            &format!("lift chassis is held: 1 of 2 confirmed\nnext: lift chassis in s: hoheit task confirm {first}"),
        );
        let over = order("done", Value::Null, &[("scan", "done")]);
        assert_eq!(said(&over, first), "scan chassis is done\nthe order is done; see hoheit machine show s");
    }

    #[test]
    fn what_does_not_fit_is_a_failure() {
        let held = order("held", json!("scan: chassis: wanted A, scanned B"), &[("scan", "failed")]);
        let failure = verdict(&held, TaskId(0), true).unwrap_err();
        assert!(failure.what.contains("wanted A, scanned B") && failure.exit == 1, "{failure}");
        assert!(failure.hint.unwrap().contains("hoheit order resume ord_1"));
        // Whoever says that it failed is not told so.
        assert!(verdict(&held, TaskId(0), false).is_ok());
        assert!(verdict(&order("open", Value::Null, &[("scan", "done")]), TaskId(0), true).is_ok());
    }
}
