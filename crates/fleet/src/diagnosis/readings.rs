//! What the newest readings of BMC and agent say by themselves, without any history.

use super::{Severity, Symptom};
use crate::lifecycle::Rules;
use crate::machine::{Finding, MachineKind, Spec};
use crate::observed::{AgentSeen, BmcSeen, GpuSeen, Observed};
use types::UnixMillis;

/// A B200 has 18 links of the fifth generation, all to the machine's NVSwitches.
pub const NVLINKS_B200: u32 = 18;

/// Findings whose part is exchanged without anybody looking first. `by_person` is a person who has looked.
pub(super) const EXCHANGED: [&str; 5] = ["remap_failed", "gpu_missing", "part_faulty", "part_missing", "by_person"];

/// Parts of which a machine has more than it needs: one may fail.
const REDUNDANT: [&str; 4] = ["psu", "nic", "drive", "fan"];

/// Whether one such part may be missing: `psu3`.
pub(super) fn redundant(part: &str) -> bool {
    REDUNDANT.contains(&part.trim_end_matches(|c: char| c.is_ascii_digit()))
}

/// What the agent says of the GPU with this index.
pub(super) fn gpu(observed: &Observed, index: u32) -> Option<&GpuSeen> {
    observed.agent.as_ref()?.gpus.values().find(|gpu| gpu.index == index)
}

/// The part that is the GPU with this index. The driver counts from 0 along the bus, the bill from 1 along the slots: the
/// serial number tells, and only where it is not known do we count.
pub(super) fn part(observed: &Observed, index: u32) -> String {
    let serial = gpu(observed, index).map(|gpu| gpu.serial.as_str()).filter(|serial| !serial.is_empty());
    let named = serial.and_then(|serial| by_serial(observed, serial));
    named.map_or_else(|| format!("gpu{}", index.saturating_add(1)), str::to_owned)
}

/// The part that an agent names by its serial number, since it knows no slots; or the name that it gave.
pub(super) fn named(observed: &Observed, part: &str) -> String {
    by_serial(observed, part).unwrap_or(part).to_owned()
}

fn by_serial<'a>(observed: &'a Observed, serial: &str) -> Option<&'a str> {
    let mut parts = observed.bmc.as_ref()?.inventory.parts.iter();
    parts.find(|(_, part)| part.kind == "gpu" && part.serial == serial).map(|(name, _)| name.as_str())
}

/// The only GPU that the BMC lists and the agent does not see. None if there is not one such, or serial numbers are not known.
fn unseen<'a>(bmc: &'a BmcSeen, agent: &AgentSeen) -> Option<&'a str> {
    let seen = |serial: &str| agent.gpus.values().any(|gpu| gpu.serial == serial);
    let known = agent.gpus.values().all(|gpu| !gpu.serial.is_empty());
    let gpus = bmc.inventory.parts.iter().filter(|(_, part)| part.kind == "gpu");
    let mut unseen = gpus.filter(|(_, part)| !part.serial.is_empty() && !seen(&part.serial));
    let (name, _) = unseen.next().filter(|_| known)?;
    unseen.next().is_none().then_some(name.as_str())
}

/// Everything that is wrong now.
pub fn standing(spec: &Spec, observed: &Observed, rules: &Rules, now: UnixMillis) -> Vec<Symptom> {
    let mut found = Found { symptoms: Vec::new(), now };
    silence(&mut found, observed, rules);
    if let Some(agent) = &observed.agent {
        gpus(&mut found, spec, observed, agent);
    }
    if let Some(bmc) = &observed.bmc {
        parts(&mut found, spec, bmc);
    }
    found.symptoms
}

struct Found {
    symptoms: Vec<Symptom>,
    now: UnixMillis,
}

impl Found {
    fn add(&mut self, severity: Severity, code: &str, about: &str, text: String) {
        self.symptoms.push(Symptom { severity, finding: Finding::new(code, about, text, self.now) });
    }
}

/// An agent that is silent is a machine that nobody sees; a BMC that is silent is a repair that must be done by hand.
fn silence(found: &mut Found, observed: &Observed, rules: &Rules) {
    let since = |at: UnixMillis| found.now.0 - at.max(rules.listening_since).0;
    let agent = observed.agent.as_ref().is_some_and(|agent| since(agent.at) > rules.limits.agent_silent);
    let bmc = observed.bmc.as_ref().and_then(|bmc| bmc.silent_since);
    let bmc = bmc.is_some_and(|at| since(at) > rules.limits.bmc_silent);
    match (agent, bmc) {
        (true, true) => found.add(Severity::Drain, "machine_silent", "", "neither agent nor BMC answers".to_owned()),
        (true, false) => found.add(Severity::Drain, "agent_silent", "", "its agent does not report".to_owned()),
        (false, true) => found.add(Severity::Watch, "bmc_silent", "", "its BMC does not answer".to_owned()),
        (false, false) => {}
    }
}

fn gpus(found: &mut Found, spec: &Spec, observed: &Observed, agent: &AgentSeen) {
    let wanted = spec.parts.get("gpu").copied().unwrap_or(0);
    if agent.gpus.is_empty() && wanted > 0 {
        // Not all of them break at once: the driver is gone, and somebody looks.
        found.add(Severity::Drain, "gpus_unseen", "", format!("its agent sees none of {wanted} GPUs"));
    } else if agent.gpus.len() < wanted as usize {
        // Indices count from 0 in NVML; the one that is gone has none. Its serial number tells more.
        let unseen = observed.bmc.as_ref().and_then(|bmc| unseen(bmc, agent));
        let gone = (0..wanted).find(|index| !agent.gpus.values().any(|gpu| gpu.index == *index));
        let counted = || gone.map_or_else(|| "gpu".to_owned(), |index| part(observed, index));
        let about = unseen.map_or_else(counted, str::to_owned);
        let text = format!("its agent sees {} of {wanted} GPUs", agent.gpus.len());
        found.add(Severity::Exchange, "gpu_missing", &about, text);
    }
    for gpu in agent.gpus.values() {
        let about = part(observed, gpu.index);
        if gpu.remap_failed {
            found.add(Severity::Exchange, "remap_failed", &about, format!("{about}: a memory row cannot be remapped"));
        }
        if spec.kind == MachineKind::DgxB200 && gpu.nvlinks_up < NVLINKS_B200 {
            let text = format!("{about}: {} of {NVLINKS_B200} NVLinks are up", gpu.nvlinks_up);
            found.add(Severity::Drain, "nvlink_down", &about, text);
        }
        if gpu.ecc_uncorrected > 0 {
            let text = format!("{about}: {} uncorrectable memory errors since its reset", gpu.ecc_uncorrected);
            found.add(Severity::Watch, "ecc", &about, text);
        }
        if gpu.throttled {
            found.add(Severity::Watch, "throttled", &about, format!("{about}: {} °C, throttled", gpu.temperature_c));
        }
    }
}

/// What the BMC calls critical. What it leaves out of its list may be a bad reading: that is looked at, and a GPU's absence
/// is the agent's to confirm.
fn parts(found: &mut Found, spec: &Spec, bmc: &BmcSeen) {
    let inventory = &bmc.inventory;
    for (name, part) in inventory.parts.iter().filter(|(_, part)| !part.healthy) {
        let sick = inventory.parts.values().filter(|other| !other.healthy && other.kind == part.kind).count();
        let spare = REDUNDANT.contains(&part.kind.as_str()) && sick == 1;
        let severity = if spare { Severity::Watch } else { Severity::Exchange };
        found.add(severity, "part_faulty", name, format!("{name}: its BMC calls it critical"));
    }
    for (kind, wanted) in &spec.parts {
        let there = inventory.count(kind);
        if there < *wanted as usize {
            found.add(Severity::Watch, "part_missing", kind, format!("{kind}: wanted {wanted}, found {there}"));
        }
    }
}
