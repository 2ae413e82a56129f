//! A BMC's logs: its newest entries, and which of them are complaints. Never the whole log: BMCs keep thousands of entries, and
//! a DGX needs 21 s for one page of its baseboard's.

use crate::client::Client;
use crate::error::Error;
use crate::field::{clean, text_or_none};
use crate::limits::{LINE_CHARS_MAX, LOG_ENTRIES_MAX, LOG_PAGES_MAX, LOGS_MAX};
use crate::parts::{Complaint, Weight};
use crate::path::Path;
use crate::walk::{Resource, Walk};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// As the BMC says, RFC 3339; its clock may be off by years.
    pub created: String,
    pub severity: Severity,
    pub message: String,
    pub resolved: bool,
    /// The log that it stands in.
    pub log: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Critical,
    Warning,
    Ok,
}

/// Names of logs that are no events of the machine: debris of the BMC's own software, or who logged in.
const SKIPPED: [&str; 10] =
    ["audit", "dump", "journal", "debug", "diagnostic", "decoded", "postcode", "crash", "hostlogger", "telemetry"];

/// Whether this log service tells of the machine.
fn wanted(service: &Resource) -> bool {
    let id = text_or_none(&service.1, "Id").to_ascii_lowercase();
    let name = if id.is_empty() { service.0.name().to_ascii_lowercase() } else { id };
    !SKIPPED.iter().any(|skipped| name.contains(skipped))
}

/// Where the entries of the logs lie that tell of this machine: of its systems, then of its managers.
pub(crate) async fn logs(walk: &Walk, owners: &[Resource]) -> Result<Vec<Path>, Error> {
    let mut logs = Vec::new();
    for (path, owner) in owners {
        for service in walk.linked(owner, "LogServices", path).await?.iter().filter(|service| wanted(service)) {
            let entries = walk.client().link(&service.1, "Entries", &service.0);
            logs.extend(walk.or_gap(service.0.as_str(), entries)?.flatten());
        }
    }
    logs.truncate(LOGS_MAX);
    Ok(logs)
}

/// The newest entries of these logs, newest first.
pub(crate) async fn newest(walk: &Walk, logs: &[Path]) -> Result<Vec<Entry>, Error> {
    let mut entries = Vec::new();
    for log in logs {
        let read = read(walk, log).await;
        entries.extend(walk.or_gap(log.as_str(), read)?.unwrap_or_default());
    }
    // RFC 3339 of one zone sorts as text; what a BMC says of other zones is wrong by hours at most.
    entries.sort_by(|a: &Entry, b: &Entry| b.created.cmp(&a.created));
    entries.truncate(LOG_ENTRIES_MAX);
    Ok(entries)
}

/// The last pages of one log: most BMCs list the oldest first, so what the count and the first page leave over is skipped.
async fn read(walk: &Walk, log: &Path) -> Result<Vec<Entry>, Error> {
    let mut page = walk.get(log).await?;
    let mut entries = take(log, &page)?;
    let shown = entries.len() as u64;
    let count = page["Members@odata.count"].as_u64().unwrap_or(shown);
    let mut seen = BTreeSet::from([log.clone()]);
    let pages = LOG_PAGES_MAX as u64;
    let mut next = match &page["Members@odata.nextLink"] {
        Value::String(_) if shown > 0 && count > shown * pages => {
            Some(log.query(&format!("$skip={}", count - shown * (pages - 1))))
        }
        Value::String(next) => Some(walk.client().path(next, log.as_str())?),
        _ => None,
    };
    for _ in 1..LOG_PAGES_MAX {
        let Some(path) = next.take().filter(|path| seen.insert(path.clone())) else { break };
        page = walk.get(&path).await?;
        entries.extend(take(log, &page)?);
        if let Value::String(text) = &page["Members@odata.nextLink"] {
            next = Some(walk.client().path(text, log.as_str())?);
        }
    }
    Ok(entries)
}

fn take(log: &Path, page: &Value) -> Result<Vec<Entry>, Error> {
    let members = crate::field::list(page, "Members", log.as_str())?;
    let entry = |member: &Value| Entry {
        created: clean(member["Created"].as_str().unwrap_or_default(), 40),
        severity: severity(&member["Severity"]),
        message: clean(member["Message"].as_str().unwrap_or_default(), LINE_CHARS_MAX),
        resolved: member["Resolved"] == Value::Bool(true),
        log: log.as_str().chars().take(LINE_CHARS_MAX).collect(),
    };
    Ok(members.iter().filter(|member| member.is_object()).map(entry).collect())
}

fn severity(value: &Value) -> Severity {
    match value.as_str() {
        Some("Critical") => Severity::Critical,
        Some("Warning") => Severity::Warning,
        _ => Severity::Ok,
    }
}

/// Entries that nobody resolved, each text once.
pub(crate) fn complaints(entries: &[Entry]) -> Vec<Complaint> {
    let mut seen = BTreeSet::new();
    let open = entries.iter().filter(|entry| !entry.resolved);
    let worded = open.filter_map(|entry| {
        let weight = match entry.severity {
            Severity::Critical => Weight::Critical,
            Severity::Warning => Weight::Warning,
            Severity::Ok => return None,
        };
        seen.insert(&entry.message).then(|| Complaint::new(weight, &format!("{}: {}", entry.created, entry.message)))
    });
    worded.collect()
}

impl Client {
    /// The newest entries of the machine's logs, newest first; at most [`LOG_ENTRIES_MAX`].
    pub async fn log(&self) -> Result<Vec<Entry>, Error> {
        let walk = Walk::new(self);
        let root = walk.root().await?;
        let mut owners = walk.linked(&root, "Systems", &Path::root()).await?;
        owners.extend(walk.linked(&root, "Managers", &Path::root()).await?);
        let logs = logs(&walk, &owners).await?;
        let entries = newest(&walk, &logs).await?;
        match walk.gaps().into_iter().next() {
            Some(gap) if entries.is_empty() => {
                Err(Error::Endless { path: gap.path, why: format!("no log could be read: {}", gap.why) })
            }
            _ => Ok(entries),
        }
    }
}
