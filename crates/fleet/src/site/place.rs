//! Which racks and slots a pattern means.

use super::Rack;
use super::pattern::{self, Wrong};
use std::collections::BTreeMap;

/// Racks by their path.
pub(super) type RackIndex = BTreeMap<String, usize>;

/// Racks that a pattern means, in its order, and the paths that it names without there being one.
pub(super) fn racks(pattern: &str, index: &RackIndex, all: &[Rack]) -> Result<(Vec<usize>, Vec<String>), Wrong> {
    let (mut found, mut unknown) = (Vec::new(), Vec::new());
    for path in pattern::paths(pattern, 3)? {
        let [hall, row, rack] = &path[..] else { continue };
        if let (Some(halls), Some(rows), Some(racks)) = (hall, row, rack) {
            for name in halls.iter().flat_map(|h| rows.iter().map(move |r| (h, r))) {
                for rack in racks {
                    let name = format!("{}/{}/{rack}", name.0, name.1);
                    match index.get(&name) {
                        Some(rack) => found.push(*rack),
                        None => unknown.push(name),
                    }
                }
            }
            continue;
        }
        let fits = |names: &Option<Vec<String>>, name: &String| names.as_ref().is_none_or(|names| names.contains(name));
        let before = found.len();
        let fitting =
            all.iter().enumerate().filter(|(_, it)| fits(hall, &it.hall) && fits(row, &it.row) && fits(rack, &it.name));
        found.extend(fitting.map(|(index, _)| index));
        if found.len() == before {
            unknown.push(pattern::cut(pattern));
        }
    }
    Ok((found, unknown))
}

/// `u01, u11` as numbers.
pub(super) fn units(pattern: &str) -> Result<Vec<u32>, Wrong> {
    pattern::names(pattern)?.iter().map(|name| unit(name)).collect()
}

pub(super) fn unit(name: &str) -> Result<u32, Wrong> {
    let number = name.strip_prefix('u').and_then(|digits| digits.parse::<u32>().ok());
    match number {
        Some(number @ 1..=99) => Ok(number),
        _ => Err(format!("{:?} is not a slot: u01 to u99, counted from the bottom", pattern::cut(name))),
    }
}

pub(super) fn slot(rack: &str, u: u32) -> String {
    format!("{rack}/u{u:02}")
}
