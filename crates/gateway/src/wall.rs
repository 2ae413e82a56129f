//! The wall clock is a claim, and this is where it is doubted. Timeouts, leases and breakers use the monotonic clock, the
//! journal's order is its sequence, a month that has begun never goes back (`metering::budget`). What is left for the wall
//! clock: the times in receipts, the month, and when a key expires.
//!
//! A key that has expired stays so: its end is compared with the later of the wall clock and of what that said at the start
//! plus the time since. Set back, the clock revives nothing; set ahead, it ends keys early until it is set right.

use crate::clock::Clock;
use std::time::Duration;
use types::UnixMillis;

/// How far wall and monotonic time may part before somebody is told. NTP slews by 0.5 ms a second and steps what is more
/// than 128 ms off; a machine that is off by seconds has lost its time source, or somebody has set its clock.
pub const JUMP_MAX: Duration = Duration::from_secs(5);

/// Wall and monotonic time at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Wall {
    wall: UnixMillis,
    monotonic: u64,
}

impl Wall {
    pub fn at(clock: &dyn Clock) -> Self {
        Wall { wall: clock.now(), monotonic: clock.monotonic_millis() }
    }

    /// What the wall clock would say now, had nobody touched it.
    fn expected(&self, monotonic: u64) -> i64 {
        self.wall.0.saturating_add(monotonic.saturating_sub(self.monotonic) as i64)
    }

    /// How far the wall clock has jumped since, in milliseconds, ahead or back; none within the bound.
    pub fn jumped(&self, clock: &dyn Clock) -> Option<i64> {
        let off = clock.now().0.saturating_sub(self.expected(clock.monotonic_millis()));
        (off.unsigned_abs() > JUMP_MAX.as_millis() as u64).then_some(off)
    }

    /// The time that ends are compared with: it never goes back.
    pub fn latest(&self, clock: &dyn Clock) -> UnixMillis {
        UnixMillis(clock.now().0.max(self.expected(clock.monotonic_millis())))
    }
}
