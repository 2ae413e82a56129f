//! Firmware that a BMC took over: asked how far it is until it is done, so that a restart that it waits for is seen.
//!
//! If we crash here: the tasks are stored with the machine, and the next start goes on asking. A task that a BMC has forgotten has
//! ended; what it installed shows in the inventory.

use super::deeds::Wish;
use fleet::action::Action;
use fleet::observed::{Update, UpdateState, Updates};
use redfish::{Client, Task, TaskState};
use types::UnixMillis;

/// A component takes minutes.
pub(super) const WATCH_EVERY: i64 = 15_000;

/// Notes what was asked of a BMC; true if that is of an update.
pub(super) fn note(updates: &mut Updates, wish: &Wish, action: &Action, task: Option<Task>, now: UnixMillis) -> bool {
    let begin = |updates: &mut Updates| {
        if (updates.entry, updates.attempt) != (wish.entry, wish.attempt) {
            *updates = Updates { entry: wish.entry, attempt: wish.attempt, ..Updates::default() };
        }
    };
    match action {
        Action::UpdateFirmware { components } => {
            begin(updates);
            let state = if task.is_some() { UpdateState::Running } else { UpdateState::Ended };
            let update = Update { at: now, state, task: task.map(|task| task.path) };
            updates.components.extend(components.iter().map(|name| (name.clone(), update.clone())));
            true
        }
        Action::PowerCycle => {
            begin(updates);
            updates.restarted_at = Some(now);
            true
        }
        _ => false,
    }
}

/// Components that are being flashed, and their tasks.
pub(super) fn running(updates: &Updates) -> Vec<(String, Task)> {
    let running = updates.components.iter().filter(|(_, update)| update.state == UpdateState::Running);
    running.filter_map(|(name, update)| Some((name.clone(), Task { path: update.task.clone()? }))).collect()
}

/// How far they are, of those that could be asked.
pub(super) async fn look(client: &Client, tasks: Vec<(String, Task)>) -> Vec<(String, UpdateState)> {
    let mut seen = Vec::with_capacity(tasks.len());
    for (name, task) in tasks {
        match client.task(&task).await {
            Ok(TaskState::Running { .. }) => seen.push((name, UpdateState::Running)),
            Ok(TaskState::Done | TaskState::Gone) => seen.push((name, UpdateState::Ended)),
            Ok(TaskState::Staged) => seen.push((name, UpdateState::Staged)),
            Ok(TaskState::Failed { why }) => seen.push((name, UpdateState::Failed(why))),
            // A BMC that updates itself restarts.
            Err(error) => {
                tracing::info!(component = %name, %error, "how far its update is was not said");
                break;
            }
        }
    }
    seen
}

/// Takes what was seen; true if something is otherwise than before.
pub(super) fn take(updates: &mut Updates, seen: Vec<(String, UpdateState)>, now: UnixMillis) -> bool {
    let mut changed = false;
    for (name, state) in seen {
        if let Some(update) = updates.components.get_mut(&name).filter(|it| it.state == UpdateState::Running)
            && update.state != state
        {
            (update.state, update.at) = (state, now);
            changed = true;
        }
    }
    changed
}
