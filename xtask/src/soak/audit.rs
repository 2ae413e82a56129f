//! Afterwards: all receipts out of the site, verified offline by the second program, and held against what answers said.

use super::customer::Tally;
use crate::process;
use crate::site::Site;
use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Command;

/// At least one receipt in so many is of an answer that came whole.
const COMPARED_PART_MIN: u64 = 4;

pub struct Audited {
    pub receipts: u64,
    pub outcomes: BTreeMap<String, u64>,
    /// Answers whose tokens were the receipt's.
    pub compared: u64,
}

pub fn audit(site: &Site, verify: &Path, tenant: &str, folder: &Path, tally: &Tally) -> Result<Audited> {
    let export = folder.join("export");
    let out = export.display().to_string();
    site.make(&["receipt", "export", "--tenant", tenant, "--out", &out, "--bundle", "--wait"])?;
    let mut chain = Command::new(verify);
    chain.arg("chain").arg(&export).arg("--json");
    chain.arg("--jwks").arg(export.join("jwks.json")).arg("--log-key").arg(export.join("log.vkey"));
    let said: Value = serde_json::from_str(&process::output(&mut chain)?)?;
    ensure!(said["result"] == "holds", "the chains do not hold: {said}");
    compare(BufReader::new(File::open(export.join("receipts.jsonl"))?), tally)
}

/// Every receipt that an answer named is there, and says of tokens what the answer said.
fn compare(export: impl BufRead, tally: &Tally) -> Result<Audited> {
    let mut owed: HashMap<&str, Option<(u64, u64)>> = HashMap::with_capacity(tally.named.len());
    for named in &tally.named {
        ensure!(owed.insert(&named.receipt, named.usage).is_none(), "two answers named {}", named.receipt);
    }
    let mut audited = Audited { receipts: 0, outcomes: BTreeMap::new(), compared: 0 };
    for line in export.lines() {
        let claims = claims(&line?)?;
        let text = |name: &str| claims[name].as_str().with_context(|| format!("a receipt without {name}"));
        audited.receipts += 1;
        *audited.outcomes.entry(text("outcome")?.to_owned()).or_default() += 1;
        let Some(Some(said)) = owed.remove(text("jti")?) else { continue };
        let usage = &claims["usage"];
        let receipted = (usage["input"].as_u64().unwrap_or(0), usage["output"].as_u64().unwrap_or(0));
        ensure!(receipted == said, "{}: the answer said {said:?} tokens, the receipt {receipted:?}", text("jti")?);
        audited.compared += 1;
    }
    if let Some(lost) = owed.keys().next() {
        bail!("{} receipts are lost, one of them {lost}", owed.len());
    }
    ensure!(!audited.outcomes.contains_key("unresolved"), "receipts are unresolved though nothing crashed");
    // Two of five requests end with a count that can be compared; of a site that only refuses, nothing would be lost either.
    let least = audited.receipts / COMPARED_PART_MIN;
    ensure!(audited.compared >= least.max(1), "only {} of {} answers came whole", audited.compared, audited.receipts);
    Ok(audited)
}

/// Of a line of the export. The signature was checked by `hoheit-verify`.
fn claims(line: &str) -> Result<Value> {
    let row: Value = serde_json::from_str(line)?;
    let jwt = row["jwt"].as_str().context("a line without a receipt")?;
    let claims = jwt.split('.').nth(1).context("a receipt without claims")?;
    Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims)?)?)
}

#[cfg(test)]
mod tests {
    use super::super::customer::Named;
    use super::*;
    use serde_json::json;

    fn export(receipts: &[(&str, &str, u64)]) -> String {
        let line = |(jti, outcome, output): &(&str, &str, u64)| {
            let claims = json!({ "jti": jti, "outcome": outcome, "usage": { "input": 3, "output": output } });
            let jwt = format!("h.{}.s", URL_SAFE_NO_PAD.encode(claims.to_string()));
            json!({ "jwt": jwt, "proof": "p" }).to_string() + "\n"
        };
        receipts.iter().map(line).collect()
    }

    #[test]
    fn what_is_lost_or_says_something_else_is_found() {
        let mut tally = Tally::default();
        tally.named.push(Named { receipt: "rcp_1".into(), usage: Some((3, 5)) });
        tally.named.push(Named { receipt: "rcp_2".into(), usage: None });
        let check = |receipts: &[(&str, &str, u64)]| compare(export(receipts).as_bytes(), &tally);
        let good = check(&[("rcp_1", "completed", 5), ("rcp_2", "aborted", 1), ("rcp_3", "refused", 0)]).unwrap();
        assert_eq!((good.receipts, good.compared), (3, 1));
        assert!(check(&[("rcp_1", "completed", 5)]).is_err(), "one is lost");
        assert!(check(&[("rcp_1", "completed", 4), ("rcp_2", "aborted", 1)]).is_err(), "another count");
        assert!(check(&[("rcp_1", "completed", 5), ("rcp_2", "unresolved", 1)]).is_err(), "unresolved");
        // Of four receipts one has to be of an answer that came whole.
        let four =
            [("rcp_1", "completed", 5), ("rcp_2", "aborted", 1), ("rcp_3", "refused", 0), ("rcp_4", "refused", 0)];
        let more = ["5", "6", "7", "8"].map(|id| (id, "refused", 0));
        assert!(check(&four).is_ok());
        assert!(check(&[&four[..], &more[..]].concat()).is_err(), "hardly anything came whole");
    }
}
