//! Parts of a machine from Redfish's resources: what they are, whether they are well, how they are called. No requests here.

use crate::error::Error;
use crate::field::{clean, serial, text_or_none};
use crate::limits::LINE_CHARS_MAX;
use crate::walk::Resource;
use fleet::observed::Part;
use serde_json::Value;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// Parts of one kind, not yet named.
#[derive(Default)]
pub(crate) struct Found {
    parts: BTreeMap<&'static str, Vec<(String, Part)>>,
}

/// A line of complaint with its weight; the worst sort first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Complaint {
    pub weight: Weight,
    pub line: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Weight {
    Critical,
    Warning,
    Unread,
}

impl Complaint {
    pub fn new(weight: Weight, line: &str) -> Complaint {
        Complaint { weight, line: clean(line, LINE_CHARS_MAX) }
    }
}

/// A slot may be empty: then a BMC lists it as absent. A machine is not complete without the others.
const OPTIONAL: [&str; 4] = ["dimm", "drive", "nic", "cpu"];

impl Found {
    /// Takes a resource as a part of this kind.
    pub fn take(&mut self, kind: &'static str, (path, resource): &Resource) -> Result<(), Error> {
        let status = &resource["Status"];
        let absent = status["State"] == "Absent";
        let part = Part {
            kind: kind.to_owned(),
            model: model(resource),
            serial: serial(resource, path.as_str())?,
            healthy: !absent && status["Health"] != "Critical",
        };
        if absent && part.serial.is_empty() && OPTIONAL.contains(&kind) {
            return Ok(());
        }
        let id = Some(text_or_none(resource, "Id")).filter(|id| !id.is_empty());
        self.parts.entry(kind).or_default().push((id.unwrap_or_else(|| path.name().to_owned()), part));
        Ok(())
    }

    /// With their names, and what a BMC claims of two parts that can be true of one only.
    pub fn named(self) -> (BTreeMap<String, Part>, Vec<Complaint>) {
        let mut named = BTreeMap::new();
        for (kind, mut parts) in self.parts {
            parts.sort_by(|a, b| natural(&a.0, &b.0));
            let numbers = numbers(&parts);
            for (at, (_, part)) in parts.into_iter().enumerate() {
                named.insert(format!("{kind}{}", numbers[at]), part);
            }
        }
        let mut complaints = Vec::new();
        let mut serials: BTreeMap<(&str, &str), &str> = BTreeMap::new();
        for (name, part) in named.iter().filter(|(_, part)| !part.serial.is_empty()) {
            if let Some(other) = serials.insert((&part.kind, &part.serial), name) {
                let line = format!("{other} and {name} have the same serial number {}", part.serial);
                complaints.push(Complaint::new(Weight::Critical, &line));
            }
        }
        (named, complaints)
    }
}

/// Processors say what they are in several places, none of them everywhere.
fn model(resource: &Value) -> String {
    let fields = [text_or_none(resource, "Model"), text_or_none(&resource["ProcessorId"], "EffectiveFamily")];
    let part = || text_or_none(resource, "PartNumber");
    fields.into_iter().find(|model| !model.is_empty()).unwrap_or_else(part)
}

/// The numbers that the BMC gives them (`GPU_SXM_1` is 1), counted from one, if they tell the parts apart; else their places.
/// So a part keeps its name while another is missing.
fn numbers(parts: &[(String, Part)]) -> Vec<u64> {
    let own: Option<Vec<u64>> = parts.iter().map(|(id, _)| trailing(id)).collect();
    let own = own.filter(|numbers| numbers.iter().collect::<BTreeSet<_>>().len() == numbers.len());
    match own {
        Some(numbers) if numbers.contains(&0) => numbers.iter().map(|number| number + 1).collect(),
        Some(numbers) => numbers,
        None => (1..=parts.len() as u64).collect(),
    }
}

/// At most six digits: what is longer is no place.
fn trailing(id: &str) -> Option<u64> {
    let digits = id.len() - id.trim_end_matches(|letter: char| letter.is_ascii_digit()).len();
    (1..=6).contains(&digits).then(|| id[id.len() - digits..].parse().ok()).flatten()
}

/// `NIC2` before `NIC10`.
fn natural(a: &str, b: &str) -> Ordering {
    let key = |id: &str| {
        let number = trailing(id);
        let digits = number.map_or(0, |_| id.len() - id.trim_end_matches(|letter: char| letter.is_ascii_digit()).len());
        (id[..id.len() - digits].to_owned(), number)
    };
    key(a).cmp(&key(b)).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::Path;
    use serde_json::json;

    fn names(kind: &'static str, parts: &[Value]) -> Vec<String> {
        let mut found = Found::default();
        for part in parts {
            let path = Path::new("/redfish/v1/x", "", "").unwrap();
            found.take(kind, &(path, part.clone())).unwrap();
        }
        found.named().0.into_keys().collect()
    }

    fn ids(ids: &[&str]) -> Vec<Value> {
        ids.iter().map(|id| json!({ "Id": id })).collect()
    }

    #[test]
    fn names_are_the_bmcs_numbers() {
        assert_eq!(names("gpu", &ids(&["GPU_SXM_1", "GPU_SXM_2"])), ["gpu1", "gpu2"]);
        assert_eq!(names("gpu", &ids(&["GPU_SXM_1", "GPU_SXM_3"])), ["gpu1", "gpu3"], "a missing one renames none");
        assert_eq!(names("psu", &ids(&["PSU1", "PSU0"])), ["psu1", "psu2"], "counted from one");
        assert_eq!(names("drive", &ids(&["NVMe0_NSID1", "NVMe1_NSID1"])), ["drive1", "drive2"], "numbers say nothing");
        assert_eq!(names("cpu", &ids(&["left", "right"])), ["cpu1", "cpu2"]);
        assert_eq!(trailing("x99999999999999999999"), None);
    }

    #[test]
    fn empty_slots_are_no_parts_but_missing_gpus_are() {
        let absent = [json!({"Id": "A1", "Status": {"State": "Absent", "Health": "OK"}})];
        assert!(names("dimm", &absent).is_empty());
        assert_eq!(names("gpu", &absent), ["gpu1"]);
    }

    #[test]
    fn a_serial_of_two_parts_is_complained_of() {
        let mut found = Found::default();
        for id in ["GPU1", "GPU2"] {
            let path = Path::new("/redfish/v1/x", "", "").unwrap();
            found.take("gpu", &(path, json!({ "Id": id, "SerialNumber": "7" }))).unwrap();
        }
        let complaints = found.named().1;
        assert_eq!(complaints[0].line, "gpu1 and gpu2 have the same serial number 7");
    }
}
