//! Repeat offenders: a few machines make most of the faults, and repairing them once more mends nothing. Such a machine
//! stays in `repair`, held with `repeat_offender`, until a person lets it go on.
//!
//! What it is not: it takes nothing out of service by itself; it keeps out what is out already.

use crate::machine::{FaultMark, Finding};
use serde::{Deserialize, Serialize};
use types::UnixMillis;

/// So many faults in [`DAYS`] and a machine is an offender. The field has 3 to 8 faults a day on 1,250 machines, 240 in
/// 30 days at most, 0.19 a machine: by chance alone (Poisson) about one machine in the fleet has three.
pub const FAULTS: usize = 3;
pub const DAYS: u32 = 30;

/// When a machine is an offender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct QuarantineRule {
    pub faults: usize,
    pub days: u32,
}

impl Default for QuarantineRule {
    fn default() -> Self {
        Self { faults: FAULTS, days: DAYS }
    }
}

/// Why this machine may not return by itself, if so.
pub fn verdict(faults: &[FaultMark], rule: &QuarantineRule, now: UnixMillis) -> Option<Finding> {
    let window = i64::from(rule.days) * 86_400_000;
    // What a switch did is not the machine's.
    let own = faults.iter().filter(|fault| fault.cause != crate::diagnosis::LINK_DOWN);
    let recent: Vec<&FaultMark> = own.filter(|fault| now.0 - fault.at.0 < window).collect();
    if recent.len() < rule.faults.max(1) {
        return None;
    }
    let causes: Vec<&str> = recent.iter().map(|fault| fault.cause.as_str()).collect();
    let text = format!("{} faults in {} days: {}", recent.len(), rule.days, causes.join(", "));
    Some(Finding::new("repeat_offender", "", text, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_fault_in_thirty_days_counts() {
        let day = |day: i64| FaultMark {
            at: UnixMillis(day * 86_400_000),
            cause: "xid_79".into(),
            about: String::new(),
            by_person: false,
        };
        let check = |days: &[i64], now: i64, want: bool| {
            let faults: Vec<_> = days.iter().map(|it| day(*it)).collect();
            let verdict = verdict(&faults, &QuarantineRule::default(), UnixMillis(now * 86_400_000));
            assert_eq!(verdict.is_some(), want, "{days:?} on day {now}");
        };
        check(&[], 40, false);
        check(&[1, 2], 3, false);
        check(&[1, 2, 3], 3, true);
        check(&[1, 2, 3], 30, true);
        check(&[1, 2, 3], 31, false);
        check(&[1, 11, 12, 13], 40, true);
    }
}
