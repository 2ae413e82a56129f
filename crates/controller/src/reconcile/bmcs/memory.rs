//! What is remembered of one BMC from look to look, and what a look makes of it.
//!
//! A glance shows power, complaints and who it is, no parts. So a glance that shows another machine, or complains about
//! something else than the glance before, is followed by a whole inventory.

use fleet::observed::{BmcSeen, Inventory};
use redfish::sweep::Seen;
use redfish::{Glance, Layout, Reading};
use types::{MachineId, UnixMillis};

/// Before anything that we time.
pub(super) const NEVER: UnixMillis = UnixMillis(i64::MIN / 2);

/// A resource that cannot be read three times in a row is not going to be: what is in it is missing then, and that is said.
const GAPS_MAX: u32 = 3;

pub(super) struct Memory {
    pub layout: Layout,
    /// What is known of the machine, as stored.
    pub last: Option<BmcSeen>,
    /// When its last inventory was begun.
    pub read_at: UnixMillis,
    /// The host's serial number at that time.
    system_serial: String,
    /// What the last glance since then complained about.
    complaints: Option<Vec<String>>,
    /// Inventories in a row that could not be read in full.
    gaps: u32,
}

impl Memory {
    pub fn new(last: Option<BmcSeen>) -> Memory {
        let (layout, system_serial) = (Layout::default(), String::new());
        Memory { layout, last, read_at: NEVER, system_serial, complaints: None, gaps: 0 }
    }

    /// What is known after a look that was begun at `began`; none if that is nothing new.
    pub fn take(
        &mut self,
        machine: MachineId,
        result: Result<Seen, redfish::Error>,
        began: UnixMillis,
        now: UnixMillis,
    ) -> Option<BmcSeen> {
        let next = match result {
            Ok(Seen::Inventory(reading)) => Some(self.inventory(machine, *reading, began)),
            Ok(Seen::Glance(glance)) => self.glance(machine, *glance, began),
            Err(error) => {
                tracing::info!(%machine, %error, "its BMC did not say what it was asked");
                self.last.clone().map(|last| BmcSeen { silent_since: last.silent_since.or(Some(now)), ..last })
            }
        };
        let next = next.filter(|next| self.last.as_ref() != Some(next))?;
        self.last = Some(next.clone());
        Some(next)
    }

    fn inventory(&mut self, machine: MachineId, reading: Reading, began: UnixMillis) -> BmcSeen {
        self.layout = reading.layout;
        let mut inventory = reading.inventory;
        if let (Some(gap), Some(last)) = (reading.gaps.first(), &self.last)
            && !self.is_another(&reading.system_serial, &inventory.uuid)
        {
            tracing::info!(%machine, text = ?gap, "an inventory with gaps");
            self.gaps += 1;
            // What could not be read is not missing; it is asked for again.
            if self.gaps < GAPS_MAX && reading.gaps.iter().any(|gap| gap.retry) {
                return BmcSeen { silent_since: None, ..last.clone() };
            }
            // A chassis that could not be read leaves the host's serial number in its place.
            inventory.serial = last.inventory.serial.clone();
        }
        (self.gaps, self.complaints) = (0, None);
        (self.read_at, self.system_serial) = (began, reading.system_serial);
        BmcSeen { at: began, silent_since: None, inventory }
    }

    /// Whether this host is not the one that was read last.
    fn is_another(&self, system_serial: &str, uuid: &str) -> bool {
        let differs = |old: &str, new: &str| !old.is_empty() && !new.is_empty() && old != new;
        let old = self.last.as_ref().map_or("", |last| last.inventory.uuid.as_str());
        differs(&self.system_serial, system_serial) || differs(old, uuid)
    }

    fn glance(&mut self, machine: MachineId, glance: Glance, began: UnixMillis) -> Option<BmcSeen> {
        let last = self.last.clone()?;
        if self.is_another(&glance.system_serial, &glance.uuid) {
            tracing::warn!(%machine, text = glance.system_serial, "its BMC speaks of another machine than before");
            // Nothing else that it says is believed before it was read as a whole.
            self.read_at = NEVER;
            return None;
        }
        self.layout = glance.layout;
        let before = self.complaints.replace(glance.complaints.clone());
        if before.is_some_and(|before| before != glance.complaints) {
            self.read_at = NEVER;
        }
        let inventory = Inventory { power: glance.power, complaints: glance.complaints, ..last.inventory };
        Some(BmcSeen { at: began, silent_since: None, inventory })
    }
}
