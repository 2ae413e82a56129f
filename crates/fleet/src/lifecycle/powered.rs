//! `powered`: it becomes what the bill and the baseline say. Inventory first: nobody flashes or installs a machine that
//! is not the one; then firmware, then the installer and the agent.

use super::{Next, Situation, check};
use crate::action::Action;
use crate::machine::Lifecycle;
use crate::observed::{BmcSeen, UpdateState, Updates};

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
        return firmware(situation, bmc, components, text);
    }
    agent(situation)
}

/// What is staged takes effect at a restart; it is asked for once everything that differs is staged. Afterwards it is waited for
/// what the inventory says.
fn firmware(situation: &Situation<'_>, bmc: &BmcSeen, components: Vec<String>, text: String) -> Next {
    let machine = situation.machine;
    let ours = |it: &&Updates| (it.entry, it.attempt) == (machine.entry, machine.attempt);
    let Some(updates) = situation.observed.updates.as_ref().filter(ours) else {
        return Next::stay(text, vec![Action::UpdateFirmware { components }, Action::ReadInventory]);
    };
    let update = |name: &String| updates.components.get(name);
    let staged = |name: &String| match update(name) {
        Some(update) => match update.state {
            UpdateState::Staged => true,
            // It shows the old version, and was read since.
            UpdateState::Ended => bmc.at > update.at,
            UpdateState::Running | UpdateState::Failed(_) => false,
        },
        None => false,
    };
    let failed: Vec<String> = components
        .iter()
        .filter_map(|name| match &update(name)?.state {
            UpdateState::Failed(why) => {
                Some(format!("{}: its update failed: {}", check::shown(name), check::said(why)))
            }
            _ => None,
        })
        .collect();
    let (waiting, rest): (Vec<String>, Vec<String>) = components.into_iter().partition(|name| staged(name));
    if !rest.is_empty() {
        let text = if failed.is_empty() { text } else { format!("{text}; {}", check::list(failed)) };
        return Next::stay(text, vec![Action::UpdateFirmware { components: rest }, Action::ReadInventory]);
    }
    let last = waiting.iter().filter_map(|name| Some(update(name)?.at)).max();
    match updates.restarted_at.is_some_and(|at| Some(at) >= last) {
        true => Next::stay(format!("{text}; it was restarted for it"), vec![Action::ReadInventory]),
        false => {
            Next::stay(format!("{text}; staged, it is restarted"), vec![Action::PowerCycle, Action::ReadInventory])
        }
    }
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
