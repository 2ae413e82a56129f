//! The gateway's clock and its randomness: virtual time, and dice.

use crate::dice::SharedDice;
use std::sync::atomic::{AtomicU64, Ordering};
use types::UnixMillis;

/// 2026-11-12T00:00:00Z: no run crosses the end of a month, so a budget is one number.
const START_MILLIS: i64 = 1_794_441_600_000;

pub struct VirtualClock {
    dice: SharedDice,
    /// The last time seen: what is dropped with a host asks for the time outside of every host.
    seen: AtomicU64,
}

impl VirtualClock {
    pub fn new(dice: SharedDice) -> Self {
        VirtualClock { dice, seen: AtomicU64::new(0) }
    }

    fn millis(&self) -> u64 {
        let now = turmoil::sim_elapsed().map_or(0, |elapsed| elapsed.as_millis() as u64);
        self.seen.fetch_max(now, Ordering::Relaxed).max(now)
    }
}

impl gateway::Clock for VirtualClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(START_MILLIS + self.millis() as i64)
    }

    fn monotonic_millis(&self) -> u64 {
        self.millis()
    }

    fn random(&self, bytes: &mut [u8]) {
        self.dice.throw(|dice| dice.fill(bytes));
    }
}
