//! The claims of a certificate, from what was seen: nothing is in it that nobody saw. Its tests are those of the run with which
//! the machine became valid, whatever its agent reported since.
//!
//! What it is not: it does not decide that the machine is valid (`fleet::lifecycle` does), and it signs nothing
//! (`ledger::acceptance`).

use fleet::machine::{Machine, Spec};
use fleet::observed::{Observed, TestOutcome, Validation};
use fleet::order::{Assignee, Evidence, OrderState, Task, TaskState};
use ledger::hash::b64url;
use store::{OrderRow, StoredAcceptance};
use types::acceptance::{CustodyClaim, EvidenceClaim, Occasion, TestClaim, WorkClaim};
use types::{AcceptanceClaims, AcceptanceId, UnixMillis};

/// What a certificate is made from.
pub struct Seen<'a> {
    pub site: &'a str,
    pub spec: &'a Spec,
    pub machine: &'a Machine,
    pub observed: &'a Observed,
    /// Every order of the machine, oldest first.
    pub orders: &'a [OrderRow],
    /// The newest certificate before this one.
    pub former: Option<&'a StoredAcceptance>,
}

/// What a test printed, in a certificate. What is longer is cut, and its digest (86 bytes) says what it was: 128 tests are 37 kB at
/// most, 49 kB as base64, a fifth of what a certificate may have.
pub const VALUE_BYTES_MAX: usize = 200;

/// What is missing that a certificate must speak of; the machine then stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    #[error("its BMC was not read")]
    Inventory,
    #[error("the run that it passed is not there any more; send it to repair, and it proves itself anew")]
    Run,
}

/// The claims, if everything is there that a certificate must speak of.
pub fn claims(
    seen: &Seen<'_>,
    id: AcceptanceId,
    opening: &[u8; 32],
    now: UnixMillis,
) -> Result<AcceptanceClaims, Missing> {
    let bmc = seen.observed.bmc.as_ref().ok_or(Missing::Inventory)?;
    let passed = |run: &&Validation| seen.machine.passed.as_ref().is_none_or(|passed| run.is(passed));
    let validation = seen.observed.validation.as_ref().filter(passed).ok_or(Missing::Run)?;
    let validated_at = validation.ended_at.ok_or(Missing::Run)?;
    let inventory = &bmc.inventory;
    let mut serials = std::collections::BTreeMap::from([("chassis".to_owned(), inventory.serial.clone())]);
    let parts = inventory.parts.iter().filter(|(_, part)| !part.serial.is_empty());
    serials.extend(parts.map(|(name, part)| (name.clone(), part.serial.clone())));
    let since = seen.former.map_or(UnixMillis(i64::MIN), |former| former.at);
    let done = seen.orders.iter().filter(|row| row.order.state == OrderState::Done && row.order.made_at >= since);
    Ok(AcceptanceClaims {
        iss: seen.site.to_owned(),
        jti: id,
        iat: now.0.div_euclid(1_000),
        machine: seen.machine.id,
        kind: seen.spec.kind.as_str().to_owned(),
        slot: seen.spec.slot.clone(),
        occasion: if seen.former.is_none() { Occasion::Installation } else { Occasion::Repair },
        supersedes: seen.former.map(|former| former.id),
        serials,
        firmware_digest: ledger::acceptance::firmware_digest(&inventory.firmware),
        firmware: inventory.firmware.clone(),
        suite: validation.suite.clone(),
        validated_at,
        tests: validation.tests.iter().map(test).collect(),
        custody: seen.observed.custody.as_ref().map(|custody| CustodyClaim {
            serial: custody.serial.clone(),
            by: custody.by.clone(),
            at: custody.at,
            photo: custody.photo.clone(),
        }),
        work: done.flat_map(|row| row.order.tasks.iter()).filter_map(work).collect(),
        opening: b64url(opening),
    })
}

fn test(test: &fleet::observed::TestResult) -> TestClaim {
    let outcome = match test.outcome {
        TestOutcome::Passed => "passed",
        TestOutcome::Failed => "failed",
        TestOutcome::TimedOut => "timed_out",
        TestOutcome::Skipped => "skipped",
    };
    TestClaim {
        name: test.name.clone(),
        outcome: outcome.to_owned(),
        threshold: test.threshold.clone(),
        value: cut(&test.value),
    }
}

/// The end of a long text: what a program prints last is its result.
fn cut(value: &str) -> String {
    if value.len() <= VALUE_BYTES_MAX {
        return value.to_owned();
    }
    let from = (value.len() - VALUE_BYTES_MAX..value.len()).find(|at| value.is_char_boundary(*at)).unwrap_or(0);
    let digest = ledger::hash::sha256(&[value.as_bytes()]).hex();
    format!("{} ({} bytes, sha256:{digest})", &value[from..], value.len())
}

fn work(task: &Task) -> Option<WorkClaim> {
    if !matches!(task.state, TaskState::Done | TaskState::Skipped) {
        return None;
    }
    let by = task.assignee.as_ref().map(|who| match who {
        Assignee::Robot(id) => format!("robot:{id}"),
        Assignee::Person(id) => format!("person:{id}"),
    });
    Some(WorkClaim {
        task: task.verb.as_str().to_owned(),
        subject: task.subject.clone(),
        state: task.state.as_str().to_owned(),
        by,
        confirmed_by: task.confirmed_by.clone(),
        at: task.changed_at,
        evidence: task.evidence.iter().map(evidence).collect(),
        note: task.note.clone(),
    })
}

fn evidence(one: &Evidence) -> EvidenceClaim {
    EvidenceClaim { kind: one.kind.clone(), value: one.value.clone(), sha256: one.sha256.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_test_printed_is_cut_before_its_end_with_its_digest() {
        let fits = "x".repeat(VALUE_BYTES_MAX);
        assert_eq!(cut(&fits), fits);
        // Never within a character.
        let text = format!("{}é{}", "a".repeat(10), "b".repeat(VALUE_BYTES_MAX - 1));
        let digest = ledger::hash::sha256(&[text.as_bytes()]).hex();
        assert_eq!(cut(&text), format!("{} (211 bytes, sha256:{digest})", "b".repeat(VALUE_BYTES_MAX - 1)));
    }
}
