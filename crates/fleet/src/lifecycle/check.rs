//! Is it this machine, and is it whole? What was scanned, what the BMC says and what the agent reads by itself must tell
//! one story; each difference is shown as part, wanted, found.

use super::Situation;
use crate::machine::Finding;
use crate::observed::{BmcSeen, Inventory};
use std::collections::BTreeMap;

/// Texts stay readable, whatever a BMC puts into a serial number: so many differences are shown, and so many characters.
const SHOWN_MAX: usize = 8;
const WORD_CHARS_MAX: usize = 64;
/// Of a sentence that a BMC or an agent says.
const SENTENCE_CHARS_MAX: usize = 300;

/// A foreign word in one of our sentences.
pub(super) fn shown(word: &str) -> String {
    if word.is_empty() {
        return "nothing".to_owned();
    }
    word.chars().take(WORD_CHARS_MAX).map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// A foreign sentence in one of ours.
pub(super) fn said(sentence: &str) -> String {
    sentence.chars().take(SENTENCE_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn difference(part: &str, wanted: &str, found: &str) -> String {
    format!("{}: wanted {}, found {}", shown(part), shown(wanted), shown(found))
}

/// The serial number as scanned against the bill.
pub(super) fn custody(situation: &Situation<'_>) -> Option<Finding> {
    let Some(custody) = &situation.observed.custody else {
        let text = "nobody scanned its serial number; the order is done and custody is missing";
        return Some(situation.finding("custody_missing", "chassis", text));
    };
    let wanted = situation.serial()?;
    if custody.serial == wanted && !custody.serial.is_empty() {
        return None;
    }
    let text = format!("{} (scanned by {})", difference("chassis", wanted, &custody.serial), shown(&custody.by));
    Some(situation.finding("serial_differs", "chassis", text))
}

/// The BMC that answers is this machine's: asked once, when it first answers in a stay.
pub(super) fn bmc_is_it(situation: &Situation<'_>, bmc: &BmcSeen) -> Option<Finding> {
    let wanted = situation.serial().unwrap_or_default();
    let found = bmc.inventory.serial.as_str();
    (found != wanted).then(|| {
        let text = format!("{} (said by its BMC)", difference("chassis", wanted, found));
        situation.finding("serial_differs", "chassis", text)
    })
}

/// After its BMC was found to be the right one: nobody may tell another story.
pub(super) fn identity(situation: &Situation<'_>) -> Option<Finding> {
    let wanted = situation.serial().unwrap_or_default();
    if let Some(bmc) = &situation.observed.bmc {
        let found = bmc.inventory.serial.as_str();
        if !found.is_empty() && found != wanted {
            let text = format!("{}: its BMC said otherwise before", difference("chassis", wanted, found));
            return Some(situation.finding("serial_changed", "chassis", text));
        }
        if let Some((serial, parts)) = doubled(&bmc.inventory) {
            let text = format!("{parts} have one serial number, {}: its BMC cannot be right", shown(serial));
            return Some(situation.finding("serial_doubled", &parts, text));
        }
    }
    let agent = situation.observed.agent.as_ref()?;
    if !agent.serial.is_empty() && agent.serial != wanted {
        let text =
            format!("{} (read by its agent): another machine's agent", difference("chassis", wanted, &agent.serial));
        return Some(situation.finding("agent_is_another", "chassis", text));
    }
    if agent.clock_skew_ms.unsigned_abs() > situation.rules.limits.clock_skew.unsigned_abs() {
        let text = format!("its agent's clock is off by {}", span(agent.clock_skew_ms));
        return Some(situation.finding("clock_skew", "", text));
    }
    None
}

/// A span that people read: `1 d 0 h`, `-5 min 1 s`.
fn span(millis: i64) -> String {
    let (sign, seconds) = (if millis < 0 { "-" } else { "" }, millis.unsigned_abs() / 1_000);
    match seconds {
        0..3_600 => format!("{sign}{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{sign}{} h {} min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{sign}{} d {} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// Two parts of one kind with one serial number.
fn doubled(inventory: &Inventory) -> Option<(&str, String)> {
    let mut seen: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    for (name, part) in inventory.parts.iter().filter(|(_, part)| !part.serial.is_empty() && part.kind == "gpu") {
        if let Some(other) = seen.insert((&part.kind, &part.serial), name) {
            return Some((&part.serial, format!("{other} and {name}")));
        }
    }
    None
}

/// Serial numbers of the bill that differ from what the BMC lists. What it does not list is [`missing`].
pub(super) fn bill(situation: &Situation<'_>, inventory: &Inventory) -> Option<Finding> {
    let mut found = Vec::new();
    for (name, wanted) in
        situation.spec.serials.iter().filter(|(name, wanted)| *name != "chassis" && !wanted.is_empty())
    {
        match inventory.parts.get(name) {
            Some(part) if !part.serial.is_empty() && part.serial != *wanted => {
                found.push((name.as_str(), difference(name, wanted, &part.serial)));
            }
            _ => {}
        }
    }
    let (about, _) = *found.first().as_ref()?;
    let text = list(found.iter().map(|(_, text)| text.clone()).collect());
    Some(situation.finding("serial_differs", about, text))
}

/// GPUs that the agent reads and the bill does not have, where the bill has them all: the driver sees boards that were exchanged
/// behind a BMC's back, or a BMC that repeats what it was told.
pub(super) fn gpus(situation: &Situation<'_>) -> Option<Finding> {
    let agent = situation.observed.agent.as_ref()?;
    let wanted = situation.spec.parts.get("gpu").copied().unwrap_or(0) as usize;
    let is_gpu = |name: &str| name.strip_prefix("gpu").is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
    let bill: BTreeMap<&str, &str> = situation
        .spec
        .serials
        .iter()
        .filter(|(name, serial)| is_gpu(name) && !serial.is_empty())
        .map(|(name, serial)| (serial.as_str(), name.as_str()))
        .collect();
    if bill.is_empty() || bill.len() < wanted {
        return None;
    }
    let found = |serial: &str| agent.gpus.values().any(|gpu| gpu.serial == serial);
    let mut unseen = bill.iter().filter(|(serial, _)| !found(serial)).map(|(serial, name)| (*name, *serial));
    let foreign = agent.gpus.values().filter(|gpu| !gpu.serial.is_empty() && !bill.contains_key(gpu.serial.as_str()));
    let differs: Vec<(String, String)> = foreign
        .map(|gpu| match unseen.next() {
            Some((name, wanted)) => (name.to_owned(), difference(name, wanted, &gpu.serial)),
            None => (format!("gpu{}", gpu.index.saturating_add(1)), difference("gpu", "", &gpu.serial)),
        })
        .collect();
    let (about, _) = differs.first()?;
    let text = format!("{} (read by its agent)", list(differs.iter().map(|(_, text)| text.clone()).collect()));
    Some(situation.finding("serial_differs", about, text))
}

/// Boots what the site file does not want booted. What the BMC does not say is [`missing`].
pub(super) fn secure_boot(situation: &Situation<'_>, inventory: &Inventory) -> Option<Finding> {
    let (wanted, found) = (situation.spec.secure_boot?, inventory.secure_boot?);
    let word = |on: bool| if on { "on" } else { "off" };
    (wanted != found).then(|| {
        let text = difference("secure boot", word(wanted), word(found));
        situation.finding("secure_boot_differs", "", text)
    })
}

/// Parts that must be there and are not: by name from the bill, by number from the kinds.
pub(super) fn missing(situation: &Situation<'_>, inventory: &Inventory) -> Vec<String> {
    let mut missing = Vec::new();
    for (kind, wanted) in &situation.spec.parts {
        let found = inventory.count(kind);
        if found < *wanted as usize {
            missing.push(format!("{kind}: wanted {wanted}, found {found}"));
        }
    }
    for (name, wanted) in
        situation.spec.serials.iter().filter(|(name, wanted)| *name != "chassis" && !wanted.is_empty())
    {
        if inventory.parts.get(name).is_none_or(|part| part.serial.is_empty()) {
            missing.push(difference(name, wanted, ""));
        }
    }
    if let (Some(wanted), None) = (situation.spec.secure_boot, inventory.secure_boot) {
        missing.push(difference("secure boot", if wanted { "on" } else { "off" }, ""));
    }
    for (component, wanted) in &situation.spec.firmware {
        if !inventory.firmware.contains_key(component) {
            missing.push(difference(component, wanted, ""));
        }
    }
    missing
}

/// Firmware that is not the baseline: component, wanted, found.
pub(super) fn firmware(situation: &Situation<'_>, inventory: &Inventory) -> Vec<(String, String)> {
    let differs = situation.spec.firmware.iter().filter_map(|(component, wanted)| {
        let found = inventory.firmware.get(component)?;
        (found != wanted).then(|| (component.clone(), difference(component, wanted, found)))
    });
    differs.collect()
}

/// The first few, and how many more.
pub(super) fn list(mut texts: Vec<String>) -> String {
    let more = texts.len().saturating_sub(SHOWN_MAX);
    texts.truncate(SHOWN_MAX);
    let mut text = texts.join("; ");
    if more > 0 {
        text.push_str(&format!("; and {more} more"));
    }
    text
}
