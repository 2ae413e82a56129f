//! A simulated machine: what stands in the slot, whatever anybody knows of it. Its BMC is `redfish`'s in memory, made so
//! that it has every part and the baseline that the site asks for, and the serial numbers of its delivery note.

use super::faults::Fault;
use fleet::machine::MachineKind;
use fleet::observed::EventKind;
use fleet::site::PlannedMachine;
use redfish::fake::{Bmc, Shape, Tree};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Who may ask the simulated BMCs.
pub const BMC_USER: &str = "twin";
pub const BMC_PASSWORD: &str = "twin";

const SYSTEM: &str = "/redfish/v1/Systems/System";

/// One machine.
pub struct Iron {
    pub slot: String,
    pub serial: String,
    pub gpus: u32,
    /// Failure domains, for faults of links.
    pub domains: Vec<String>,
    pub bmc: Arc<Bmc>,
    /// How often a part was exchanged: its new serial number has that in it.
    exchanged: AtomicU32,
    /// Faults that nothing has ended yet.
    faults: Mutex<Vec<Fault>>,
    /// What its agent has not told yet.
    events: Mutex<Vec<EventKind>>,
    /// Rung when there is something to tell.
    pub happened: Notify,
}

/// Trees of resources, shared by all machines that are made alike.
#[derive(Default)]
pub struct Trees(BTreeMap<Make, Arc<Tree>>);

/// Kind, parts and firmware: what makes two machines alike.
type Make = (MachineKind, Vec<(String, u32)>, Vec<(String, String)>);

impl Trees {
    fn of(&mut self, planned: &PlannedMachine) -> Arc<Tree> {
        let spec = &planned.spec;
        let parts: Vec<_> = spec.parts.iter().map(|(kind, count)| (kind.clone(), *count)).collect();
        let firmware: Vec<_> = spec.firmware.iter().map(|(name, version)| (name.clone(), version.clone())).collect();
        let made = || {
            let mut shape = match spec.kind {
                MachineKind::DgxB200 => Shape::dgx_b200(),
                MachineKind::RtxPro => Shape::rtx_pro(),
            };
            let count = |kind: &str, usual: usize| spec.parts.get(kind).map_or(usual, |count| *count as usize);
            shape.gpus = count("gpu", shape.gpus);
            shape.nvswitches = count("nvswitch", shape.nvswitches);
            shape.cpus = count("cpu", shape.cpus);
            shape.dimms = count("dimm", shape.dimms);
            shape.psus = count("psu", shape.psus);
            shape.nics = count("nic", shape.nics);
            shape.drives = count("drive", shape.drives);
            shape.firmware.retain(|(name, _)| !spec.firmware.contains_key(name));
            shape.firmware.extend(firmware.iter().cloned());
            Arc::new(shape.tree())
        };
        self.0.entry((spec.kind, parts, firmware.clone())).or_insert_with(made).clone()
    }
}

/// The serial number of the machine with this number of its site: what its file says, else one of the twin's.
fn chassis(planned: &PlannedMachine, number: usize) -> String {
    let given = planned.spec.serials.get("chassis").filter(|serial| !serial.is_empty());
    given.cloned().unwrap_or_else(|| format!("TW{:06}", number + 1))
}

/// Where a part lies in the tree, and its number.
fn place(part: &str) -> Option<(&str, usize, String)> {
    let at = part.find(|c: char| c.is_ascii_digit())?;
    let (kind, number) = (&part[..at], part[at..].parse::<usize>().ok()?);
    let before = number.checked_sub(1)?;
    let path = match kind {
        "gpu" => format!("{SYSTEM}/Processors/GPU_SXM_{number}"),
        "cpu" => format!("{SYSTEM}/Processors/CPU_{before}"),
        "dimm" => format!("{SYSTEM}/Memory/DIMM{before}"),
        "drive" => format!("{SYSTEM}/Storage/1/Drives/NVMe{before}"),
        "psu" => format!("/redfish/v1/Chassis/Chassis/PowerSubsystem/PowerSupplies/PSU{before}"),
        "nic" => format!("/redfish/v1/Chassis/Chassis/NetworkAdapters/NIC{before}"),
        "nvswitch" => format!("/redfish/v1/Fabrics/NVLink/Switches/NVSwitch_{before}"),
        _ => return None,
    };
    Some((kind, number, path))
}

/// What the machine's delivery note says: every part that the site's file asks for, with its serial number.
pub fn note(planned: &PlannedMachine, number: usize) -> BTreeMap<String, String> {
    let spec = &planned.spec;
    let chassis = chassis(planned, number);
    let mut all = BTreeMap::from([("chassis".to_owned(), chassis.clone())]);
    for (kind, count) in spec.parts.iter().filter(|(kind, _)| *kind != "chassis") {
        for at in 1..=*count {
            all.insert(format!("{kind}{at}"), format!("{chassis}-{}{at}", kind.to_uppercase()));
        }
    }
    all.extend(spec.serials.iter().filter(|(_, serial)| !serial.is_empty()).map(|(a, b)| (a.clone(), b.clone())));
    all
}

impl Iron {
    pub fn new(planned: &PlannedMachine, number: usize, trees: &mut Trees) -> Iron {
        let serial = chassis(planned, number);
        let uuid = format!("00000000-0000-0000-0000-{:012}", number + 1);
        let bmc = Arc::new(Bmc::new(trees.of(planned), &serial, &uuid, BMC_USER, BMC_PASSWORD));
        for (part, given) in &planned.spec.serials {
            if let Some((_, _, path)) = place(part) {
                bmc.set(&path, "/SerialNumber", json!(given));
            }
        }
        Iron {
            slot: planned.spec.slot.clone(),
            serial,
            gpus: planned.spec.parts.get("gpu").copied().unwrap_or(0),
            domains: planned.spec.domains.clone(),
            bmc,
            exchanged: AtomicU32::new(0),
            faults: Mutex::default(),
            events: Mutex::default(),
            happened: Notify::new(),
        }
    }

    pub fn has_power(&self) -> bool {
        self.bmc.get(SYSTEM).is_some_and(|system| system["PowerState"] == "On")
    }

    /// As if it had been running before the twin began.
    pub fn switch_on(&self) {
        self.bmc.set(SYSTEM, "/PowerState", json!("On"));
    }

    /// Whether its last boot was the installer's.
    pub fn is_installing(&self) -> bool {
        self.bmc.booted_from().as_deref() == Some("UefiHttp")
    }

    /// Another part instead of this one; the serial number of the new one. What was broken with the old one is over.
    pub fn exchange(&self, part: &str) -> String {
        let times = self.exchanged.fetch_add(1, Ordering::Relaxed) + 2;
        let serial = format!("{}-{}-{times}", self.serial, part.to_uppercase());
        if let Some((_, _, path)) = place(part) {
            self.bmc.set(&path, "/SerialNumber", json!(serial));
            self.bmc.set(&path, "/Status/Health", json!("OK"));
        }
        serial
    }

    /// The serial numbers of its GPUs, in their order: what the driver reads is what is in it now.
    pub fn gpu_serials(&self) -> Vec<String> {
        let serial = |number: u32| {
            let (_, _, path) = place(&format!("gpu{number}"))?;
            let text = self.bmc.get(&path)?["SerialNumber"].as_str()?.replace("{serial}", &self.serial);
            Some(text)
        };
        (1..=self.gpus).map(|number| serial(number).unwrap_or_default()).collect()
    }

    /// Its BMC calls this part critical from now on, or well again.
    pub fn judge(&self, part: &str, health: &str) {
        if let Some((_, _, path)) = place(part) {
            self.bmc.set(&path, "/Status/Health", json!(health));
        }
    }

    /// What is broken now.
    pub fn broken(&self) -> MutexGuard<'_, Vec<Fault>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something that its agent tells at once.
    pub fn happens(&self, event: EventKind) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
        self.happened.notify_one();
    }

    pub fn take_events(&self) -> Vec<EventKind> {
        std::mem::take(&mut self.events.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleet::observed::Power;
    use redfish::fake::{Options, Server};
    use redfish::{Address, Client, Credentials, Limits, Password, Trust};

    /// As the product reads it: every part of the delivery note is there under its name, and the baseline fits.
    async fn reads_as_its_note(site: &str, at: usize) {
        let site = fleet::site::read(site, None).site.unwrap();
        let planned = &site.machines()[at];
        let iron = Iron::new(planned, at, &mut Trees::default());
        let server = Server::start(vec![iron.bmc.clone()], Options::default()).await.unwrap();
        let credentials = Credentials::new(BMC_USER.to_owned(), Password::new(BMC_PASSWORD.to_owned()));
        let address = Address::new(&server.url(0), credentials, Trust::Plain).unwrap();
        let client = Client::new(&address, Limits::default()).unwrap();
        let read = async || client.inventory().await.unwrap().inventory;
        let inventory = read().await;
        let note = note(planned, at);
        assert_eq!(inventory.serial, note["chassis"]);
        for (part, serial) in note.iter().filter(|(part, _)| *part != "chassis") {
            assert_eq!(inventory.parts.get(part).map(|it| &it.serial), Some(serial), "{part}");
        }
        for (name, version) in &planned.spec.firmware {
            assert_eq!(inventory.firmware.get(name), Some(version), "{name}");
        }
        assert_eq!((inventory.power, iron.has_power()), (Power::Off, false));
        iron.switch_on();
        iron.judge("gpu3", "Critical");
        let broken = read().await;
        assert_eq!((broken.power, broken.parts["gpu3"].healthy), (Power::On, false));
        let new = iron.exchange("gpu3");
        let mended = read().await.parts["gpu3"].clone();
        assert!(mended.healthy && mended.serial == new && note["gpu3"] != new, "{mended:?}");
    }

    #[tokio::test]
    async fn a_machine_is_what_its_delivery_note_says() {
        let munich = crate::factory::site_named("munich").unwrap();
        reads_as_its_note(munich, 0).await;
        reads_as_its_note(munich, 1_249).await;
        // One with serial numbers of its own, from the file.
        let small = crate::factory::site_named("small").unwrap();
        let own = "serials = { chassis = \"1663522000017\", gpu2 = \"G-2\", psu1 = \"P-1\" }";
        reads_as_its_note(&small.replace("serials = { chassis = \"1663522000017\" }", own), 0).await;
    }
}
