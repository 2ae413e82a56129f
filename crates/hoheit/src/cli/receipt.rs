//! `hoheit receipt`: receipts and proofs as files, for people who verify them without us (`hoheit-verify`).
//!
//! A receipt reaches the store moments after its answer, and the log within the merge delay. So a receipt that is not
//! there yet is asked for again for a moment; `--wait` also waits for its proof.

use super::Failure;
use super::client::{Client, Connection};
use super::export::{self, Shelf};
use super::show::{self, Column, field};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use types::{ProjectId, ReceiptId, TenantId};

/// How long a receipt may take from the gateway's journal to the store: shipping runs several times a second.
const SHIPPED_SECS_MAX: u64 = 3;
/// How long `--wait` waits: the declared merge delay is 10 s; six times that is a fault.
const SEALED_SECS_MAX: u64 = 60;
/// Between two questions.
const ASK_EVERY: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
pub struct Receipt {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    pub command: ReceiptCommand,
}

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  hoheit receipt list --tenant ten_…
  hoheit receipt get rcp_… --out receipt --wait
  hoheit-verify receipt receipt.jwt --proof receipt.tlog-proof --jwks jwks.json --log-key \"$(cat log.vkey)\"
  hoheit receipt export --tenant ten_… --out ./evidence --wait")]
pub enum ReceiptCommand {
    /// List a tenant's receipts, oldest first.
    #[command(
        after_help = "Examples:\n  hoheit receipt list --tenant ten_… --limit 20\n  hoheit receipt list --tenant ten_… --after rcp_… --json"
    )]
    List {
        #[arg(long, value_name = "ID")]
        tenant: Option<TenantId>,
        #[arg(long, value_name = "ID")]
        project: Option<ProjectId>,
        #[arg(long, value_name = "ID")]
        after: Option<ReceiptId>,
        /// 1 to 1000.
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u32,
    },
    /// Write a receipt to FILE.jwt, and its proof to FILE.tlog-proof once it is in the log.
    #[command(after_help = "Examples:\n  hoheit receipt get rcp_… --out receipt --wait")]
    Get {
        id: ReceiptId,
        /// Without an ending; .jwt and .tlog-proof are added.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Wait for the proof.
        #[arg(long)]
        wait: bool,
    },
    /// Write every receipt and proof of a tenant into a folder, with the keys to verify them.
    #[command(after_help = "\
Examples:
  hoheit receipt export --tenant ten_… --out ./evidence --wait
  hoheit receipt export --tenant ten_… --out ./evidence --bundle --wait        a million receipts: one file
  hoheit-verify chain ./evidence --jwks ./evidence/jwks.json --log-key \"$(cat ./evidence/log.vkey)\"

Keep jwks.json and log.vkey from a day when you trusted us: keys that come with the evidence prove only
that the evidence agrees with itself.")]
    Export {
        #[arg(long, value_name = "ID")]
        tenant: TenantId,
        /// A folder; made if it is missing.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Wait until every receipt has its proof.
        #[arg(long)]
        wait: bool,
        /// One file, receipts.jsonl, in place of two for each receipt.
        #[arg(long)]
        bundle: bool,
    },
}

const COLUMNS: &[Column] = &[
    field!("id"),
    ("outcome", |row| show::text(&row["claims"]["outcome"])),
    ("model", |row| show::text(&row["claims"]["model"])),
    ("country", |row| show::text(&row["claims"]["served_by"]["country"])),
    ("tokens", |row| format!("{} + {}", row["claims"]["usage"]["input"], row["claims"]["usage"]["output"])),
    ("cost", |row| show::euro(&row["claims"]["cost_micro_eur"])),
    ("at", |row| show::time(&row["claims"]["received_at"])),
    ("in the log", |row| if row["proof"].is_string() { "yes" } else { "not yet" }.to_owned()),
];

impl Receipt {
    pub async fn run(self) -> Result<(), Failure> {
        let client = self.connection.control()?;
        let as_json = self.connection.json;
        match self.command {
            ReceiptCommand::List { tenant, project, after, limit } => {
                let mut path = format!("/api/v1/receipts?limit={limit}");
                let filters = [
                    ("tenant", tenant.map(|id| id.to_string())),
                    ("project", project.map(|id| id.to_string())),
                    ("after", after.map(|id| id.to_string())),
                ];
                for (name, id) in filters.into_iter().filter_map(|(name, id)| Some((name, id?))) {
                    path += &format!("&{name}={id}");
                }
                show::list(as_json, &client.get(&path).await?, COLUMNS, "No receipts yet.")
            }
            ReceiptCommand::Get { id, out, wait } => get(&client, id, &out, wait, as_json).await,
            ReceiptCommand::Export { tenant, out, wait, bundle } => {
                let shelf = if bundle { Shelf::bundle(&out)? } else { Shelf::folder(&out)? };
                export::run(&client, tenant, shelf, wait, as_json).await
            }
        }
    }
}

/// FILE without the ending that is ours.
fn stem(out: &Path) -> PathBuf {
    match out.extension().and_then(|ending| ending.to_str()) {
        Some("jwt" | "tlog-proof") => out.with_extension(""),
        _ => out.to_owned(),
    }
}

/// FILE with an ending added, not replaced: `a.b` becomes `a.b.jwt`.
fn ending(stem: &Path, ending: &str) -> PathBuf {
    let mut name = stem.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    std::fs::write(path, bytes).map_err(|error| {
        Failure::failed(format!("{} could not be written: {error}", path.display()))
            .hint("check the folder and its rights")
    })
}

fn not_sealed(what: &str) -> Failure {
    Failure::failed(format!("After {SEALED_SECS_MAX} seconds {what} not in the log."))
        .hint("the receipt is good without it; see `hoheit status` and the site's log, and ask again later")
}

/// Asks for a receipt, again for a moment if it is unknown, and until it has a proof if told to wait.
pub(super) async fn fetch(client: &Client, id: ReceiptId, wait: bool) -> Result<Value, Failure> {
    let began = Instant::now();
    let within = |secs| began.elapsed() < Duration::from_secs(secs);
    loop {
        match client.get(&format!("/api/v1/receipts/{id}")).await {
            Ok(receipt) if !wait || receipt["proof"].is_string() => return Ok(receipt),
            Ok(_) if within(SEALED_SECS_MAX) => {}
            Ok(_) => return Err(not_sealed("the receipt is")),
            Err(failure) if failure.is_not_found() && within(SHIPPED_SECS_MAX) => {}
            Err(failure) => return Err(failure),
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

async fn get(client: &Client, id: ReceiptId, out: &Path, wait: bool, as_json: bool) -> Result<(), Failure> {
    let receipt = fetch(client, id, wait).await?;
    let (jwt, proof) = (ending(&stem(out), ".jwt"), ending(&stem(out), ".tlog-proof"));
    write(&jwt, text(&receipt, "jwt")?.as_bytes())?;
    let proof = match receipt["proof"].as_str() {
        Some(text) => {
            write(&proof, text.as_bytes())?;
            Some(proof)
        }
        None => None,
    };
    let shown = match &proof {
        Some(proof) => format!("{}\n{}", jwt.display(), proof.display()),
        None => format!("{}\nnot in the log yet; --wait waits for the proof", jwt.display()),
    };
    show::done(as_json, &json!({ "id": id, "jwt": jwt, "proof": proof }), &shown)
}

pub(super) fn text<'a>(receipt: &'a Value, name: &str) -> Result<&'a str, Failure> {
    receipt[name].as_str().ok_or_else(|| Failure::failed(format!("The site answered a receipt without {name}.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names() {
        let check =
            |out: &str, expect: &str| assert_eq!(ending(&stem(Path::new(out)), ".jwt"), Path::new(expect), "{out}");
        check("a", "a.jwt");
        check("a.jwt", "a.jwt");
        check("a.tlog-proof", "a.jwt");
        check("dir/a.b", "dir/a.b.jwt");
        check("a.json", "a.json.jwt");
        check("dir.jwt/a", "dir.jwt/a.jwt");
    }
}
