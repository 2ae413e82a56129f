//! The inventory of one machine: which resources are read, in which order, and what becomes of them.
//!
//! About 25 requests where the BMC expands collections, about 220 where it does not. It is read at installation and when
//! something changed; what is asked every few minutes is a [`crate::Glance`].
//!
//! A machine may be several systems (a DGX is the host and the baseboard with the GPUs); the host is the one that can be reset.

use crate::client::Client;
use crate::error::Error;
use crate::field::{serial, text, text_or_none};
use crate::limits::{COMPLAINTS_MAX, LINE_CHARS_MAX};
use crate::log::{self, Entry};
use crate::parts::{Complaint, Found, Weight};
use crate::path::Path;
use crate::walk::{Gap, Resource, Walk};
use fleet::observed::{Inventory, Power};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;
use tokio::time::timeout;

/// An inventory, and how far it can be relied on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    pub inventory: Inventory,
    /// The host's own serial number; the inventory has the chassis'.
    pub system_serial: String,
    /// What could not be read. While there are any, nothing is missing only because it is not in the inventory.
    pub gaps: Vec<Gap>,
    /// The newest log entries, newest first.
    pub log: Vec<Entry>,
    /// Where things lie, for [`Client::glance`].
    pub layout: Layout,
    pub requests: u32,
    pub bytes: u64,
}

/// Where on a BMC lies what is asked often. Only a shortcut: without it, it is found again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// The host first, then the other systems.
    pub systems: Vec<String>,
    pub logs: Vec<String>,
}

impl Client {
    pub async fn inventory(&self) -> Result<Reading, Error> {
        let limit = self.0.limits.reading_timeout;
        let slow = |_| Error::Slow { what: "the whole inventory".to_owned(), limit };
        timeout(limit, read(self)).await.map_err(slow)?
    }
}

async fn read(client: &Client) -> Result<Reading, Error> {
    let walk = &Walk::new(client);
    let root = walk.root().await?;
    let systems = systems(walk, &root).await?;
    let host = &systems[0];
    let chassis = walk.linked(&root, "Chassis", &Path::root()).await?;
    let body = body(walk, host, &chassis)?;

    let mut found = Found::default();
    let mut seen = Vec::new();
    take(walk, &mut found, &mut seen, "cpu", memory_and_processors(walk, &systems).await?)?;
    take(walk, &mut found, &mut seen, "drive", drives(walk, host, &chassis).await?)?;
    for (path, resource) in chassis.iter().filter(|one| is_body(one)) {
        take(walk, &mut found, &mut seen, "psu", power_supplies(walk, path, resource).await?)?;
        take(walk, &mut found, &mut seen, "nic", walk.linked(resource, "NetworkAdapters", path).await?)?;
    }
    take(walk, &mut found, &mut seen, "nvswitch", nvswitches(walk, &root).await?)?;
    let firmware = firmware(walk, &root).await?;
    let secure_boot = secure_boot(walk, host).await?;

    let mut owners = systems.clone();
    owners.extend(walk.linked(&root, "Managers", &Path::root()).await?);
    let logs = log::logs(walk, &owners).await?;
    let log = log::newest(walk, &logs).await?;

    let system_serial = serial(&host.1, host.0.as_str())?;
    unchanged(walk, host).await?;

    let (parts, mut complaints) = found.named();
    complaints.extend(unwell(systems.iter().chain(&chassis).chain(&seen)));
    complaints.extend(log::complaints(&log));
    let gaps = walk.gaps();
    complaints.extend(gaps.iter().map(|gap| Complaint::new(Weight::Unread, &format!("not read: {}", gap.why))));
    let of_body = |field: &str| body.map(|(_, chassis)| text_or_none(chassis, field)).unwrap_or_default();
    let serial = match body {
        Some((path, chassis)) => serial(chassis, path.as_str())?,
        None => String::new(),
    };
    Ok(Reading {
        inventory: Inventory {
            manufacturer: first([text_or_none(&host.1, "Manufacturer"), of_body("Manufacturer")]),
            model: first([text_or_none(&host.1, "Model"), of_body("Model")]),
            serial: first([serial, system_serial.clone()]),
            uuid: text_or_none(&host.1, "UUID").to_ascii_lowercase(),
            power: power(&host.1),
            secure_boot,
            parts,
            firmware,
            complaints: sorted(complaints),
        },
        system_serial,
        layout: Layout {
            systems: systems.iter().map(|(path, _)| path.to_string()).collect(),
            logs: logs.iter().map(Path::to_string).collect(),
        },
        gaps,
        log,
        requests: walk.requests(),
        bytes: walk.bytes(),
    })
}

/// All systems, the host first. An error if there is none: then this is no BMC of a machine.
pub(crate) async fn systems(walk: &Walk, root: &Value) -> Result<Vec<Resource>, Error> {
    let mut systems = walk.linked(root, "Systems", &Path::root()).await?;
    let rank = |system: &Value| {
        let reset = !system["Actions"]["#ComputerSystem.Reset"].is_null();
        let boots = !system["Boot"].is_null();
        (!reset, !boots)
    };
    systems.sort_by_key(|(_, system)| rank(system));
    if systems.is_empty() {
        if let Some(gap) = walk.gaps().into_iter().next() {
            return Err(Error::NotJson { path: gap.path, why: format!("no system could be read: {}", gap.why) });
        }
        let field = "Systems".to_owned();
        return Err(Error::Shape { path: Path::ROOT.to_owned(), field, wanted: "a collection with a system" });
    }
    Ok(systems)
}

/// The chassis that the host stands in, with the serial number on its label.
fn body<'a>(walk: &Walk, host: &Resource, chassis: &'a [Resource]) -> Result<Option<&'a Resource>, Error> {
    let links = crate::field::list(&host.1["Links"], "Chassis", host.0.as_str());
    let links = walk.or_gap(host.0.as_str(), links)?.unwrap_or_default();
    let linked = links.first().and_then(|link| walk.client().reference(link, "Chassis", &host.0).ok());
    let linked = linked.and_then(|path| chassis.iter().find(|(other, _)| other.same(&path)));
    Ok(linked
        .or_else(|| chassis.iter().find(|one| is_body(one) && serial(&one.1, "").is_ok_and(|one| !one.is_empty()))))
}

/// Not a part of another chassis: only these have power supplies and network adapters of the machine.
fn is_body((_, chassis): &Resource) -> bool {
    !matches!(chassis["ChassisType"].as_str(), Some("Module" | "Component" | "Card" | "Zone"))
}

fn take(
    walk: &Walk,
    found: &mut Found,
    seen: &mut Vec<Resource>,
    kind: &'static str,
    parts: Vec<Resource>,
) -> Result<(), Error> {
    for part in parts {
        // The one list that holds several kinds.
        let kind = match (kind, part.1["ProcessorType"].as_str()) {
            ("cpu", Some("GPU")) => "gpu",
            ("cpu", Some("CPU")) => "cpu",
            ("cpu", Some(_)) => continue,
            ("cpu", None) if part.1["MemoryDeviceType"].is_null() && part.1["CapacityMiB"].is_null() => "cpu",
            ("cpu", None) => "dimm",
            (kind, _) => kind,
        };
        walk.or_gap(part.0.as_str(), found.take(kind, &part))?;
        seen.push(part);
    }
    Ok(())
}

/// Processors of all systems; memory of the host: what a baseboard lists is the memory on its GPUs.
async fn memory_and_processors(walk: &Walk, systems: &[Resource]) -> Result<Vec<Resource>, Error> {
    let mut parts = Vec::new();
    for (path, system) in systems {
        parts.extend(walk.linked(system, "Processors", path).await?);
    }
    parts.extend(walk.linked(&systems[0].1, "Memory", &systems[0].0).await?);
    Ok(parts)
}

/// Drives are linked from storage controllers, from chassis, or from both. What a BMC shows as USB are its virtual media.
async fn drives(walk: &Walk, host: &Resource, chassis: &[Resource]) -> Result<Vec<Resource>, Error> {
    let mut links = BTreeSet::new();
    let controllers = walk.linked(&host.1, "Storage", &host.0).await?;
    let of_controllers = controllers.iter().map(|(path, one)| (path, one));
    let of_chassis = chassis.iter().map(|(path, one)| (path, &one["Links"]));
    for (path, owner) in of_controllers.chain(of_chassis) {
        let listed = match &owner["Drives"] {
            Value::Array(links) => links.as_slice(),
            _ => continue,
        };
        for link in listed.iter().take(walk.client().0.limits.members_max) {
            let reference = walk.client().reference(link, "Drives", path);
            links.extend(walk.or_gap(path.as_str(), reference)?);
        }
    }
    let drives = links.into_iter().filter(|path| !path.name().starts_with("USB"));
    walk.fill(drives.map(|path| (path, Value::Null)).collect()).await
}

/// From the new place, else from the old one, where they are not a collection but a list in one resource.
async fn power_supplies(walk: &Walk, path: &Path, chassis: &Value) -> Result<Vec<Resource>, Error> {
    let subsystem = walk.client().link(chassis, "PowerSubsystem", path);
    if let Some(subsystem) = walk.or_gap(path.as_str(), subsystem)?.flatten()
        && let Some(resource) = walk.get_or_gap(&subsystem).await?
    {
        let supplies = walk.linked(&resource, "PowerSupplies", &subsystem).await?;
        if !supplies.is_empty() {
            return Ok(supplies);
        }
    }
    let power = walk.client().link(chassis, "Power", path);
    let Some(power) = walk.or_gap(path.as_str(), power)?.flatten() else { return Ok(Vec::new()) };
    let Some(resource) = walk.get_or_gap(&power).await? else { return Ok(Vec::new()) };
    let supplies = crate::field::list(&resource, "PowerSupplies", power.as_str());
    let supplies = walk.or_gap(power.as_str(), supplies)?.unwrap_or_default();
    let as_member = |supply: &Value| {
        let mut supply = supply.clone();
        supply["Id"] = supply["MemberId"].take();
        (power.clone(), supply)
    };
    Ok(supplies.iter().filter(|supply| supply.is_object()).map(as_member).collect())
}

async fn nvswitches(walk: &Walk, root: &Value) -> Result<Vec<Resource>, Error> {
    let mut switches = Vec::new();
    for (path, fabric) in walk.linked(root, "Fabrics", &Path::root()).await? {
        if fabric["FabricType"] == "NVLink" {
            switches.extend(walk.linked(&fabric, "Switches", &path).await?);
        }
    }
    Ok(switches)
}

async fn firmware(walk: &Walk, root: &Value) -> Result<std::collections::BTreeMap<String, String>, Error> {
    let mut firmware = std::collections::BTreeMap::new();
    let service = walk.client().link(root, "UpdateService", &Path::root());
    let Some(path) = walk.or_gap(Path::ROOT, service)?.flatten() else { return Ok(firmware) };
    let Some(service) = walk.get_or_gap(&path).await? else { return Ok(firmware) };
    for (path, component) in walk.linked(&service, "FirmwareInventory", &path).await? {
        if let Some(version) = walk.or_gap(path.as_str(), text(&component, "Version", path.as_str()))? {
            let id = first([text_or_none(&component, "Id"), path.name().to_owned()]);
            firmware.insert(id, version);
        }
    }
    Ok(firmware)
}

/// What the running system was booted with, where a BMC says; else what the next one will be.
pub(crate) async fn secure_boot(walk: &Walk, host: &Resource) -> Result<Option<bool>, Error> {
    let link = walk.client().link(&host.1, "SecureBoot", &host.0);
    let Some(path) = walk.or_gap(host.0.as_str(), link)?.flatten() else { return Ok(None) };
    let Some(resource) = walk.get_or_gap(&path).await? else { return Ok(None) };
    Ok(match resource["SecureBootCurrentBoot"].as_str() {
        Some("Enabled") => Some(true),
        Some("Disabled") => Some(false),
        _ => resource["SecureBootEnable"].as_bool(),
    })
}

/// The host is read once more: a BMC that names another serial number than at the beginning was swapped, or lies.
async fn unchanged(walk: &Walk, (path, before): &Resource) -> Result<(), Error> {
    let after = walk.get(path).await?;
    for field in ["SerialNumber", "UUID"] {
        let (before, after) = (text(before, field, path.as_str())?, text(&after, field, path.as_str())?);
        if before != after {
            return Err(Error::Changed { field, before, after });
        }
    }
    Ok(())
}

/// What a BMC itself says is not well.
pub(crate) fn unwell<'a>(resources: impl Iterator<Item = &'a Resource>) -> Vec<Complaint> {
    let line = |(path, resource): &Resource| {
        let status = &resource["Status"];
        let own = status["Health"].as_str().or_else(|| status["HealthRollup"].as_str());
        let weight = match own {
            Some("Critical") => Weight::Critical,
            Some("Warning") => Weight::Warning,
            _ => return None,
        };
        Some(Complaint::new(weight, &format!("{} is {}", path.name(), own.unwrap_or_default())))
    };
    resources.filter_map(line).collect()
}

pub(crate) fn sorted(mut complaints: Vec<Complaint>) -> Vec<String> {
    complaints.sort();
    complaints.dedup();
    let more = complaints.len().saturating_sub(COMPLAINTS_MAX);
    let mut lines: Vec<String> = complaints.into_iter().take(COMPLAINTS_MAX).map(|one| one.line).collect();
    if more > 0
        && let Some(last) = lines.last_mut()
    {
        *last = format!("and {} more", more + 1).chars().take(LINE_CHARS_MAX).collect();
    }
    lines
}

pub(crate) fn power(system: &Value) -> Power {
    match system["PowerState"].as_str() {
        Some("On") => Power::On,
        Some("Off") => Power::Off,
        _ => Power::Unknown,
    }
}

fn first(texts: [String; 2]) -> String {
    let [one, other] = texts;
    if one.is_empty() { other } else { one }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_end_at_their_limit_worst_first() {
        let check = |count: usize| {
            let complaints = (0..count).map(|n| Complaint::new(Weight::Warning, &format!("w{n:03}"))).rev();
            sorted(complaints.chain([Complaint::new(Weight::Critical, "z")]).collect())
        };
        let at = check(COMPLAINTS_MAX - 1);
        assert_eq!((at.len(), at[0].as_str(), at[COMPLAINTS_MAX - 1].as_str()), (COMPLAINTS_MAX, "z", "w030"));
        let over = check(COMPLAINTS_MAX);
        assert_eq!((over.len(), over[COMPLAINTS_MAX - 1].as_str()), (COMPLAINTS_MAX, "and 2 more"));
    }
}
