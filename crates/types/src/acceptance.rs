//! What a certificate of acceptance claims: the payload of the JWT that makes a machine capacity.
//!
//! It says what the machine is made of, what runs on it, which tests it passed against which thresholds, and who or what
//! installed it. It says nothing of tenants. It is signed by the site's receipt key and is an entry of the same log as
//! receipts; `ledger::acceptance` does both, this file only fixes the words and their JSON form.
//!
//! Field order is the wire order. What was signed is never serialised again.

use crate::{AcceptanceId, MachineId, UnixMillis};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Why a machine was certified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Occasion {
    /// It was installed.
    Installation,
    /// It was repaired and validated anew; an earlier certificate no longer holds.
    Repair,
}

/// The claims, in wire order. Digests are `sha256:<hex>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcceptanceClaims {
    /// The site that issued it.
    pub iss: String,
    pub jti: AcceptanceId,
    /// Seconds, as RFC 7519 asks.
    pub iat: i64,
    pub machine: MachineId,
    /// `dgx-b200`, `rtx-pro`.
    pub kind: String,
    /// Where it stands: `hall/row/rack/u11`.
    pub slot: String,
    pub occasion: Occasion,
    /// The certificate that this one replaces.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub supersedes: Option<AcceptanceId>,
    /// Part (`chassis`, `gpu1`, `psu3`) to serial number, as the BMC reads them.
    pub serials: BTreeMap<String, String>,
    /// Component to version, as the BMC reads them.
    pub firmware: BTreeMap<String, String>,
    /// Over the lines `component=version` of `firmware`, in their order, each ended by a line feed.
    pub firmware_digest: String,
    /// The validation suite and every test of it.
    pub suite: String,
    pub validated_at: UnixMillis,
    pub tests: Vec<TestClaim>,
    /// How the machine came into the house.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub custody: Option<CustodyClaim>,
    /// Every task of the order that brought the machine here or repaired it.
    pub work: Vec<WorkClaim>,
    /// 32 random bytes, base64url, that make the leaf hiding.
    pub opening: String,
}

/// One test, what was asked of it and what came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestClaim {
    pub name: String,
    /// `passed`, or `skipped` where the suite allows that.
    pub outcome: String,
    pub threshold: String,
    pub value: String,
}

/// Who received the machine, and what they read on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustodyClaim {
    pub serial: String,
    pub by: String,
    pub at: UnixMillis,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub photo: Option<String>,
}

/// One task: what was done, by whom or by which robot, who confirmed it, and what shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkClaim {
    pub task: String,
    pub subject: String,
    /// `done` or `skipped`.
    pub state: String,
    /// `robot:manufacturer/serial` or `person:tok_…`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub by: Option<String>,
    pub confirmed_by: Vec<String>,
    pub at: UnixMillis,
    pub evidence: Vec<EvidenceClaim>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub note: Option<String>,
}

/// What shows that a task was done: a reading, or the hash of a file that the operator keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvidenceClaim {
    pub kind: String,
    pub value: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sha256: Option<String>,
}

impl AcceptanceClaims {
    /// What [`AcceptanceClaims::firmware_digest`] is the digest of.
    pub fn firmware_lines(firmware: &BTreeMap<String, String>) -> String {
        firmware.iter().map(|(component, version)| format!("{component}={version}\n")).collect()
    }
}
