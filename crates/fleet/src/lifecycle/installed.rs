//! `installed`: in its slot and cabled, or back from a repair. It waits for its BMC to answer, as this machine, and for
//! power. What the BMC said before this stay does not count: somebody had the machine open since.

use super::{Next, Situation, check};
use crate::action::Action;
use crate::machine::Lifecycle;
use crate::observed::Power;

pub(super) fn step(situation: &Situation<'_>) -> Next {
    let bmc = situation.observed.bmc.as_ref().filter(|bmc| bmc.at >= situation.machine.since);
    let Some(bmc) = bmc.filter(|bmc| bmc.silent_since.is_none()) else {
        let why = situation.observed.bmc_trouble.as_ref().map(|trouble| format!(": {}", check::said(&trouble.text)));
        let reason = format!("waits for its BMC to answer{}", why.unwrap_or_default());
        return Next::stay(reason, vec![Action::ReadInventory]);
    };
    if bmc.inventory.serial.is_empty() {
        if situation.stayed() > situation.rules.limits.inventory {
            let text = "its BMC answers and gives no serial number";
            return Next::Hold {
                finding: situation.finding("inventory_incomplete", "chassis", text),
                actions: vec![Action::ReadInventory],
            };
        }
        return Next::stay("its BMC gives no serial number yet", vec![Action::ReadInventory]);
    }
    if let Some(finding) = check::bmc_is_it(situation, bmc) {
        return Next::hold(finding);
    }
    match bmc.inventory.power {
        Power::On => Next::go(Lifecycle::Powered, "its BMC answers and it has power"),
        Power::Off => Next::stay("is switched on", vec![Action::PowerOn, Action::ReadInventory]),
        Power::Unknown => Next::stay("its BMC does not say whether it has power", vec![Action::ReadInventory]),
    }
}
