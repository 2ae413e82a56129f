//! What a robot or a person did, or says. Refused with a reason, or the order as it is from then on. What is said twice
//! changes nothing the second time; what is said by the wrong one changes nothing at all.

use super::evidence::{self, Verdict};
use super::{Assignee, Evidence, Order, OrderState, Task, TaskState, Verb};
use crate::machine::Finding;
use std::collections::BTreeSet;
use types::{TaskId, UnixMillis};

/// Once and two repetitions; what failed three times needs another mind.
pub const ATTEMPTS_MAX: u32 = 3;
/// What is told about a failure is shown, not archived.
const NOTE_CHARS_MAX: usize = 512;
/// A task has a scan, a photograph, a measurement; 32 files are a mistake of a script.
const EVIDENCE_MAX: usize = 32;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A person stands at the hold point and says so.
    Confirm {
        task: TaskId,
        by: String,
    },
    /// Given to a robot or taken by a person; from whoever had it and had not begun. A hand-over is nothing else.
    Assign {
        task: TaskId,
        to: Assignee,
    },
    /// Whoever had it cannot go on: the robot is gone, the person has left.
    GiveBack {
        task: TaskId,
        why: String,
    },
    Start {
        task: TaskId,
        by: Assignee,
    },
    Done {
        task: TaskId,
        by: Assignee,
        evidence: Vec<Evidence>,
    },
    Fail {
        task: TaskId,
        by: Assignee,
        why: String,
        retriable: bool,
    },
    /// Left out, by a person who says why.
    Skip {
        task: TaskId,
        by: String,
        reason: String,
    },
    /// A person lets a held order go on; what failed is begun anew.
    Resume {
        by: String,
        reason: String,
    },
    Cancel {
        why: String,
    },
}

/// Why an event changed nothing. The fault is the reporter's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the order has no such task")]
    NoSuchTask,
    #[error("the order is {0}; nothing is done in it")]
    NotOpen(OrderState),
    #[error("the task is {0}; that is not possible now")]
    NotNow(TaskState),
    #[error("the task is somebody else's")]
    NotYours,
    #[error("somebody works in zone {0}; one at a time")]
    ZoneBusy(String),
    #[error("the task needs evidence: {0}")]
    EvidenceMissing(&'static str),
    #[error("more than {EVIDENCE_MAX} pieces of evidence")]
    EvidenceTooMuch,
    #[error("a scan is the machine's custody; it cannot be left out")]
    NeverSkipped,
}

/// Every legal change of a task's state.
const EDGES: &[(TaskState, TaskState)] = &[
    (TaskState::Waiting, TaskState::Held),
    (TaskState::Waiting, TaskState::Ready),
    (TaskState::Waiting, TaskState::Skipped),
    (TaskState::Held, TaskState::Ready),
    (TaskState::Held, TaskState::Skipped),
    (TaskState::Ready, TaskState::Assigned),
    (TaskState::Ready, TaskState::Skipped),
    (TaskState::Assigned, TaskState::Ready),
    (TaskState::Assigned, TaskState::Running),
    (TaskState::Assigned, TaskState::Failed),
    (TaskState::Assigned, TaskState::Skipped),
    (TaskState::Running, TaskState::Done),
    (TaskState::Running, TaskState::Failed),
    // Begun anew: for two people again where it was held for two.
    (TaskState::Running, TaskState::Ready),
    (TaskState::Running, TaskState::Held),
    (TaskState::Assigned, TaskState::Held),
    (TaskState::Failed, TaskState::Ready),
    (TaskState::Failed, TaskState::Held),
    (TaskState::Failed, TaskState::Skipped),
];

/// Whether the table has this edge.
pub fn legal(from: TaskState, to: TaskState) -> bool {
    EDGES.contains(&(from, to))
}

/// Applies one event. `busy` are the zones in which tasks of *other* orders run now.
pub fn apply(order: &Order, event: &Event, busy: &BTreeSet<String>, now: UnixMillis) -> Result<Order, Refusal> {
    let mut next = order.clone();
    match event {
        Event::Confirm { task, by } => confirm(&mut next, *task, by, now)?,
        Event::Assign { task, to } => assign(&mut next, *task, to, now)?,
        Event::GiveBack { task, why } => give_back(&mut next, *task, why, now)?,
        Event::Start { task, by } => start(&mut next, *task, by, busy, now)?,
        Event::Done { task, by, evidence } => done(&mut next, *task, by, evidence, now)?,
        Event::Fail { task, by, why, retriable } => fail(&mut next, *task, by, (why, *retriable), now)?,
        Event::Skip { task, by, reason } => skip(&mut next, *task, by, reason, now)?,
        Event::Resume { by, reason } => resume(&mut next, by, reason, now)?,
        Event::Cancel { why } => cancel(&mut next, why, now)?,
    }
    advance(&mut next, now);
    Ok(next)
}

/// The task, in an order that is open.
fn open(order: &mut Order, id: TaskId) -> Result<&mut Task, Refusal> {
    if order.state != OrderState::Open {
        return Err(Refusal::NotOpen(order.state));
    }
    order.tasks.iter_mut().find(|task| task.id == id).ok_or(Refusal::NoSuchTask)
}

/// The only place where a task's state changes.
fn enter(task: &mut Task, to: TaskState, now: UnixMillis) {
    assert!(legal(task.state, to), "{} -> {to} is not an edge; no event may ask for it", task.state);
    task.state = to;
    task.changed_at = now;
}

fn confirm(order: &mut Order, id: TaskId, by: &str, now: UnixMillis) -> Result<(), Refusal> {
    let task = open(order, id)?;
    // Who confirms again counts once, and is not told off for it.
    if task.confirmed_by.iter().any(|who| who == by) {
        return Ok(());
    }
    if task.state != TaskState::Held {
        return Err(Refusal::NotNow(task.state));
    }
    task.confirmed_by.push(by.to_owned());
    task.changed_at = now;
    Ok(())
}

fn assign(order: &mut Order, id: TaskId, to: &Assignee, now: UnixMillis) -> Result<(), Refusal> {
    let task = open(order, id)?;
    match task.state {
        TaskState::Ready => enter(task, TaskState::Assigned, now),
        TaskState::Assigned if task.assignee.as_ref() == Some(to) => return Ok(()),
        TaskState::Assigned => task.changed_at = now,
        other => return Err(Refusal::NotNow(other)),
    }
    task.assignee = Some(to.clone());
    Ok(())
}

fn give_back(order: &mut Order, id: TaskId, why: &str, now: UnixMillis) -> Result<(), Refusal> {
    let task = open(order, id)?;
    match task.state {
        // Nothing was begun, so nothing failed.
        TaskState::Assigned => {
            enter(task, TaskState::Ready, now);
            task.assignee = None;
            task.note = Some(note(why));
            Ok(())
        }
        TaskState::Running => {
            again(order, id, why, now);
            Ok(())
        }
        other => Err(Refusal::NotNow(other)),
    }
}

fn start(
    order: &mut Order,
    id: TaskId,
    by: &Assignee,
    busy: &BTreeSet<String>,
    now: UnixMillis,
) -> Result<(), Refusal> {
    let task = open(order, id)?;
    if task.assignee.as_ref().is_some_and(|who| who != by) {
        return Err(Refusal::NotYours);
    }
    match task.state {
        TaskState::Running => return Ok(()),
        TaskState::Assigned | TaskState::Ready => {}
        other => return Err(Refusal::NotNow(other)),
    }
    if !task.zone.is_empty() && busy.contains(&task.zone) {
        return Err(Refusal::ZoneBusy(task.zone.clone()));
    }
    if task.state == TaskState::Ready {
        enter(task, TaskState::Assigned, now);
        task.assignee = Some(by.clone());
    }
    enter(task, TaskState::Running, now);
    Ok(())
}

fn done(order: &mut Order, id: TaskId, by: &Assignee, evidence: &[Evidence], now: UnixMillis) -> Result<(), Refusal> {
    // Said twice: the second time it is done already, and the order may be over.
    let said = order.task(id).is_some_and(|task| task.state == TaskState::Done && task.assignee.as_ref() == Some(by));
    if said {
        return Ok(());
    }
    let task = open(order, id)?;
    if task.assignee.as_ref() != Some(by) {
        return Err(Refusal::NotYours);
    }
    if task.state != TaskState::Running {
        return Err(Refusal::NotNow(task.state));
    }
    if evidence.len() > EVIDENCE_MAX {
        return Err(Refusal::EvidenceTooMuch);
    }
    let task = order.task(id).ok_or(Refusal::NoSuchTask)?;
    let verdict = evidence::judge(order, task, evidence);
    if let Verdict::Missing(what) = verdict {
        return Err(Refusal::EvidenceMissing(what));
    }
    let task = open(order, id)?;
    // What was shown is kept, right or wrong.
    task.evidence.extend_from_slice(evidence);
    let excess = task.evidence.len().saturating_sub(EVIDENCE_MAX);
    task.evidence.drain(..excess);
    match verdict {
        Verdict::Shown | Verdict::Missing(_) => {
            enter(task, TaskState::Done, now);
            task.note = None;
            if task.verb == Verb::Scan && order.serial.is_none() {
                order.serial = evidence::scanned(evidence).map(|it| it.value.clone());
            }
        }
        Verdict::Wrong(why) => again(order, id, &why, now),
        Verdict::Other(why) => hold(order, id, "serial_differs", &why, now),
    }
    Ok(())
}

fn fail(
    order: &mut Order,
    id: TaskId,
    by: &Assignee,
    (why, retriable): (&str, bool),
    now: UnixMillis,
) -> Result<(), Refusal> {
    let task = open(order, id)?;
    if task.assignee.as_ref() != Some(by) {
        return Err(Refusal::NotYours);
    }
    if !matches!(task.state, TaskState::Running | TaskState::Assigned) {
        return Err(Refusal::NotNow(task.state));
    }
    if retriable {
        again(order, id, why, now);
    } else {
        hold(order, id, "task_failed", why, now);
    }
    Ok(())
}

/// Begun anew, by anybody, until it was begun [`ATTEMPTS_MAX`] times.
fn again(order: &mut Order, id: TaskId, why: &str, now: UnixMillis) {
    let Some(task) = order.tasks.iter_mut().find(|task| task.id == id) else { return };
    task.attempts += 1;
    if task.attempts >= ATTEMPTS_MAX {
        let why = format!("failed {} times; last: {why}", task.attempts);
        return hold(order, id, "task_failed", &why, now);
    }
    begin_anew(task, now);
    task.note = Some(note(why));
}

/// Nobody's again, and confirmed by nobody: what two people saw was another moment.
fn begin_anew(task: &mut Task, now: UnixMillis) {
    let to = if task.confirmations_min > 0 { TaskState::Held } else { TaskState::Ready };
    enter(task, to, now);
    task.assignee = None;
    task.confirmed_by.clear();
}

/// A person must look.
fn hold(order: &mut Order, id: TaskId, code: &str, why: &str, now: UnixMillis) {
    let Some(task) = order.tasks.iter_mut().find(|task| task.id == id) else { return };
    enter(task, TaskState::Failed, now);
    task.note = Some(note(why));
    order.state = OrderState::Held;
    order.finding = Some(Finding::new(code, task.verb.as_str(), format!("{}: {}", task.verb, note(why)), now));
}

fn skip(order: &mut Order, id: TaskId, by: &str, reason: &str, now: UnixMillis) -> Result<(), Refusal> {
    let task = order.tasks.iter_mut().find(|task| task.id == id).ok_or(Refusal::NoSuchTask)?;
    if !matches!(order.state, OrderState::Open | OrderState::Held) {
        return Err(Refusal::NotOpen(order.state));
    }
    if task.verb == Verb::Scan {
        return Err(Refusal::NeverSkipped);
    }
    match task.state {
        TaskState::Skipped => return Ok(()),
        TaskState::Running | TaskState::Done => return Err(Refusal::NotNow(task.state)),
        _ => enter(task, TaskState::Skipped, now),
    }
    task.note = Some(note(&format!("left out by {by}: {reason}")));
    // What held the order was this task.
    if order.state == OrderState::Held && !order.tasks.iter().any(|task| task.state == TaskState::Failed) {
        order.state = OrderState::Open;
        order.finding = None;
    }
    Ok(())
}

fn resume(order: &mut Order, by: &str, reason: &str, now: UnixMillis) -> Result<(), Refusal> {
    if order.state != OrderState::Held {
        return Err(Refusal::NotOpen(order.state));
    }
    for task in order.tasks.iter_mut().filter(|task| task.state == TaskState::Failed) {
        begin_anew(task, now);
        task.attempts = 0;
        task.note = Some(note(&format!("begun anew by {by}: {reason}")));
    }
    order.state = OrderState::Open;
    order.finding = None;
    Ok(())
}

fn cancel(order: &mut Order, why: &str, now: UnixMillis) -> Result<(), Refusal> {
    match order.state {
        OrderState::Cancelled => return Ok(()),
        OrderState::Done => return Err(Refusal::NotOpen(order.state)),
        OrderState::Open | OrderState::Held => {}
    }
    order.state = OrderState::Cancelled;
    order.finding = Some(Finding::new("cancelled", "", note(why), now));
    Ok(())
}

/// What follows by itself: the next task waits no more, two people are enough, all done is done.
pub(super) fn advance(order: &mut Order, now: UnixMillis) {
    if order.state != OrderState::Open {
        return;
    }
    let over = |task: &Task| matches!(task.state, TaskState::Done | TaskState::Skipped);
    let Some(task) = order.tasks.iter_mut().find(|task| !over(task)) else {
        order.state = OrderState::Done;
        order.finding = None;
        return;
    };
    let enough = task.confirmed_by.len() >= usize::from(task.confirmations_min);
    match task.state {
        TaskState::Waiting if !enough => enter(task, TaskState::Held, now),
        TaskState::Waiting => enter(task, TaskState::Ready, now),
        TaskState::Held if enough => enter(task, TaskState::Ready, now),
        _ => {}
    }
}

fn note(text: &str) -> String {
    text.chars().take(NOTE_CHARS_MAX).collect()
}
