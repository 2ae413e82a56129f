//! `hoheit machine`: the machines of the site: why they are in their states, and what a person decides about them.
//! `discover` asks a BMC itself and no site.

mod bmc;
mod certificate;
mod discover;
mod show;

pub use show::{over, progress};

use super::Failure;
use super::client::{Client, Connection, query};
use super::show::{self as print, Column, field};
use clap::{Args, Subcommand};
use fleet::machine::Lifecycle;
use serde_json::{Value, json};
use types::MachineId;

#[derive(Debug, Args)]
pub struct Machine {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: MachineCommand,
}

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  hoheit machine list --state powered
  hoheit machine show h1/r01/k01/u01
  hoheit machine release h1/r01/k01/u01 --reason \"serial number read again; the bill was wrong\"
  hoheit machine bmc set --file bmcs.csv
  hoheit machine certificate h1/r01/k01/u01 --out ./certificate")]
enum MachineCommand {
    /// List machines.
    #[command(after_help = "\
Examples:
  hoheit machine list
  hoheit machine list --state repair
  hoheit machine list --held --json")]
    List {
        /// Only in this state: planned, received, installed, powered, provisioned, validated, accepted, drain, repair, retired.
        #[arg(long, value_parser = state)]
        state: Option<Lifecycle>,
        /// Only those that wait for a person.
        #[arg(long)]
        held: bool,
    },
    /// Show a machine: why it is in its state, what happens next, what was seen, what differs from its bill.
    #[command(after_help = "Examples:\n  hoheit machine show h1/r01/k01/u01\n  hoheit machine show mach_… --json")]
    Show(Which),
    /// Let a held machine go on. What is still wrong holds it again.
    #[command(after_help = "Examples:\n  hoheit machine release h1/r01/k01/u01 --reason \"cable reseated\"")]
    Release(Deed),
    /// Take it out of service: no new work; what runs may end; then repair.
    #[command(after_help = "Examples:\n  hoheit machine drain h1/r01/k01/u01 --reason \"fan is loud\"")]
    Drain(Deed),
    /// Take a drain back.
    #[command(after_help = "Examples:\n  hoheit machine undrain h1/r01/k01/u01 --reason \"it was its neighbour\"")]
    Undrain(Deed),
    /// Have a machine repaired that is not in service; one that is in service is drained.
    #[command(
        after_help = "Examples:\n  hoheit machine repair h1/r01/k01/u01 --about gpu3 --reason \"fails its memory test\""
    )]
    Repair {
        #[command(flatten)]
        deed: Deed,
        /// The part that is exchanged, as gpu3 or chassis; what holds the machine if left out.
        #[arg(long, value_name = "PART", default_value = "")]
        about: String,
    },
    /// Take it out of the site, for good.
    #[command(after_help = "Examples:\n  hoheit machine retire h1/r01/k01/u01 --reason \"sent back to the maker\"")]
    Retire(Deed),
    /// Withdraw every certificate and token of its agent, as when a disk was copied or stolen; it enrols anew.
    #[command(after_help = "\
Examples:
  hoheit machine revoke h1/r01/k01/u01 --reason \"its disk was stolen\"
  hoheit machine token h1/r01/k01/u01")]
    Revoke(Deed),
    /// Where BMCs are, and how to log in to them.
    #[command(subcommand)]
    Bmc(bmc::BmcCommand),
    /// Make a one-time token with which the machine's agent enrols.
    #[command(after_help = "Examples:\n  hoheit machine token h1/r01/k01/u01")]
    Token(Which),
    /// Write the certificate of acceptance, its proof and the keys into a folder, for `hoheit-verify acceptance`.
    #[command(after_help = certificate::HELP)]
    Certificate(certificate::Certificate),
    /// Ask a BMC over Redfish what is in its machine. Changes nothing.
    Discover(discover::Discover),
}

/// Which machine.
#[derive(Debug, Args)]
struct Which {
    /// Its slot, as h1/r01/k01/u01, or its id.
    #[arg(value_name = "SLOT|ID")]
    machine: String,
}

/// A decision with its reason.
#[derive(Debug, Args)]
struct Deed {
    #[command(flatten)]
    which: Which,
    /// Why; the machine and the audit log keep it.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

fn state(word: &str) -> Result<Lifecycle, String> {
    Lifecycle::from_word(word).ok_or_else(|| {
        let words: Vec<&str> = Lifecycle::ALL.iter().map(|one| one.as_str()).collect();
        format!("write one of {}", words.join(", "))
    })
}

const COLUMNS: &[Column] = &[
    field!("slot"),
    field!("kind"),
    field!("state", "lifecycle"),
    field!("since", "since", print::time),
    field!("health"),
    field!("scheduling"),
    field!("held"),
    ("why", why),
];

/// The longest reason in a table; `machine show` has all of it.
const WHY_CHARS_MAX: usize = 60;

fn why(machine: &Value) -> String {
    shortened(&print::text(&machine["reason"]), WHY_CHARS_MAX)
}

/// At most so many characters, on one line.
pub(super) fn shortened(text: &str, chars_max: usize) -> String {
    let text = text.replace('\n', " ");
    match text.char_indices().nth(chars_max) {
        None => text,
        Some(_) => text.chars().take(chars_max.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// The id, from an id or a slot.
pub(super) async fn find(client: &Client, which: &str) -> Result<MachineId, Failure> {
    if let Ok(id) = which.parse() {
        return Ok(id);
    }
    let found = client.get(&format!("/api/v1/machines?slot={}", query(which))).await?;
    found["data"][0]["id"].as_str().and_then(|id| id.parse().ok()).ok_or_else(|| {
        Failure::failed(format!("No machine has the slot {}.", print::clean(which)))
            .hint("see the slots with `hoheit machine list`; a slot is written hall/row/rack/unit")
    })
}

impl Machine {
    pub async fn run(self) -> Result<(), Failure> {
        let as_json = self.connection.json;
        let (verb, deed) = match self.command {
            MachineCommand::Discover(discover) => return discover.run(as_json).await,
            MachineCommand::List { state, held } => {
                return list(&self.connection.control()?, state, held, as_json).await;
            }
            MachineCommand::Show(which) => {
                let client = self.connection.control()?;
                let id = find(&client, &which.machine).await?;
                let machine = client.get(&format!("/api/v1/machines/{id}")).await?;
                return show::run(&machine, as_json);
            }
            MachineCommand::Bmc(command) => return command.run(&self.connection.control()?, as_json).await,
            MachineCommand::Token(which) => return token(&self.connection.control()?, &which.machine, as_json).await,
            MachineCommand::Certificate(command) => return command.run(&self.connection.control()?, as_json).await,
            MachineCommand::Repair { deed, about } => {
                let body = json!({ "do": "repair", "reason": deed.reason, "about": about });
                return decide(&self.connection.control()?, &deed.which.machine, &body, as_json).await;
            }
            MachineCommand::Release(deed) => ("release", deed),
            MachineCommand::Drain(deed) => ("drain", deed),
            MachineCommand::Undrain(deed) => ("undrain", deed),
            MachineCommand::Retire(deed) => ("retire", deed),
            MachineCommand::Revoke(deed) => ("revoke", deed),
        };
        let body = json!({ "do": verb, "reason": deed.reason });
        decide(&self.connection.control()?, &deed.which.machine, &body, as_json).await
    }
}

async fn list(client: &Client, state: Option<Lifecycle>, held: bool, as_json: bool) -> Result<(), Failure> {
    let filter = state.map(|state| format!("?lifecycle={state}")).unwrap_or_default();
    let mut machines = client.all(&format!("/api/v1/machines{filter}")).await?;
    if let Some(rows) = machines["data"].as_array_mut() {
        rows.retain(|row| !held || row["held"].is_string());
        rows.sort_by(|a, b| a["slot"].as_str().cmp(&b["slot"].as_str()));
    }
    let empty = match (state, held) {
        (None, false) => "No machines. Apply a site file: hoheit site apply site.toml",
        _ => "None.",
    };
    print::list(as_json, &machines, COLUMNS, empty)
}

async fn decide(client: &Client, which: &str, body: &Value, as_json: bool) -> Result<(), Failure> {
    let id = find(client, which).await?;
    let machine = client.post(&format!("/api/v1/machines/{id}"), body).await?;
    let word = |name: &str| print::text(&machine[name]);
    let slot = word("slot");
    let what = match body["do"].as_str() {
        Some("release") => format!("{slot} goes on; what is still wrong holds it again"),
        Some("drain") => format!("{slot} gets no new work; when it is empty it goes to repair"),
        Some("undrain") => format!("{slot} is wanted in service again"),
        Some("revoke") => format!(
            "the agent of {slot} is heard no more, within a minute; it enrols with a new token: hoheit machine token {slot}"
        ),
        Some("repair") => format!("{slot} is in repair: {}", word("reason")),
        _ => format!("{slot} leaves the site for good"),
    };
    print::done(as_json, &machine, &format!("{what}\nnext: hoheit machine show {slot}"))
}

async fn token(client: &Client, which: &str, as_json: bool) -> Result<(), Failure> {
    let id = find(client, which).await?;
    let made = client.post(&format!("/api/v1/machines/{id}/agent-token"), &json!({})).await?;
    let text = format!(
        "{}\nfor the agent of {}, once, until {}; it is not shown again",
        print::text(&made["token"]),
        print::clean(which),
        print::time(&made["expires_at"])
    );
    print::done(as_json, &made, &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_reason_is_cut_at_a_character() {
        let check = |text: &str, max: usize, expect: &str| assert_eq!(shortened(text, max), expect, "{text}");
        check("kurz", 4, "kurz");
        check("länger", 4, "län…");
        check("zwei\nZeilen", 60, "zwei Zeilen");
        check("", 4, "");
    }
}
