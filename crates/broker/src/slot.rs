//! What is stored under an id, and what a step makes of it.
//!
//! A tombstone is what a DELETE leaves, also the DELETE of something that we never heard of: the PUT that it overtook may
//! still be on its way.

use crate::{Answer, Refusal};
use types::{OperationId, UnixMillis};

/// For how long a PUT on a deleted id makes nothing. Platforms give a call 60 seconds and proxies may hold it for a few
/// minutes more; ten minutes later nothing of it is on its way, and platforms that use an id again may do so.
pub const TOMBSTONE_MILLIS: i64 = 10 * 60 * 1_000;

/// The longest id, in characters: platforms send UUIDs of 36.
const ID_CHARS_MAX: usize = 128;

/// Under one id.
#[derive(Debug, Clone, PartialEq)]
pub enum Slot<T> {
    Free,
    Held(T),
    /// Deleted. `operation` is what the DELETE put an end to.
    Gone {
        until: UnixMillis,
        operation: Option<OperationId>,
    },
}

impl<T> Slot<T> {
    /// A tombstone whose time is over is nothing.
    pub(crate) fn at(&self, now: UnixMillis) -> Slot<&T> {
        match self {
            Slot::Held(held) => Slot::Held(held),
            Slot::Gone { until, operation } if *until > now => Slot::Gone { until: *until, operation: *operation },
            Slot::Free | Slot::Gone { .. } => Slot::Free,
        }
    }
}

/// What becomes of the slot.
#[derive(Debug, Clone, PartialEq)]
pub enum Next<T> {
    Same,
    Held(T),
    Gone { until: UnixMillis, operation: Option<OperationId> },
}

impl<T> Next<T> {
    pub(crate) fn gone(now: UnixMillis, operation: Option<OperationId>) -> Self {
        Next::Gone { until: UnixMillis(now.0.saturating_add(TOMBSTONE_MILLIS)), operation }
    }
}

/// What else is to be done, in the same transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Nothing,
    /// Make the project (or the key) that `next` names.
    Make,
    /// Give the project the settings of `next`.
    Change,
    /// Revoke the key, or all keys of the project.
    End,
}

/// The decision.
#[derive(Debug, Clone, PartialEq)]
pub struct Step<T> {
    pub next: Next<T>,
    pub act: Act,
    /// What to answer once the rest is done. A 410 may come with a tombstone to write, so a refusal can be an answer too.
    pub answer: Result<Answer, Refusal>,
}

impl<T> Step<T> {
    pub(crate) fn same(answer: Answer) -> Self {
        Self { next: Next::Same, act: Act::Nothing, answer: Ok(answer) }
    }
}

/// Accepts an id of an instance or a binding: 1 to 128 printable characters.
pub fn id(what: &str, text: &str) -> Result<(), Refusal> {
    let good = (1..=ID_CHARS_MAX).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    if good {
        Ok(())
    } else {
        Err(Refusal::bad(format!("{what}: give 1 to {ID_CHARS_MAX} printable characters, a UUID for example.")))
    }
}
