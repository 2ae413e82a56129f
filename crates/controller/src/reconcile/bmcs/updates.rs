//! Firmware that a BMC took over: asked how far it is until it is done, so that a restart that it waits for is seen.
//!
//! If we crash here: the tasks are stored with the machine, and the next start goes on asking. A task that a BMC has forgotten has
//! ended; what it installed shows in the inventory.
//!
//! What a BMC calls pending has not begun: it is watched like what runs, because it may begin at any moment.

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

fn is_watched(state: &UpdateState) -> bool {
    matches!(state, UpdateState::Running | UpdateState::Staged)
}

/// Components that are being flashed or will be, and their tasks.
pub(super) fn running(updates: &Updates) -> Vec<(String, Task)> {
    let running = updates.components.iter().filter(|(_, update)| is_watched(&update.state));
    running.filter_map(|(name, update)| Some((name.clone(), Task { path: update.task.clone()? }))).collect()
}

/// How far they are, of those that could be asked, and the first error of the others.
pub(super) async fn look(
    client: &Client,
    tasks: Vec<(String, Task)>,
) -> (Vec<(String, UpdateState)>, Option<redfish::Error>) {
    let (mut seen, mut failed) = (Vec::with_capacity(tasks.len()), None);
    for (name, task) in tasks {
        match client.task(&task).await {
            Ok(TaskState::Running { .. }) => seen.push((name, UpdateState::Running)),
            Ok(TaskState::Done | TaskState::Gone) => seen.push((name, UpdateState::Ended)),
            Ok(TaskState::Staged) => seen.push((name, UpdateState::Staged)),
            Ok(TaskState::Failed { why }) => seen.push((name, UpdateState::Failed(why))),
            // A BMC that updates itself restarts.
            Err(error) => {
                tracing::info!(component = %name, %error, "how far its update is was not said");
                // A task that cannot be read says nothing of the next; the rest would fail likewise.
                let goes_on = error.kind() == "answer";
                failed.get_or_insert(error);
                if !goes_on {
                    break;
                }
            }
        }
    }
    (seen, failed)
}

/// Takes what was seen; true if something is otherwise than before.
pub(super) fn take(updates: &mut Updates, seen: Vec<(String, UpdateState)>, now: UnixMillis) -> bool {
    let (mut changed, restarted_at) = (false, updates.restarted_at);
    for (name, state) in seen {
        if let Some(update) = updates.components.get_mut(&name).filter(|it| is_watched(&it.state))
            && update.state != state
        {
            // What the machine was restarted for goes on after that, and is not restarted for again.
            if restarted_at.is_none_or(|at| at < update.at) {
                update.at = now;
            }
            update.state = state;
            changed = true;
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It may begin at any moment; and what it comes to after the restart is not restarted for again.
    #[test]
    fn what_has_not_begun_is_watched_like_what_runs() {
        let at = |state| Update { at: UnixMillis(1), state, task: Some("/t".to_owned()) };
        let states = [
            ("a", UpdateState::Running),
            ("b", UpdateState::Staged),
            ("c", UpdateState::Ended),
            ("d", UpdateState::Failed(String::new())),
        ];
        let components = states.map(|(name, state)| (name.to_owned(), at(state))).into();
        let mut updates = Updates { components, ..Updates::default() };
        let watched: Vec<_> = running(&updates).into_iter().map(|(name, _)| name).collect();
        assert_eq!(watched, ["a", "b"]);
        let mut see = |name: &str, state: UpdateState, restarted_at: Option<i64>, now: i64| {
            updates.restarted_at = restarted_at.map(UnixMillis);
            let changed = take(&mut updates, vec![(name.to_owned(), state)], UnixMillis(now));
            (changed, updates.components[name].at.0)
        };
        assert_eq!(see("b", UpdateState::Staged, None, 2), (false, 1));
        assert_eq!(see("b", UpdateState::Running, None, 3), (true, 3));
        assert_eq!(see("b", UpdateState::Staged, None, 4), (true, 4));
        assert_eq!(see("b", UpdateState::Running, Some(4), 5), (true, 4));
        assert_eq!(see("b", UpdateState::Ended, Some(4), 6), (true, 4));
        assert_eq!(see("c", UpdateState::Running, Some(4), 7), (false, 1), "it is over");
    }
}
