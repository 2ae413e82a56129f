//! Virtual time: what happens next, in one order. Of two things at the same moment the one that was planned first comes
//! first, so that a study has one course only.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use types::UnixMillis;

pub const SECOND: i64 = 1_000;
pub const MINUTE: i64 = 60 * SECOND;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

/// A Monday, at midnight: 5 January 2026, UTC.
pub const BEGIN: UnixMillis = UnixMillis(1_767_571_200_000);

struct Planned<T> {
    at: i64,
    number: u64,
    what: T,
}

impl<T> PartialEq for Planned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl<T> Eq for Planned<T> {}

impl<T> PartialOrd for Planned<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Planned<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

pub struct Clock<T> {
    pub now: UnixMillis,
    heap: BinaryHeap<Reverse<Planned<T>>>,
    planned: u64,
}

impl<T> Clock<T> {
    pub fn new() -> Clock<T> {
        Clock { now: BEGIN, heap: BinaryHeap::new(), planned: 0 }
    }

    /// Plans something; what lies in the past happens now.
    pub fn at(&mut self, at: i64, what: T) {
        self.planned += 1;
        self.heap.push(Reverse(Planned { at: at.max(self.now.0), number: self.planned, what }));
    }

    pub fn after(&mut self, millis: i64, what: T) {
        self.at(self.now.0 + millis, what);
    }

    /// The next thing that happens before `end`; time goes there.
    pub fn next(&mut self, end: i64) -> Option<T> {
        if self.heap.peek().is_none_or(|Reverse(planned)| planned.at >= end) {
            return None;
        }
        let Reverse(planned) = self.heap.pop()?;
        self.now = UnixMillis(planned.at);
        Some(planned.what)
    }
}

/// Hour of the day, and whether the day is one of the first `days` of its week.
pub fn within(now: UnixMillis, (from, to): (u32, u32), days: u32) -> bool {
    let since = now.0 - BEGIN.0;
    let (hour, mut day) = ((since % DAY / HOUR) as u32, (since / DAY % 7) as u32);
    let on = if from < to { (from..to).contains(&hour) } else { hour >= from || hour < to };
    // The end of a night belongs to the day on which the night began.
    if from >= to && hour < to {
        day = (day + 6) % 7;
    }
    on && day < days
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_of_one_moment_keep_their_order() {
        let mut clock = Clock::new();
        clock.after(5, "b");
        clock.after(5, "c");
        clock.after(1, "a");
        clock.after(9, "never");
        let end = BEGIN.0 + 9;
        let told: Vec<_> = std::iter::from_fn(|| clock.next(end)).collect();
        assert_eq!(told, ["a", "b", "c"]);
    }

    #[test]
    fn a_night_shift_ends_on_the_next_day() {
        let check = |day: i64, hour: i64, shift, days, want| {
            assert_eq!(within(UnixMillis(BEGIN.0 + day * DAY + hour * HOUR), shift, days), want, "{day} {hour}");
        };
        check(0, 6, (6, 14), 5, true);
        check(0, 14, (6, 14), 5, false);
        check(5, 8, (6, 14), 5, false);
        check(5, 3, (22, 6), 5, true);
        check(0, 3, (22, 6), 5, false);
        check(0, 23, (22, 6), 5, true);
        check(6, 23, (22, 6), 7, true);
    }
}
