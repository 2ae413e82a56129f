//! `powered`: it becomes what the bill and the baseline say. Inventory first: nobody flashes or installs a machine that
//! is not the one; then firmware, then the installer and the agent.

use super::{Next, Situation, check};
use crate::action::Action;
use crate::machine::Lifecycle;

pub(super) fn step(situation: &Situation<'_>) -> Next {
    if let Some(finding) = check::identity(situation) {
        return Next::hold(finding);
    }
    let Some(bmc) = &situation.observed.bmc else {
        return Next::stay("waits for its inventory", vec![Action::ReadInventory]);
    };
    let inventory = &bmc.inventory;
    if let Some(finding) = check::bill(situation, inventory) {
        return Next::hold(finding);
    }
    let limits = &situation.rules.limits;
    let missing = check::missing(situation, inventory);
    if !missing.is_empty() {
        let text = format!("inventory is incomplete: {}", check::list(missing));
        if situation.stayed() > limits.inventory {
            let finding = situation.finding("inventory_incomplete", "", text);
            return Next::Hold { finding, actions: vec![Action::ReadInventory] };
        }
        return Next::stay(text, vec![Action::ReadInventory]);
    }
    if let Some((name, _)) = inventory.parts.iter().find(|(_, part)| !part.healthy) {
        let text = format!("{}: its BMC calls it critical", check::shown(name));
        return Next::hold(situation.finding("part_faulty", name, text));
    }
    if let Some(finding) = check::secure_boot(situation, inventory) {
        return Next::hold(finding);
    }
    let (components, texts): (Vec<_>, Vec<_>) = check::firmware(situation, inventory).into_iter().unzip();
    if !components.is_empty() {
        let text = format!("firmware is not the baseline: {}", check::list(texts));
        if situation.stayed() > limits.firmware {
            return Next::hold(situation.finding("firmware_differs", "", text));
        }
        return Next::stay(text, vec![Action::UpdateFirmware { components }, Action::ReadInventory]);
    }
    agent(situation)
}

/// A new machine is installed at once; one that had an agent before is given the time to boot.
fn agent(situation: &Situation<'_>) -> Next {
    let Some(agent) = &situation.observed.agent else {
        return Next::stay("waits for its agent to enrol", vec![Action::Provision]);
    };
    if agent.at < situation.machine.since {
        let late = situation.stayed() > situation.rules.limits.agent_return;
        let actions = if late { vec![Action::Provision] } else { Vec::new() };
        return Next::stay("waits for its agent to report", actions);
    }
    let wanted = situation.spec.parts.get("gpu").copied().unwrap_or(0) as usize;
    if agent.gpus.len() < wanted {
        let text = format!("its agent sees {} of {wanted} GPUs", agent.gpus.len());
        if situation.stayed() > situation.rules.limits.inventory {
            return Next::hold(situation.finding("inventory_incomplete", "gpu", text));
        }
        return Next::stay(text, Vec::new());
    }
    if let Some(finding) = check::gpus(situation) {
        return Next::hold(finding);
    }
    Next::go(Lifecycle::Provisioned, "inventory as the bill, firmware as the baseline, agent enrolled")
}
