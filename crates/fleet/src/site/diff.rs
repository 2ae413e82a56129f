//! What a changed site file would do to machines that exist. A machine that is on the premises is not moved by editing a
//! file: somebody has to carry it, so that is refused and said.

use super::PlannedMachine;
use crate::machine::{Lifecycle, Spec};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What would change; machines are named by their slots.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Diff {
    pub added: Vec<String>,
    pub changed: Vec<Change>,
    /// In the control plane and no more in the file.
    pub removed: Vec<String>,
    /// Must be settled by a person first; none of it is in the lists above.
    pub refused: Vec<Refused>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    pub slot: String,
    /// `firmware.bmc: 1.2 -> 1.3`, one per difference.
    pub fields: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    pub slot: String,
    /// `moved`, `removed`, `kind`, `serials`.
    pub code: &'static str,
    pub text: String,
}

impl Diff {
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty() && self.refused.is_empty()
    }
}

/// Only what a file says anew is taken from it: a part that was exchanged since the file before keeps its new serial number, a
/// serial number that was scanned stays, and a machine that a person retired stays retired. Answers the slots that are left
/// out of the plan: those whose machine was retired and gone, of which the file says nothing new.
pub fn settle<'a>(
    new: &mut Vec<PlannedMachine>,
    former: &[PlannedMachine],
    present: impl IntoIterator<Item = &'a Spec>,
) -> Vec<String> {
    let present: BTreeMap<&str, &Spec> = present.into_iter().map(|spec| (spec.slot.as_str(), spec)).collect();
    let former: BTreeMap<&str, &Spec> = former.iter().map(|it| (it.spec.slot.as_str(), &it.spec)).collect();
    let mut left_out = Vec::new();
    new.retain_mut(|machine| {
        let spec = &mut machine.spec;
        let said = former.get(spec.slot.as_str());
        match (present.get(spec.slot.as_str()), said) {
            (Some(is), said) => keep(spec, said.copied(), is),
            (None, Some(said)) if chassis(said) == chassis(spec) && said.wanted == spec.wanted => {
                left_out.push(spec.slot.clone());
                return false;
            }
            (None, _) => {}
        }
        true
    });
    left_out
}

fn keep(spec: &mut Spec, said: Option<&Spec>, is: &Spec) {
    let was = |part: &str| said.and_then(|said| said.serials.get(part));
    let anew = |part: &str, serial: &String| was(part) != Some(serial);
    let another = match (chassis(spec), chassis(is)) {
        (Some(new), Some(old)) => new != old && anew("chassis", &new.to_owned()),
        _ => false,
    };
    // Another machine is planned here, and brings its own.
    if !another {
        for (part, serial) in &is.serials {
            match spec.serials.get_mut(part) {
                Some(new) if anew(part, new) => {}
                Some(new) => new.clone_from(serial),
                None => drop(spec.serials.insert(part.clone(), serial.clone())),
            }
        }
    }
    if said.is_some_and(|said| said.wanted == spec.wanted) {
        spec.wanted = is.wanted;
    }
}

/// Compares what was asked for so far with a new plan. `lifecycle` says where a machine is, by its slot; `None` is planned.
pub fn diff<'a>(
    old: impl IntoIterator<Item = &'a Spec>,
    new: &[PlannedMachine],
    lifecycle: impl Fn(&str) -> Option<Lifecycle>,
) -> Diff {
    let old: BTreeMap<&str, &Spec> = old.into_iter().map(|spec| (spec.slot.as_str(), spec)).collect();
    let new: BTreeMap<&str, &Spec> = new.iter().map(|machine| (machine.spec.slot.as_str(), &machine.spec)).collect();
    let here = |slot: &str| !matches!(lifecycle(slot), None | Some(Lifecycle::Planned | Lifecycle::Retired));
    let mut diff = Diff::default();
    let mut settled: BTreeSet<&str> = BTreeSet::new();
    let by_serial: BTreeMap<&str, &str> =
        new.values().filter_map(|spec| Some((chassis(spec)?, spec.slot.as_str()))).collect();
    for (slot, spec) in &old {
        let Some(to) = chassis(spec).and_then(|serial| by_serial.get(serial)).filter(|to| *to != slot) else {
            continue;
        };
        if here(slot) {
            let state = lifecycle(slot).map_or("", Lifecycle::as_str);
            let text = format!(
                "{slot} is {state}, and the file puts its chassis {} into {to}; carry it: retire it here, apply, and \
                 receive it there",
                chassis(spec).unwrap_or_default()
            );
            diff.refused.push(Refused { slot: (*slot).to_owned(), code: "moved", text });
            settled.extend([*slot, *to]);
        }
    }
    for (slot, spec) in &new {
        match old.get(slot) {
            _ if settled.contains(slot) => {}
            None => diff.added.push((*slot).to_owned()),
            Some(was) => changed(&mut diff, was, spec, here(slot)),
        }
    }
    for slot in old.keys().filter(|slot| !new.contains_key(*slot) && !settled.contains(*slot)) {
        if here(slot) {
            let state = lifecycle(slot).map_or("", Lifecycle::as_str);
            let text = format!("{slot} is {state} and not in the file; keep it with wanted = false, which retires it");
            diff.refused.push(Refused { slot: (*slot).to_owned(), code: "removed", text });
        } else {
            diff.removed.push((*slot).to_owned());
        }
    }
    diff
}

fn chassis(spec: &Spec) -> Option<&str> {
    spec.serials.get("chassis").map(String::as_str)
}

fn changed(diff: &mut Diff, was: &Spec, now: &Spec, here: bool) {
    let slot = now.slot.clone();
    if here && was.kind != now.kind {
        let text = format!("{slot} is a {} on the premises, the file says {}; retire it first", was.kind, now.kind);
        diff.refused.push(Refused { slot, code: "kind", text });
        return;
    }
    if here
        && let (Some(old), Some(new)) = (chassis(was), chassis(now))
        && old != new
    {
        let text =
            format!("{slot} holds chassis {old}, the file says {new}; exchange it by an order, or correct the file");
        diff.refused.push(Refused { slot, code: "serials", text });
        return;
    }
    let mut fields = Vec::new();
    let mut field = |name: String, old: &str, new: &str| {
        if old != new {
            fields.push(format!("{name}: {} -> {}", shown(old), shown(new)));
        }
    };
    field("kind".to_owned(), was.kind.as_str(), now.kind.as_str());
    field("unit".to_owned(), &was.unit, &now.unit);
    field("domains".to_owned(), &was.domains.join(" "), &now.domains.join(" "));
    let zone = |spec: &Spec| spec.zone.clone().unwrap_or_default();
    field("zone".to_owned(), &zone(was), &zone(now));
    field("suite".to_owned(), &was.suite, &now.suite);
    let boot = |spec: &Spec| spec.secure_boot.map_or("", |on| if on { "on" } else { "off" });
    field("secure_boot".to_owned(), boot(was), boot(now));
    field("wanted".to_owned(), &was.wanted.to_string(), &now.wanted.to_string());
    // Serials that were scanned are known to the control plane only; a file that names none does not take them away.
    for (name, new) in &now.serials {
        field(format!("serials.{name}"), was.serials.get(name).map_or("", String::as_str), new);
    }
    both(&was.firmware, &now.firmware, |name, old, new| field(format!("firmware.{name}"), old, new));
    let text = |map: &BTreeMap<String, u32>| map.iter().map(|(k, v)| (k.clone(), v.to_string())).collect();
    both(&text(&was.parts), &text(&now.parts), |name, old, new| field(format!("parts.{name}"), old, new));
    if !fields.is_empty() {
        diff.changed.push(Change { slot, fields });
    }
}

fn both(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>, mut field: impl FnMut(&str, &str, &str)) {
    for name in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
        let of = |map: &BTreeMap<String, String>| map.get(name).cloned().unwrap_or_default();
        field(name, &of(old), &of(new));
    }
}

fn shown(text: &str) -> &str {
    if text.is_empty() { "nothing" } else { text }
}
