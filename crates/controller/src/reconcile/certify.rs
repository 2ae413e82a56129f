//! The claims of a certificate, from what was seen: nothing is in it that nobody saw.
//!
//! What it is not: it does not decide that the machine is valid (`fleet::lifecycle` does), and it signs nothing
//! (`ledger::acceptance`).

use fleet::machine::{Machine, Spec};
use fleet::observed::{Observed, TestOutcome};
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

/// None if something is missing that a certificate must speak of; the machine then stays as it is.
pub fn claims(seen: &Seen<'_>, id: AcceptanceId, opening: &[u8; 32], now: UnixMillis) -> Option<AcceptanceClaims> {
    let bmc = seen.observed.bmc.as_ref()?;
    let validation = seen.observed.validation.as_ref()?;
    let inventory = &bmc.inventory;
    let mut serials = std::collections::BTreeMap::from([("chassis".to_owned(), inventory.serial.clone())]);
    let parts = inventory.parts.iter().filter(|(_, part)| !part.serial.is_empty());
    serials.extend(parts.map(|(name, part)| (name.clone(), part.serial.clone())));
    let since = seen.former.map_or(UnixMillis(i64::MIN), |former| former.at);
    let done = seen.orders.iter().filter(|row| row.order.state == OrderState::Done && row.order.made_at >= since);
    Some(AcceptanceClaims {
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
        validated_at: validation.ended_at?,
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
        value: test.value.clone(),
    }
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
