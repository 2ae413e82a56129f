//! How long a machine may stay in a state before somebody is told. A limit passed holds the machine where it is, with
//! the finding `time_limit`; it never moves it, but for a drain, which a stuck program must not keep from its repair.

use crate::machine::Lifecycle;
use serde::{Deserialize, Serialize};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// A site is delivered over half a year; what has not come by then was forgotten.
pub const PLANNED_MILLIS_MAX: i64 = 180 * DAY;
/// 1,250 machines at 3 h of work each, 12 at a time, are 13 days; twice that, and a few for the cables to come.
pub const RECEIVED_MILLIS_MAX: i64 = 30 * DAY;
/// A BMC answers 5 minutes after it has power; a person walks there and back, and the sweep comes by every 5 minutes.
pub const INSTALLED_MILLIS_MAX: i64 = 4 * HOUR;
/// Firmware 2 h, operating system 1 h, both once more, and half a day for what must be fetched.
pub const POWERED_MILLIS_MAX: i64 = 24 * HOUR;
/// A burn-in of 72 h, and a day to begin it.
pub const PROVISIONED_MILLIS_MAX: i64 = 96 * HOUR;
/// Signing takes milliseconds, a checkpoint a second, witnesses some; an hour's outage of the log and some more.
pub const VALIDATED_MILLIS_MAX: i64 = 4 * HOUR;
/// Requests end within minutes; a job that was told to stop and has not in 4 h does not.
pub const DRAIN_MILLIS_MAX: i64 = 4 * HOUR;
/// A part from the maker takes two weeks, and one to fit it.
pub const REPAIR_MILLIS_MAX: i64 = 21 * DAY;
/// To be carried out after it was retired.
pub const RETIRED_MILLIS_MAX: i64 = 30 * DAY;

/// A BMC lists its GPUs some minutes after power on (10 on a DGX); three times that.
pub const INVENTORY_MILLIS_MAX: i64 = 30 * MINUTE;
/// 66 components, flashed in groups, with two restarts: 2 h; twice that.
pub const FIRMWARE_MILLIS_MAX: i64 = 4 * HOUR;
/// A machine boots in 10 minutes; an agent that was there before reports within a minute of that.
pub const AGENT_RETURN_MILLIS_MAX: i64 = 20 * MINUTE;
/// NTP keeps milliseconds; five minutes are beyond any drift and below what a certificate's validity forgives.
pub const CLOCK_SKEW_MILLIS_MAX: i64 = 5 * MINUTE;
/// An agent reports every 30 s: ten reports missed.
pub const AGENT_SILENT_MILLIS_MAX: i64 = 5 * MINUTE;
/// A sweep of all BMCs every 5 minutes: six missed. A BMC that restarts takes two.
pub const BMC_SILENT_MILLIS_MAX: i64 = 30 * MINUTE;
/// Once by itself, for a suite that was cut off by a restart; a test that failed is never run again by itself.
pub const VALIDATION_ATTEMPTS_MAX: u32 = 2;

/// The limits of this site, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    pub planned: i64,
    pub received: i64,
    pub installed: i64,
    pub powered: i64,
    pub provisioned: i64,
    pub validated: i64,
    pub drain: i64,
    pub repair: i64,
    pub retired: i64,
    pub inventory: i64,
    pub firmware: i64,
    pub agent_return: i64,
    pub clock_skew: i64,
    pub agent_silent: i64,
    pub bmc_silent: i64,
    pub validation_attempts: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            planned: PLANNED_MILLIS_MAX,
            received: RECEIVED_MILLIS_MAX,
            installed: INSTALLED_MILLIS_MAX,
            powered: POWERED_MILLIS_MAX,
            provisioned: PROVISIONED_MILLIS_MAX,
            validated: VALIDATED_MILLIS_MAX,
            drain: DRAIN_MILLIS_MAX,
            repair: REPAIR_MILLIS_MAX,
            retired: RETIRED_MILLIS_MAX,
            inventory: INVENTORY_MILLIS_MAX,
            firmware: FIRMWARE_MILLIS_MAX,
            agent_return: AGENT_RETURN_MILLIS_MAX,
            clock_skew: CLOCK_SKEW_MILLIS_MAX,
            agent_silent: AGENT_SILENT_MILLIS_MAX,
            bmc_silent: BMC_SILENT_MILLIS_MAX,
            validation_attempts: VALIDATION_ATTEMPTS_MAX,
        }
    }
}

impl Limits {
    /// None for `accepted`: it is where a machine shall stay. What goes wrong there is seen by silence and by faults.
    pub fn of(&self, state: Lifecycle) -> Option<i64> {
        Some(match state {
            Lifecycle::Planned => self.planned,
            Lifecycle::Received => self.received,
            Lifecycle::Installed => self.installed,
            Lifecycle::Powered => self.powered,
            Lifecycle::Provisioned => self.provisioned,
            Lifecycle::Validated => self.validated,
            Lifecycle::Accepted => return None,
            Lifecycle::Drain => self.drain,
            Lifecycle::Repair => self.repair,
            Lifecycle::Retired => self.retired,
        })
    }
}
