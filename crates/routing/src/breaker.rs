//! A breaker per replica: closed lets requests pass, open keeps them away, half-open lets one through as a probe.
//!
//! Only failures of the replica count (refused, reset, timed out, 5xx, 401, garbage). A request that the engine rejects as the
//! client's fault says nothing about the engine: fifty oversized prompts must not empty a site. A 429 says that it is
//! full, which is load and not a fault; a probe that gets one leaves the breaker open. A replica that says how long it
//! wants to be left alone (`Retry-After`) is left alone so long: it rests, and its breaker stays as it was.
//!
//! What it is not: no load balancing (see [`crate::router`]) and no clock: `now` is monotonic milliseconds.

/// Failures in a row that open the breaker. Envoy's default; one broken connection or two must not take a replica out.
pub const FAILURES_MAX: u32 = 5;

/// The first time open. A restarting engine is back in seconds to minutes, a refused connection costs under a
/// millisecond: one probe a second is nothing.
pub const OPEN_MILLIS_MIN: u64 = 1_000;

/// Doubled after each failed probe up to here: 1 + 2 + 4 + 8 + 16 + 32 = 63 seconds until the longest pause.
pub const OPEN_MILLIS_MAX: u64 = 60_000;

/// A probe that nobody reports on (its task was dropped) blocks the next one this long. Longer than any usual time
/// to a first token, far shorter than an operator's patience.
pub const PROBE_MILLIS_MAX: u64 = 30_000;

/// A replica rests for so long at most, whatever its `Retry-After` says: linkerd's cap. A queue that needs more than five
/// minutes is another hour's weather, and one wrong header must not cost a replica for a day.
pub const REST_MILLIS_MAX: u64 = 300_000;

/// What a finished attempt says about its replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// It answered as it should.
    Success,
    /// It failed: unreachable, 5xx, too slow, garbage.
    Failure,
    /// It is full: 429, or 503 with `Retry-After`.
    Full,
    /// Nothing to learn: the client's fault, the client left, or nobody said. The time of such a report does not matter.
    Neutral,
}

impl Report {
    /// What a status line says. A 503 here is without `Retry-After`; with it, report [`Report::Full`].
    ///
    /// Whatever a request alone can provoke is neutral, 501 (no such operation for this model) included: no tenant may
    /// take a replica from the others. A 401 is different: it judges the credential, which is ours and the same for
    /// every request, so the replica is of no use to anybody. Neutral it would be a trap, since it answers fast, is
    /// never loaded, and so would be chosen again and again.
    pub fn of_status(status: u16) -> Report {
        match status {
            200..=299 => Report::Success,
            401 => Report::Failure,
            429 => Report::Full,
            300..=499 | 501 => Report::Neutral,
            _ => Report::Failure,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { until_millis: u64, pause_millis: u64 },
    HalfOpen { probe_until_millis: u64, pause_millis: u64 },
}

/// The state as metrics and `status` name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    Closed,
    Open,
    HalfOpen,
}

/// Which time of its breaker a request passed in. Given back with the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a report is only heard with the pass that its request got"]
pub struct Pass(u32);

/// One replica's breaker, as one gateway sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breaker {
    state: State,
    /// Begins anew each time it opens: reports of requests that passed before say nothing about what is there now. So in a
    /// half-open breaker only probes decide, those that were given up included: an answer may take longer than
    /// [`PROBE_MILLIS_MAX`].
    epoch: u32,
    /// Left alone until then, at its own wish.
    rests_until_millis: u64,
}

impl Default for Breaker {
    fn default() -> Breaker {
        Breaker::new()
    }
}

impl Breaker {
    /// Starts closed.
    pub fn new() -> Breaker {
        Breaker { state: State::Closed { failures: 0 }, epoch: 0, rests_until_millis: 0 }
    }

    pub fn position(&self) -> Position {
        match self.state {
            State::Closed { .. } => Position::Closed,
            State::Open { .. } => Position::Open,
            State::HalfOpen { .. } => Position::HalfOpen,
        }
    }

    /// Whether a request would pass now. Changes nothing: for [`crate::Look`].
    pub fn available(&self, now_millis: u64) -> bool {
        let passes = match self.state {
            State::Closed { .. } => true,
            State::Open { until_millis, .. } => now_millis >= until_millis,
            State::HalfOpen { probe_until_millis, .. } => now_millis >= probe_until_millis,
        };
        passes && now_millis >= self.rests_until_millis
    }

    /// It is full and said for how long. No fault of its own: only the choice leaves it out.
    pub fn rest(&mut self, millis: u64, now_millis: u64) {
        let until = now_millis.saturating_add(millis.min(REST_MILLIS_MAX));
        self.rests_until_millis = self.rests_until_millis.max(until);
    }

    /// For how long it still wants to be left alone; none if it does not rest.
    pub fn resting_millis(&self, now_millis: u64) -> Option<u64> {
        self.rests_until_millis.checked_sub(now_millis).filter(|left| *left > 0)
    }

    /// Whether nothing has failed here since the last success: what breaks now is new.
    pub fn steady(&self) -> bool {
        self.state == State::Closed { failures: 0 }
    }

    /// When to look again: the time from which a request would pass if nobody reports before.
    pub fn opens_at(&self) -> u64 {
        let shut_until = match self.state {
            State::Closed { .. } => 0,
            State::Open { until_millis, .. } => until_millis,
            State::HalfOpen { probe_until_millis, .. } => probe_until_millis,
        };
        shut_until.max(self.rests_until_millis)
    }

    /// Sends a request through, or not. While the breaker is not closed, the request is the probe and only one passes.
    #[must_use = "a request may only be sent if it passes"]
    pub fn try_pass(&mut self, now_millis: u64) -> Option<Pass> {
        if !self.available(now_millis) {
            return None;
        }
        if let State::Open { pause_millis, .. } | State::HalfOpen { pause_millis, .. } = self.state {
            let probe_until_millis = now_millis.saturating_add(PROBE_MILLIS_MAX);
            self.state = State::HalfOpen { probe_until_millis, pause_millis };
        }
        Some(Pass(self.epoch))
    }

    /// What became of a request that passed.
    pub fn report(&mut self, pass: Pass, report: Report, now_millis: u64) {
        // It passed before the breaker opened and comes back late; a success among such was begun in better times.
        if pass.0 != self.epoch {
            return;
        }
        match (self.state, report) {
            // Of an open breaker that was opened by no probe the epoch is nobody's: whoever reports here was one.
            (_, Report::Success) => self.state = State::Closed { failures: 0 },
            (State::Closed { failures }, Report::Failure) if failures + 1 >= FAILURES_MAX => {
                self.open(now_millis, OPEN_MILLIS_MIN);
            }
            (State::Closed { failures }, Report::Failure) => self.state = State::Closed { failures: failures + 1 },
            (State::Closed { .. }, Report::Full | Report::Neutral) => {}
            (State::HalfOpen { pause_millis, .. } | State::Open { pause_millis, .. }, Report::Failure) => {
                self.open(now_millis, pause_millis.saturating_mul(2).min(OPEN_MILLIS_MAX));
            }
            (State::HalfOpen { pause_millis, .. } | State::Open { pause_millis, .. }, Report::Full) => {
                self.open(now_millis, pause_millis);
            }
            // The probe said nothing: the next request is the next probe.
            (State::HalfOpen { pause_millis, .. } | State::Open { pause_millis, .. }, Report::Neutral) => {
                self.state = State::Open { until_millis: 0, pause_millis };
            }
        }
    }

    fn open(&mut self, now_millis: u64, pause_millis: u64) {
        self.epoch = self.epoch.wrapping_add(1);
        self.state = State::Open { until_millis: now_millis.saturating_add(pause_millis), pause_millis };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A script: `f` failure, `s` success, `l` full (load), `n` neutral, each sent at `now` if the breaker lets it; a
    /// number advances time by so many milliseconds. The result is one letter per request: `.` passed, `x` refused.
    fn check(script: &str, expect: &str) {
        let (mut breaker, mut now, mut passed) = (Breaker::new(), 0, String::new());
        for word in script.split_whitespace() {
            if let Ok(millis) = word.parse::<u64>() {
                now += millis;
                continue;
            }
            for letter in word.chars() {
                let report = match letter {
                    'f' => Report::Failure,
                    's' => Report::Success,
                    'l' => Report::Full,
                    _ => Report::Neutral,
                };
                let (available, breaker_opens) = (breaker.available(now), breaker.opens_at());
                let pass = breaker.try_pass(now);
                assert_eq!((available, breaker_opens <= now), (pass.is_some(), pass.is_some()), "{script}");
                if let Some(pass) = pass {
                    breaker.report(pass, report, now);
                }
                passed.push(if pass.is_some() { '.' } else { 'x' });
            }
        }
        assert_eq!(passed, expect, "{script}");
    }

    /// Fails until it opens; of the passes that this took, the last.
    fn opened(now: u64) -> (Breaker, Pass) {
        let mut breaker = Breaker::new();
        let mut pass = breaker.try_pass(now).unwrap();
        for _ in 0..FAILURES_MAX {
            pass = breaker.try_pass(now).unwrap();
            breaker.report(pass, Report::Failure, now);
        }
        assert_eq!(breaker.position(), Position::Open);
        (breaker, pass)
    }

    const REPORTS: [Report; 4] = [Report::Success, Report::Failure, Report::Full, Report::Neutral];

    #[test]
    fn scripts() {
        check("fffff s", ".....x"); // five in a row
        check("ffff s ffff s", ".........."); // a success between starts anew
        check("nnnnnnnnnn s", "..........."); // the client's faults never open it
        check("llllllllll s", "..........."); // nor does load
        check("ffff n f s", "......x"); // and neither of them hides a failure
        check("ffff l f s", "......x");
        check("fffff 999 s 1 s s", ".....x.."); // closed by the probe's success after exactly a second
        check("fffff 1000 f 1999 s 1 s", "......x."); // a failed probe doubles the pause
        check("fffff 1000 l 999 s 1 s s", "......x.."); // a full probe leaves it open, as long as before
        check("fffff 1000 n s s", "........"); // a probe that says nothing makes room for the next
    }

    #[test]
    fn f07_a_full_replica_rests_as_long_as_it_says_and_its_breaker_stays_closed() {
        let mut breaker = Breaker::new();
        breaker.rest(7_000, 100);
        assert!(!breaker.available(7_099) && breaker.try_pass(7_099).is_none() && breaker.opens_at() == 7_100);
        assert_eq!((breaker.position(), breaker.resting_millis(7_099)), (Position::Closed, Some(1)));
        let pass = breaker.try_pass(7_100).unwrap();
        assert!(breaker.resting_millis(7_100).is_none());
        // The longer wish of two requests holds, and no wish is longer than the cap.
        breaker.rest(9_000, 0);
        breaker.rest(1_000, 7_200);
        assert_eq!(breaker.resting_millis(8_000), Some(1_000));
        breaker.rest(u64::MAX, 10_000);
        assert!(!breaker.available(10_000 + REST_MILLIS_MAX - 1) && breaker.available(10_000 + REST_MILLIS_MAX));
        // A rest is no excuse: what fails before it still counts.
        (0..FAILURES_MAX).for_each(|_| breaker.report(pass, Report::Failure, 400_000));
        assert_eq!(breaker.position(), Position::Open);
    }

    #[test]
    fn one_probe_at_a_time() {
        let (mut breaker, _) = opened(0);
        assert!(breaker.try_pass(1_000).is_some() && breaker.position() == Position::HalfOpen);
        assert!(breaker.try_pass(1_000).is_none() && !breaker.available(1_000 + PROBE_MILLIS_MAX - 1));
        assert!(breaker.try_pass(1_000 + PROBE_MILLIS_MAX).is_some(), "a probe that nobody reported on is given up");
    }

    #[test]
    fn late_reports_change_nothing_while_open() {
        let (mut breaker, late) = opened(0);
        let open = breaker.clone();
        for report in REPORTS {
            breaker.report(late, report, 500);
            assert_eq!(breaker, open, "{report:?}");
        }
    }

    #[test]
    fn only_the_probe_decides() {
        for late_report in REPORTS {
            let (mut breaker, late) = opened(0);
            let probe = breaker.try_pass(1_000).unwrap();
            let half_open = breaker.clone();
            breaker.report(late, late_report, 1_500);
            assert_eq!(breaker, half_open, "{late_report:?} of a request that passed before it opened");
            breaker.report(probe, Report::Success, 1_600);
            assert!(breaker.steady());
            breaker.report(late, late_report, 1_700);
            assert!(breaker.steady(), "{late_report:?} says nothing about what is there now");
            // Nor does a probe whose successor has found the replica well or down.
            let (mut breaker, _) = opened(0);
            let given_up = breaker.try_pass(1_000).unwrap();
            let probe = breaker.try_pass(1_000 + PROBE_MILLIS_MAX).unwrap();
            breaker.report(probe, Report::Failure, 40_000);
            let open = breaker.clone();
            breaker.report(given_up, late_report, 40_001);
            assert_eq!(breaker, open, "{late_report:?}");
        }
    }

    /// An answer that takes longer than a probe may be silent is still a probe's: a replica of long answers comes back.
    #[test]
    fn a_probe_that_was_given_up_decides_if_it_ends_well() {
        let (mut breaker, _) = opened(0);
        let slow = breaker.try_pass(1_000).unwrap();
        let next = breaker.try_pass(1_000 + PROBE_MILLIS_MAX).unwrap();
        breaker.report(slow, Report::Success, 40_000);
        assert!(breaker.steady());
        breaker.report(next, Report::Success, 50_000);
        assert!(breaker.steady());
        // One that says nothing makes room for the next, and the other one still counts.
        let (mut breaker, _) = opened(0);
        let slow = breaker.try_pass(1_000).unwrap();
        let next = breaker.try_pass(1_000 + PROBE_MILLIS_MAX).unwrap();
        breaker.report(slow, Report::Neutral, 40_000);
        assert!(breaker.available(40_000));
        breaker.report(next, Report::Success, 50_000);
        assert!(breaker.steady());
    }

    #[test]
    fn the_pause_ends_growing() {
        let (mut breaker, _) = opened(0);
        let mut now = 0;
        for expect in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert!(!breaker.available(now + expect * 1_000 - 1), "{expect}");
            now += expect * 1_000;
            let probe = breaker.try_pass(now).unwrap();
            breaker.report(probe, Report::Failure, now);
        }
    }

    #[test]
    fn statuses() {
        let check = |status, expect| assert_eq!(Report::of_status(status), expect, "{status}");
        check(200, Report::Success);
        for status in [302, 400, 403, 404, 405, 413, 415, 422, 501] {
            check(status, Report::Neutral);
        }
        check(429, Report::Full);
        for status in [0, 100, 401, 500, 502, 503, 504, 600] {
            check(status, Report::Failure);
        }
    }

    proptest! {
        /// No sequence of reports and times shuts a replica out for longer than the longest pause or a lost probe.
        #[test]
        fn never_shut_out_for_good(steps in prop::collection::vec((0..4u8, 0..5_000u64), 0..80)) {
            let (mut breaker, mut now) = (Breaker::new(), 0);
            for (report, pause) in steps {
                now += pause;
                if let Some(pass) = breaker.try_pass(now) {
                    breaker.report(pass, REPORTS[report as usize], now);
                }
            }
            prop_assert!(breaker.available(now + OPEN_MILLIS_MAX.max(PROBE_MILLIS_MAX)));
        }

        #[test]
        fn without_failures_it_stays_closed(reports in prop::collection::vec(0..3u8, 0..80)) {
            let mut breaker = Breaker::new();
            for report in reports {
                let pass = breaker.try_pass(0).unwrap();
                breaker.report(pass, [Report::Success, Report::Full, Report::Neutral][report as usize], 0);
                prop_assert_eq!(breaker.position(), Position::Closed);
            }
        }
    }
}
