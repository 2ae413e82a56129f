//! `powered`: it becomes what the bill and the baseline say. Inventory first: nobody flashes or installs a machine that
//! is not the one; then firmware, then the installer and the agent.

use super::{Next, Situation, check};
use crate::action::Action;
use crate::machine::Lifecycle;
use crate::observed::{BmcSeen, Update, UpdateState, Updates};
use types::UnixMillis;

/// What a BMC says of an update is believed after this. One that restarts for its own firmware, or reads its parts anew, shows the
/// old version for some minutes: a DGX lists its parts 10 minutes after power on. And what is said not to have begun may only wait
/// for another to end; two that stand in a row follow each other sooner.
pub(super) const SETTLE_MILLIS: i64 = 10 * 60_000;

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
    // The inventory may show the new version before the BMC is done with it.
    match updates(situation).map(|updates| flashed(updates, situation.now)) {
        Some(names) if !names.is_empty() => {
            let text = format!("its BMC still updates {}", check::list(names));
            Next::stay(text, vec![Action::ReadInventory])
        }
        _ => agent(situation),
    }
}

/// What this stay and attempt asked for.
fn updates<'a>(situation: &Situation<'a>) -> Option<&'a Updates> {
    let machine = situation.machine;
    let ours = |it: &&Updates| (it.entry, it.attempt) == (machine.entry, machine.attempt);
    situation.observed.updates.as_ref().filter(ours)
}

/// Components that are being flashed, or may be at any moment: a machine that is restarted meanwhile may never start again. Also
/// those that the inventory shows as they shall be.
fn flashed(updates: &Updates, now: UnixMillis) -> Vec<String> {
    let flashed = |update: &Update| match update.state {
        UpdateState::Running => true,
        UpdateState::Staged => now.0 - update.at.0 < SETTLE_MILLIS,
        UpdateState::Ended | UpdateState::Failed(_) => false,
    };
    let all = updates.components.iter().filter(|(_, update)| flashed(update));
    all.map(|(name, _)| check::shown(name)).collect()
}

/// What is staged takes effect at a restart; it is asked for once everything that differs is staged and nothing is flashed.
/// Afterwards it is waited for what the inventory says.
fn firmware(situation: &Situation<'_>, bmc: &BmcSeen, components: Vec<String>, text: String) -> Next {
    let Some(updates) = updates(situation) else {
        return Next::stay(text, vec![Action::UpdateFirmware { components }, Action::ReadInventory]);
    };
    let update = |name: &String| updates.components.get(name);
    let asked = |name: &String| {
        update(name).is_some_and(|update| matches!(update.state, UpdateState::Staged | UpdateState::Ended))
    };
    // What ended shows the old version still, but was not read late enough to show the new one.
    let settles = |name: &String| {
        update(name).is_some_and(|it| it.state == UpdateState::Ended && bmc.at.0 <= it.at.0 + SETTLE_MILLIS)
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
    let (waiting, rest): (Vec<String>, Vec<String>) = components.into_iter().partition(|name| asked(name));
    if !rest.is_empty() {
        let text = if failed.is_empty() { text } else { format!("{text}; {}", check::list(failed)) };
        return Next::stay(text, vec![Action::UpdateFirmware { components: rest }, Action::ReadInventory]);
    }
    let last = waiting.iter().filter_map(|name| Some(update(name)?.at)).max();
    let (text, actions) = if updates.restarted_at.is_some_and(|at| Some(at) >= last) {
        (format!("{text}; it was restarted for it"), vec![Action::ReadInventory])
    } else if !flashed(updates, situation.now).is_empty() || waiting.iter().any(settles) {
        (format!("{text}; its BMC is perhaps not done with it"), vec![Action::ReadInventory])
    } else {
        (format!("{text}; staged, it is restarted"), vec![Action::PowerCycle, Action::ReadInventory])
    };
    Next::stay(text, actions)
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
