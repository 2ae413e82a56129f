//! What is done to machines over their BMCs, and the name under which it is done once.

use crate::reconcile::hands::{Wanted, Wants};
use fleet::action::Action;
use redfish::{BootTarget, Client, Reset};
use types::MachineId;

/// A wish of one stay.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wish {
    pub machine: MachineId,
    entry: u64,
    attempt: u32,
    action: String,
}

impl Wish {
    pub fn of(wanted: &Wanted, action: &Action) -> Wish {
        let action = serde_json::to_string(action).unwrap_or_default();
        Wish { machine: wanted.machine, entry: wanted.entry, attempt: wanted.attempt, action }
    }

    /// Whether it is of this stay.
    pub fn is_of(&self, wanted: &Wanted) -> bool {
        (self.machine, self.entry, self.attempt) == (wanted.machine, wanted.entry, wanted.attempt)
    }

    /// Whether it still is what its machine wants.
    pub fn is_wanted(&self, wants: &Wants, action: &Action) -> bool {
        wants.of(self.machine).is_some_and(|it| self.is_of(&it) && it.actions.contains(action))
    }
}

pub(super) fn is_deed(action: &Action) -> bool {
    use Action::{PowerCycle, PowerOff, PowerOn, Provision, UpdateFirmware};
    matches!(action, PowerOn | PowerOff | PowerCycle | Provision | UpdateFirmware { .. })
}

pub(super) async fn carry_out(client: &Client, action: &Action, firmware: Option<&str>) -> Result<(), redfish::Error> {
    match action {
        Action::PowerOn => client.reset(Reset::On).await.map(drop),
        Action::PowerOff => client.reset(Reset::ForceOff).await.map(drop),
        Action::PowerCycle => client.reset(Reset::Cycle).await.map(drop),
        // The installer comes over the network; it asks the site for the machine's token.
        Action::Provision => {
            client.boot_once(BootTarget::UefiHttp).await?;
            client.reset(Reset::Cycle).await.map(drop)
        }
        Action::UpdateFirmware { components } => {
            let base = firmware.ok_or_else(|| {
                redfish::Error::Input("no place for firmware is configured (`hoheit up --firmware-url`)".to_owned())
            })?;
            for component in components {
                client.update(&format!("{}/{component}", base.trim_end_matches('/')), &[]).await?;
            }
            Ok(())
        }
        _ => Ok(()),
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
