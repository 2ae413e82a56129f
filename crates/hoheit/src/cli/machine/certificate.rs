//! `hoheit machine certificate`: the certificate of acceptance as files, for whoever checks it without us.

use super::find;
use crate::cli::Failure;
use crate::cli::client::Client;
use crate::cli::receipt::{text, write};
use crate::cli::show;
use clap::Args;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub const HELP: &str = "\
Examples:
  hoheit machine certificate h1/r01/k01/u01 --out ./certificate --wait
  hoheit-verify acceptance ./certificate/machine.jwt --proof ./certificate/machine.tlog-proof \\
      --serial 1663522000017 --jwks ./certificate/jwks.json --log-key ./certificate/log.vkey

Keep jwks.json and log.vkey from a day when you trusted us: keys that come with the certificate prove only that it
agrees with itself.";

/// How long `--wait` waits: the declared merge delay is 10 s; six times that is a fault.
const SEALED_SECS_MAX: u64 = 60;
/// Between two questions.
const ASK_EVERY: Duration = Duration::from_millis(500);

const JWT: &str = "machine.jwt";
const PROOF: &str = "machine.tlog-proof";
const JWKS: &str = "jwks.json";
const LOG_KEY: &str = "log.vkey";

#[derive(Debug, Args)]
pub struct Certificate {
    /// Its slot, as h1/r01/k01/u01, or its id.
    #[arg(value_name = "SLOT|ID")]
    machine: String,
    /// A folder; made if it is missing.
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// Wait until it is in the log.
    #[arg(long)]
    wait: bool,
}

impl Certificate {
    pub async fn run(self, client: &Client, as_json: bool) -> Result<(), Failure> {
        let id = find(client, &self.machine).await?;
        let began = Instant::now();
        let (machine, certificate) = loop {
            let machine = client.get(&format!("/api/v1/machines/{id}")).await?;
            let certificate = newest(&machine)?.clone();
            if !self.wait || certificate["proof"].is_string() {
                break (machine, certificate);
            }
            if began.elapsed() > Duration::from_secs(SEALED_SECS_MAX) {
                return Err(Failure::failed(format!("After {SEALED_SECS_MAX} seconds it is not in the log."))
                    .hint("see `hoheit status` and the site's log, and ask again later"));
            }
            tokio::time::sleep(ASK_EVERY).await;
        };
        let made = std::fs::create_dir_all(&self.out);
        made.map_err(|error| Failure::failed(format!("{} could not be made: {error}", self.out.display())))?;
        put(&self.out, &certificate)?;
        write(&self.out.join(JWKS), &client.file("/.well-known/jwks.json").await?)?;
        write(&self.out.join(LOG_KEY), &client.file("/log/vkey").await?)?;
        let shown = said(&self.out, &machine, &certificate);
        let files = json!({ "id": certificate["id"], "holds": certificate["holds"], "out": self.out,
            "sealed": certificate["proof"].is_string() });
        show::done(as_json, &files, &shown)
    }
}

/// The one that holds; else the newest, which held once.
fn newest(machine: &Value) -> Result<&Value, Failure> {
    let all = machine["certificates"].as_array().map_or(&[][..], Vec::as_slice);
    let holds = all.iter().find(|one| one["holds"] == true);
    let newest = || all.iter().max_by_key(|one| one["at"].as_i64());
    holds.or_else(newest).ok_or_else(|| {
        let (slot, state) = (show::text(&machine["slot"]), show::text(&machine["lifecycle"]));
        Failure::failed(format!("{slot} has no certificate; it is {state}."))
            .hint(format!("see what it waits for: hoheit machine show {slot}"))
    })
}

/// Certificate and proof; a proof that lies there from before is of another certificate and goes.
fn put(out: &Path, certificate: &Value) -> Result<(), Failure> {
    write(&out.join(JWT), text(certificate, "jwt")?.as_bytes())?;
    let proof = out.join(PROOF);
    match certificate["proof"].as_str() {
        Some(text) => write(&proof, text.as_bytes()),
        None => match std::fs::remove_file(&proof) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        },
    }
}

fn said(out: &Path, machine: &Value, certificate: &Value) -> String {
    let path = |name: &str| quoted(&out.join(name).display().to_string());
    let mut text = format!("{} of {}", show::text(&certificate["id"]), show::text(&machine["slot"]));
    if certificate["holds"] != true {
        text += "\nit does not hold: the machine was taken out of service since, or is not accepted yet";
    }
    let mut command = format!("hoheit-verify acceptance {}", path(JWT));
    if certificate["proof"].is_string() {
        command += &format!(" --proof {}", path(PROOF));
    } else {
        text += "\nnot in the log yet; --wait waits for the proof";
    }
    if let Some(serial) = machine["observed"]["custody"]["serial"].as_str() {
        command += &format!(" --serial {}", quoted(serial));
    }
    format!("{text}\ncheck it: {command} --jwks {} --log-key {}", path(JWKS), path(LOG_KEY))
}

/// As a shell takes it for one word.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(id: &str, at: i64, holds: bool, proof: Option<&str>) -> Value {
        json!({ "id": id, "at": at, "holds": holds, "jwt": format!("jwt of {id}"), "proof": proof })
    }

    #[test]
    fn the_one_that_holds_else_the_newest() {
        let check = |all: Value, expect: Option<&str>| {
            let machine = json!({ "slot": "s", "lifecycle": "repair", "certificates": all });
            assert_eq!(newest(&machine).ok().and_then(|one| one["id"].as_str()), expect, "{machine}");
        };
        check(json!([]), None);
        check(json!([certificate("a", 2, false, None), certificate("b", 1, false, None)]), Some("a"));
        check(json!([certificate("a", 2, false, None), certificate("b", 1, true, None)]), Some("b"));
    }

    #[test]
    fn a_proof_of_another_certificate_does_not_stay() {
        let dir = tempfile::tempdir().unwrap();
        let proof = dir.path().join(PROOF);
        put(dir.path(), &certificate("a", 1, true, Some("proof of a"))).unwrap();
        assert_eq!(std::fs::read(&proof).unwrap(), b"proof of a");
        put(dir.path(), &certificate("b", 2, true, None)).unwrap();
        assert_eq!(std::fs::read(dir.path().join(JWT)).unwrap(), b"jwt of b");
        assert!(!proof.exists());
    }

    #[test]
    fn the_command_is_ready_for_a_shell() {
        let machine = json!({ "slot": "s", "observed": { "custody": { "serial": "it's" } } });
        let said = said(Path::new("my dir"), &machine, &certificate("a", 1, true, Some("p")));
        let expect = "a of s\ncheck it: hoheit-verify acceptance 'my dir/machine.jwt' --proof 'my dir/machine.tlog-proof' \
                      --serial 'it'\\''s' --jwks 'my dir/jwks.json' --log-key 'my dir/log.vkey'";
        assert_eq!(said, expect);
    }
}
