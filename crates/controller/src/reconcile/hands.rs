//! What is wanted of the world outside the database, machine by machine: read by the executors for BMCs and by the
//! listener for agents.
//!
//! Kept in memory only: the machines' rows hold the same, and a start fills this from them. What is wanted is wanted until
//! a step says otherwise; an executor may do it twice, and must not do harm by it.

use fleet::action::Action;
use fleet::machine::Lifecycle;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::Notify;
use types::MachineId;

/// What one machine wants; perhaps nothing, and then it is known at least what it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub machine: MachineId,
    pub slot: String,
    pub lifecycle: Lifecycle,
    /// With `attempt` the name of what is wanted: the same name is the same wish.
    pub entry: u64,
    pub attempt: u32,
    pub actions: Vec<Action>,
}

/// Everything that is wanted now. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Wants(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    wanted: RwLock<BTreeMap<MachineId, Wanted>>,
    changed: Notify,
    /// Of the reconciler that fills this; executors name it before they do what cannot be taken back.
    epoch: AtomicU64,
}

impl Wants {
    /// A reconciler fills this from now on.
    pub fn begin(&self, epoch: u64) {
        self.0.epoch.store(epoch, Ordering::Relaxed);
    }

    pub fn epoch(&self) -> u64 {
        self.0.epoch.load(Ordering::Relaxed)
    }

    /// Another controller has taken over from the reconciler of this epoch: nothing is wanted any more. What it wanted last is
    /// old, and machines that serve would be installed anew by it.
    pub fn end(&self, epoch: u64) {
        let mut all = self.0.wanted.write().unwrap_or_else(PoisonError::into_inner);
        if self.epoch() == epoch {
            all.clear();
        }
    }

    /// Replaces what a machine wants.
    pub fn set(&self, wanted: Wanted) {
        let mut all = self.0.wanted.write().unwrap_or_else(PoisonError::into_inner);
        let before = match wanted.lifecycle {
            Lifecycle::Retired if wanted.actions.is_empty() => all.remove(&wanted.machine),
            _ => all.insert(wanted.machine, wanted.clone()),
        };
        let quiet = |wanted: Option<&Wanted>| wanted.is_none_or(|wanted| wanted.actions.is_empty());
        let changed = before.as_ref() != Some(&wanted) && !(quiet(before.as_ref()) && quiet(Some(&wanted)));
        drop(all);
        if changed {
            self.0.changed.notify_one();
        }
    }

    pub fn of(&self, machine: MachineId) -> Option<Wanted> {
        self.0.wanted.read().unwrap_or_else(PoisonError::into_inner).get(&machine).cloned()
    }

    /// All machines that want something that `pick` picks, each with the picked actions only.
    pub fn picked(&self, pick: impl Fn(&Action) -> bool) -> Vec<Wanted> {
        let all = self.0.wanted.read().unwrap_or_else(PoisonError::into_inner);
        let picked = all.values().filter_map(|wanted| {
            let actions: Vec<Action> = wanted.actions.iter().filter(|action| pick(action)).cloned().collect();
            (!actions.is_empty()).then(|| Wanted { actions, ..wanted.clone() })
        });
        picked.collect()
    }

    /// Waits until something is wanted that was not, or the other way round; at once if that was so since the last call. For
    /// one who waits.
    pub async fn changed(&self) {
        self.0.changed.notified().await;
    }
}
