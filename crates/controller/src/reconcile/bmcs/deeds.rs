//! What is done to machines over their BMCs, and the name under which it is done once.

use super::{FIRMWARE_AGAIN, PROVISION_AGAIN, SEND_AGAIN};
use crate::reconcile::hands::{Wanted, Wants};
use fleet::action::Action;
use redfish::{BootTarget, Client, Reset};
use store::Sent;
use types::{MachineId, UnixMillis};

/// A wish of one stay.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wish {
    pub machine: MachineId,
    pub entry: u64,
    pub attempt: u32,
    action: String,
}

impl Wish {
    pub fn of(wanted: &Wanted, action: &Action) -> Wish {
        let action = serde_json::to_string(action).unwrap_or_default();
        Wish { machine: wanted.machine, entry: wanted.entry, attempt: wanted.attempt, action }
    }

    /// As it is written down.
    pub fn sent(&self, again_at: UnixMillis) -> Sent {
        let (entry, attempt, what) = (self.entry, self.attempt, self.action.clone());
        Sent { machine: self.machine, what, entry, attempt, again_at }
    }

    pub fn of_sent(sent: Sent) -> (Wish, UnixMillis) {
        let Sent { machine, what: action, entry, attempt, again_at } = sent;
        (Wish { machine, entry, attempt, action }, again_at)
    }

    /// Whether it is of this stay.
    pub fn is_of(&self, wanted: &Wanted) -> bool {
        (self.machine, self.entry, self.attempt) == (wanted.machine, wanted.entry, wanted.attempt)
    }

    /// Whether it still is what its machine wants.
    pub fn is_wanted(&self, wants: &Wants, action: &Action) -> bool {
        wants.of(self.machine).is_some_and(|it| self.is_of(&it) && each(&it.actions).any(|one| one == *action))
    }
}

pub(super) fn is_deed(action: &Action) -> bool {
    use Action::{PowerCycle, PowerOff, PowerOn, Provision, UpdateFirmware};
    matches!(action, PowerOn | PowerOff | PowerCycle | Provision | UpdateFirmware { .. })
}

/// Deeds as they are sent, each by itself: of firmware one component, since the list shrinks while they are flashed.
pub(super) fn each(actions: &[Action]) -> impl Iterator<Item = Action> + '_ {
    actions.iter().filter(|action| is_deed(action)).flat_map(|action| match action {
        Action::UpdateFirmware { components } => {
            let one = |name: &String| Action::UpdateFirmware { components: vec![name.clone()] };
            components.iter().map(one).collect()
        }
        other => vec![other.clone()],
    })
}

/// What does harm if it is done while it is under way: written down before it is sent, and for how long it is let be. The
/// others bring about what is so already.
pub(super) fn once(action: &Action) -> Option<i64> {
    match action {
        Action::Provision => Some(PROVISION_AGAIN),
        Action::UpdateFirmware { .. } => Some(FIRMWARE_AGAIN),
        Action::PowerCycle => Some(SEND_AGAIN),
        _ => None,
    }
}

/// A deed in words, for people.
pub(super) fn words(action: &Action) -> String {
    match action {
        Action::PowerOn => "switching it on".to_owned(),
        Action::PowerOff => "switching it off".to_owned(),
        Action::PowerCycle => "restarting it".to_owned(),
        Action::Provision => "booting the installer".to_owned(),
        Action::UpdateFirmware { components } => format!("updating {}", components.join(", ")),
        _ => "what is wanted".to_owned(),
    }
}

/// Does it; answers what to watch.
pub(super) async fn carry_out(
    client: &Client,
    action: &Action,
    firmware: Option<&str>,
) -> Result<Option<redfish::Task>, redfish::Error> {
    let nothing = |_| None;
    match action {
        Action::PowerOn => client.reset(Reset::On).await.map(nothing),
        Action::PowerOff => client.reset(Reset::ForceOff).await.map(nothing),
        Action::PowerCycle => client.reset(Reset::Cycle).await.map(nothing),
        // The installer comes over the network; it asks the site for the machine's token.
        Action::Provision => {
            client.boot_once(BootTarget::UefiHttp).await?;
            client.reset(Reset::Cycle).await.map(nothing)
        }
        Action::UpdateFirmware { components } => {
            let base = firmware.ok_or_else(|| {
                redfish::Error::Input("no place for firmware is configured (`hoheit up --firmware-url`)".to_owned())
            })?;
            // One at a time ([`each`]).
            match components.first() {
                Some(component) => client.update(&format!("{}/{component}", base.trim_end_matches('/')), &[]).await,
                None => Ok(None),
            }
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleet::machine::Lifecycle;

    /// A deed waits for its place. Nobody switches a machine off that went on meanwhile.
    #[test]
    fn a_wish_is_of_its_stay_and_attempt() {
        let wanted = |entry, attempt, actions: &[Action]| {
            let (machine, slot, actions) = (MachineId(1), "h1".to_owned(), actions.to_vec());
            Wanted { machine, slot, lifecycle: Lifecycle::Repair, entry, attempt, actions }
        };
        let first = wanted(4, 0, &[Action::PowerOff, Action::ReadInventory]);
        let (wants, wish) = (Wants::default(), Wish::of(&first, &Action::PowerOff));
        let check = |now: Wanted, still: bool| {
            wants.set(now.clone());
            assert_eq!(wish.is_wanted(&wants, &Action::PowerOff), still, "{now:?}");
        };
        check(first.clone(), true);
        check(wanted(4, 0, &[Action::ReadInventory]), false);
        check(wanted(4, 1, &[Action::PowerOff]), false);
        check(wanted(5, 0, &[Action::PowerOff]), false);
        check(wanted(4, 0, &[]), false);
    }
}
