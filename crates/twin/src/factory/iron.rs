//! A machine as it is, whatever anybody knows of it: power, parts, faults. From it comes what its BMC and its agent say;
//! the deciding code sees only that.

use super::causes::{Cure, Sign};
use super::clock::MINUTE;
use fleet::machine::{MachineKind, Spec};
use fleet::observed::{AgentSeen, BmcSeen, GpuSeen, Inventory, Observed, Part, Power};
use std::collections::BTreeMap;
use types::UnixMillis;

/// What a B200 shows; an RTX PRO has no NVLink.
const NVLINKS: u32 = 18;
const DRIVER: &str = "570.124.06";
/// A sweep of the BMCs comes by so often.
pub const SWEEP_MILLIS: i64 = 5 * MINUTE;

/// Something that is broken.
#[derive(Debug, Clone)]
pub struct Fault {
    pub number: u64,
    /// Index of `causes::CAUSES`; none for what was broken when it came.
    pub cause: Option<usize>,
    pub sign: Sign,
    pub cure: Cure,
    /// `gpu3`, `nic2`, `board`; empty if it is about none.
    pub part: String,
    /// For links: the failure domain and the port.
    pub link: Option<(String, String)>,
    pub since: UnixMillis,
    /// The machine got no new work any more since it began.
    pub isolated: bool,
}

impl Fault {
    /// As the driver counts.
    pub fn gpu(&self) -> Option<u32> {
        self.part.strip_prefix("gpu")?.parse::<u32>().ok()?.checked_sub(1)
    }
}

#[derive(Debug, Clone)]
pub struct Iron {
    pub serial: String,
    pub delivered: bool,
    pub power: bool,
    /// Since when the BMC answers: some minutes after it has power for the first time.
    pub bmc_from: Option<i64>,
    pub booted: bool,
    pub provisioned: bool,
    pub firmware_old: bool,
    /// It makes faults as long as it is one.
    pub lemon: bool,
    pub weight: f64,
    pub faults: Vec<Fault>,
    /// Serial numbers of parts; a new part has a new one.
    pub parts: BTreeMap<String, String>,
    /// When something of it last changed: a BMC tells it to the next sweep, an agent at once.
    pub changed_at: UnixMillis,
    agent_knows: bool,
    /// What is under way for it: asked for and not done.
    pub doing: Doing,
}

/// Asked for once, done once: the executor's memory.
#[derive(Debug, Clone, Default)]
pub struct Doing {
    pub reading: bool,
    pub power: bool,
    pub flashing: bool,
    pub provisioning: bool,
    pub suite: Option<(u64, u32)>,
    pub certifying: Option<u64>,
    pub ending: bool,
    /// (GPU, event's time, whether a reset).
    pub measures: Vec<(u32, UnixMillis, bool)>,
    /// Operator's look, for (entry, attempt).
    pub looking: Option<(u64, u32)>,
}

impl Iron {
    pub fn new(number: usize, spec: &Spec) -> Iron {
        let serial = match spec.serials.get("chassis") {
            Some(serial) if !serial.is_empty() => serial.clone(),
            _ => format!("TW{number:06}"),
        };
        let mut parts = BTreeMap::new();
        for (kind, count) in &spec.parts {
            for at in 1..=*count {
                let name = if kind == "chassis" { kind.clone() } else { format!("{kind}{at}") };
                let wanted = spec.serials.get(&name).filter(|serial| !serial.is_empty());
                let own = if kind == "chassis" { serial.clone() } else { format!("{serial}-{name}") };
                parts.insert(name, wanted.cloned().unwrap_or(own));
            }
        }
        Iron {
            serial,
            delivered: false,
            power: false,
            bmc_from: None,
            booted: false,
            provisioned: false,
            firmware_old: false,
            lemon: false,
            weight: 1.0,
            faults: Vec::new(),
            parts,
            changed_at: UnixMillis(0),
            agent_knows: false,
            doing: Doing::default(),
        }
    }

    pub fn hangs(&self) -> bool {
        self.faults.iter().any(|fault| matches!(fault.sign, Sign::Hang | Sign::PartAndHang))
    }

    pub fn agent_speaks(&self) -> bool {
        self.power && self.booted && self.provisioned && !self.hangs()
    }

    pub fn bmc_answers(&self, now: UnixMillis) -> bool {
        self.bmc_from.is_some_and(|from| from <= now.0)
    }

    fn sick(&self, part: &str) -> bool {
        // A GPU that is gone, and what the BMC itself measures.
        let shows = |sign| matches!(sign, Sign::Gone | Sign::Part | Sign::PartAndHang);
        self.faults.iter().any(|fault| fault.part == part && (shows(fault.sign) || fault.part.starts_with("nic")))
    }

    /// What the BMC lists. GPUs are there once the machine has booted.
    fn inventory(&self, spec: &Spec) -> Inventory {
        let seen = |name: &str| self.booted || !name.starts_with("gpu");
        let mut parts: BTreeMap<String, Part> = self
            .parts
            .iter()
            .filter(|(name, _)| seen(name))
            .map(|(name, serial)| {
                let kind = super::spares::kind(name).to_owned();
                let healthy = !self.sick(name);
                (name.clone(), Part { kind, model: String::new(), serial: serial.clone(), healthy })
            })
            .collect();
        // What no bill lists is named when it is critical.
        for fault in self.faults.iter().filter(|fault| self.sick(&fault.part)) {
            let kind = super::spares::kind(&fault.part).to_owned();
            let part = Part { kind, model: String::new(), serial: String::new(), healthy: false };
            parts.entry(fault.part.clone()).or_insert(part);
        }
        let old = |wanted: &String| if self.firmware_old { "0.1".to_owned() } else { wanted.clone() };
        Inventory {
            manufacturer: "NVIDIA".to_owned(),
            model: spec.kind.to_string(),
            serial: self.serial.clone(),
            uuid: self.serial.clone(),
            power: if self.power { Power::On } else { Power::Off },
            secure_boot: Some(true),
            parts,
            firmware: spec.firmware.iter().map(|(name, wanted)| (name.clone(), old(wanted))).collect(),
            complaints: Vec::new(),
        }
    }

    /// The BMC was read.
    pub fn read(&self, spec: &Spec, observed: &mut Observed, now: UnixMillis) {
        if self.bmc_answers(now) {
            observed.bmc = Some(BmcSeen { at: now, silent_since: None, inventory: self.inventory(spec) });
        }
    }

    /// The agent reported.
    fn report(&self, spec: &Spec, observed: &mut Observed, now: UnixMillis) {
        if !self.agent_speaks() {
            return;
        }
        let count = spec.parts.get("gpu").copied().unwrap_or(0);
        let has = |name: &str, sign: Sign| self.faults.iter().any(|it| it.part == name && it.sign == sign);
        let gpus = (0..count).filter_map(|index| {
            let name = format!("gpu{}", index + 1);
            if has(&name, Sign::Gone) {
                return None;
            }
            let links = if spec.kind == MachineKind::DgxB200 { NVLINKS } else { 0 };
            let serial = self.parts.get(&name).cloned().unwrap_or_default();
            let seen = GpuSeen {
                index,
                name: "B200".to_owned(),
                serial: serial.clone(),
                memory_mib: 183_359,
                remap_failed: has(&name, Sign::Remap),
                nvlinks_up: links.saturating_sub(u32::from(has(&name, Sign::Nvlink))),
                temperature_c: if has(&name, Sign::Heat) { 96 } else { 62 },
                throttled: has(&name, Sign::Heat),
                ..GpuSeen::default()
            };
            Some((format!("GPU-{serial}"), seen))
        });
        observed.agent = Some(AgentSeen {
            at: now,
            serial: self.serial.clone(),
            driver: DRIVER.to_owned(),
            gpus: gpus.collect(),
            clock_skew_ms: 0,
        });
    }

    /// Something is not as it was.
    pub fn changed(&mut self, now: UnixMillis) {
        self.changed_at = now;
        self.agent_knows = false;
    }

    /// What agent and sweeps have said up to now.
    pub fn refresh(&mut self, spec: &Spec, observed: &mut Observed, now: UnixMillis) {
        if self.agent_speaks() {
            match &mut observed.agent {
                Some(agent) if self.agent_knows => agent.at = now,
                _ => self.report(spec, observed, now),
            }
            self.agent_knows = true;
        }
        let sweep = UnixMillis(now.0 - now.0 % SWEEP_MILLIS);
        let Some(bmc) = observed.bmc.as_mut().filter(|bmc| bmc.at < sweep) else { return };
        if !self.bmc_answers(now) {
            return;
        }
        match bmc.at < self.changed_at && self.changed_at <= sweep {
            true => self.read(spec, observed, sweep),
            // Known as it is, or too new to be known.
            false if self.changed_at <= sweep => bmc.at = sweep,
            false => {}
        }
    }
}
