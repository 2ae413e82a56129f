//! `hoheit receipt export`: every receipt and proof of a tenant, with the keys to verify them, for `hoheit-verify chain`.
//!
//! Two forms of one thing: a file for each receipt and each proof, which people can look at and pass on one by one; or one
//! file of lines, `{"jwt": "…", "proof": "…"}`, because two million files take longer to open than to check.
//!
//! If we are killed in the middle, `export.json` is missing or says another number than is there, and the check says so.

use super::Failure;
use super::client::Client;
use super::receipt::{fetch, text, write};
use super::show;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use types::{ReceiptId, TenantId};

/// Rows of one page: the most that the control API gives.
const PAGE: usize = 1_000;

const BUNDLE: &str = "receipts.jsonl";

/// Where receipts are put.
pub enum Shelf {
    Folder(PathBuf),
    Bundle(PathBuf, BufWriter<File>),
}

impl Shelf {
    /// Two files for each receipt, in a folder that is made if it is missing.
    pub fn folder(out: &Path) -> Result<Shelf, Failure> {
        let made = std::fs::create_dir_all(out);
        made.map_err(|error| Failure::failed(format!("{} could not be made: {error}", out.display())))?;
        Ok(Shelf::Folder(out.to_owned()))
    }

    /// One file in that folder.
    pub fn bundle(out: &Path) -> Result<Shelf, Failure> {
        Shelf::folder(out)?;
        let path = out.join(BUNDLE);
        let file = File::create(&path).map_err(|error| unwritten(&path, &error))?;
        Ok(Shelf::Bundle(out.to_owned(), BufWriter::with_capacity(1 << 20, file)))
    }

    fn out(&self) -> &Path {
        match self {
            Shelf::Folder(out) | Shelf::Bundle(out, _) => out,
        }
    }

    /// The name of a file comes from an id that was parsed, never from the site's text.
    fn put(&mut self, id: ReceiptId, jwt: &str, proof: Option<&str>) -> Result<(), Failure> {
        match self {
            Shelf::Folder(out) => {
                write(&out.join(format!("{id}.jwt")), jwt.as_bytes())?;
                match proof {
                    Some(proof) => write(&out.join(format!("{id}.tlog-proof")), proof.as_bytes()),
                    None => Ok(()),
                }
            }
            Shelf::Bundle(out, file) => {
                let line = json!({ "jwt": jwt, "proof": proof });
                writeln!(file, "{line}").map_err(|error| unwritten(&out.join(BUNDLE), &error))
            }
        }
    }

    fn finish(&mut self) -> Result<(), Failure> {
        match self {
            Shelf::Folder(_) => Ok(()),
            Shelf::Bundle(out, file) => file.flush().map_err(|error| unwritten(&out.join(BUNDLE), &error)),
        }
    }
}

fn unwritten(path: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(format!("{} could not be written: {error}", path.display())).hint("check the folder and its rights")
}

/// What was written of a tenant.
#[derive(Default)]
struct Exported {
    receipts: u64,
    sealed: u64,
    /// Found without a proof, and not written yet because we wait for it.
    waiting: Vec<ReceiptId>,
    /// Per incarnation: how many, and the last place.
    chains: BTreeMap<String, (u64, u64)>,
}

impl Exported {
    /// Takes a row of the site's answer; writes it, unless it is to wait for its proof.
    fn take(&mut self, shelf: &mut Shelf, row: &Value, wait: bool) -> Result<ReceiptId, Failure> {
        let id: ReceiptId =
            text(row, "id")?.parse().map_err(|error| Failure::failed(format!("The site answered no id: {error}")))?;
        let (jwt, proof) = (text(row, "jwt")?, row["proof"].as_str());
        match proof {
            None if wait => self.waiting.push(id),
            _ => shelf.put(id, jwt, proof)?,
        }
        self.receipts += 1;
        self.sealed += u64::from(proof.is_some());
        let chain = self.chains.entry(show::text(&row["claims"]["inc"])).or_default();
        chain.0 += 1;
        chain.1 = chain.1.max(row["claims"]["seq"].as_u64().unwrap_or(0));
        Ok(id)
    }
}

pub async fn run(
    client: &Client,
    tenant: TenantId,
    mut shelf: Shelf,
    wait: bool,
    as_json: bool,
) -> Result<(), Failure> {
    let mut exported = Exported::default();
    let mut after: Option<ReceiptId> = None;
    loop {
        let mut path = format!("/api/v1/receipts?tenant={tenant}&limit={PAGE}");
        if let Some(after) = after {
            path += &format!("&after={after}");
        }
        let page = client.get(&path).await?;
        let rows = page["data"].as_array().map_or(&[][..], Vec::as_slice);
        for row in rows {
            after = Some(exported.take(&mut shelf, row, wait)?);
        }
        if rows.len() < PAGE {
            break;
        }
    }
    for id in std::mem::take(&mut exported.waiting) {
        let receipt = fetch(client, id, true).await?;
        shelf.put(id, text(&receipt, "jwt")?, Some(text(&receipt, "proof")?))?;
        exported.sealed += 1;
    }
    shelf.finish()?;
    let out = shelf.out();
    write(&out.join("jwks.json"), &client.file("/.well-known/jwks.json").await?)?;
    write(&out.join("log.vkey"), &client.file("/log/vkey").await?)?;
    match client.file("/log/checkpoint").await {
        Ok(checkpoint) => write(&out.join("checkpoint"), &checkpoint)?,
        Err(failure) if failure.is_not_found() => {}
        Err(failure) => return Err(failure),
    }
    let chains: Vec<Value> = exported
        .chains
        .iter()
        .map(|(inc, (receipts, last))| json!({ "inc": inc, "receipts": receipts, "last_seq": last }))
        .collect();
    let summary = json!({
        "format": "hoheit-export/v1", "tenant": tenant, "receipts": exported.receipts, "sealed": exported.sealed,
        "chains": chains,
    });
    let pretty = serde_json::to_string_pretty(&summary).map_err(|error| Failure::failed(error.to_string()))?;
    write(&out.join("export.json"), format!("{pretty}\n").as_bytes())?;
    let shown = format!(
        "{} receipts, {} in the log, {} chains in {}",
        exported.receipts,
        exported.sealed,
        chains.len(),
        out.display()
    );
    show::done(as_json, &summary, &shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: ReceiptId, proof: Value) -> Value {
        json!({ "id": id, "jwt": "j", "proof": proof, "claims": { "inc": "inc_1", "seq": 3 } })
    }

    #[test]
    fn an_export_counts_its_chains_and_takes_no_name_from_the_site() {
        let dir = tempfile::tempdir().unwrap();
        let (mut exported, mut shelf, id) = (Exported::default(), Shelf::folder(dir.path()).unwrap(), ReceiptId(7));
        exported.take(&mut shelf, &row(id, Value::Null), false).unwrap();
        exported.take(&mut shelf, &row(id, json!("p")), false).unwrap();
        assert_eq!((exported.receipts, exported.sealed, exported.waiting.len()), (2, 1, 0));
        assert_eq!(exported.chains["inc_1"], (2, 3));
        assert_eq!(std::fs::read(dir.path().join(format!("{id}.tlog-proof"))).unwrap(), b"p");
        let bad = json!({ "id": "../../x", "jwt": "j" });
        assert!(exported.take(&mut shelf, &bad, false).is_err());
    }

    #[test]
    fn a_bundle_is_a_line_for_each_and_waits_for_proofs() {
        let dir = tempfile::tempdir().unwrap();
        let (mut exported, mut shelf) = (Exported::default(), Shelf::bundle(dir.path()).unwrap());
        exported.take(&mut shelf, &row(ReceiptId(7), json!("p\nq")), true).unwrap();
        exported.take(&mut shelf, &row(ReceiptId(8), Value::Null), true).unwrap();
        assert_eq!(exported.waiting, [ReceiptId(8)]);
        shelf.finish().unwrap();
        let text = std::fs::read_to_string(dir.path().join(BUNDLE)).unwrap();
        assert_eq!(text, "{\"jwt\":\"j\",\"proof\":\"p\\nq\"}\n");
    }
}
