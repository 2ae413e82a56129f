//! A histogram of durations that costs two atomic additions: no lock and no float, which the library's would take for
//! every token of every stream.
//!
//! [`Pace`] counts within one stream and adds to the shared counts now and then, so that ten thousand streams do not
//! meet in one cache line for each of their tokens.

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::time::Instant;

/// Upper bounds in microseconds: 1 ms, the finest that engines do between two tokens, to 100 s; steps of 2 to 2.5, so that
/// a percentile read from them is off by less than half.
const BOUNDS_MICROS: [u64; 16] = [
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
];

/// The bounds, and what lies above all of them.
const PLACES: usize = BOUNDS_MICROS.len() + 1;

/// A stream's own counts are added to the shared ones after so many events: 32 tokens at 30 a second are one second.
const OWN_EVENTS_MAX: u32 = 32;

/// A histogram; clones count together.
#[derive(Debug, Clone, Default)]
pub struct Times(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    places: [AtomicU64; PLACES],
    sum_micros: AtomicU64,
}

fn place(micros: u64) -> usize {
    BOUNDS_MICROS.iter().position(|bound| micros <= *bound).unwrap_or(BOUNDS_MICROS.len())
}

impl Times {
    /// A difference of wall clocks: one that was set back counts as no time.
    pub fn observe_millis(&self, millis: i64) {
        let micros = u64::try_from(millis).unwrap_or_default().saturating_mul(1_000);
        self.0.places[place(micros)].fetch_add(1, Ordering::Relaxed);
        self.0.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }
}

impl EncodeMetric for Times {
    fn encode(&self, mut encoder: MetricEncoder) -> Result<(), std::fmt::Error> {
        let bounds = BOUNDS_MICROS.iter().map(|micros| *micros as f64 / 1e6).chain([f64::INFINITY]);
        let counts = self.0.places.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = self.0.sum_micros.load(Ordering::Relaxed) as f64 / 1e6;
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// The times between the events of one stream.
pub struct Pace {
    times: Times,
    last: Option<Instant>,
    places: [u16; PLACES],
    events: u32,
    sum_micros: u64,
}

impl Pace {
    pub fn new(times: &Times) -> Pace {
        Pace { times: times.clone(), last: None, places: [0; PLACES], events: 0, sum_micros: 0 }
    }

    /// So many events arrived together: each took its share of the time since the ones before. The first begin the
    /// measurement; how long they took is the time to the first token.
    pub fn arrived(&mut self, events: u32, now: Instant) {
        let Some(last) = self.last.replace(now) else { return };
        let events = events.clamp(1, OWN_EVENTS_MAX);
        let micros = u64::try_from(now.duration_since(last).as_micros()).unwrap_or(u64::MAX);
        // At most 31 before and 32 now: far below what 16 bits hold.
        self.places[place(micros / u64::from(events))] += events as u16;
        self.sum_micros = self.sum_micros.saturating_add(micros);
        self.events += events;
        if self.events >= OWN_EVENTS_MAX {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        for (own, shared) in self.places.iter_mut().zip(&self.times.0.places) {
            match std::mem::take(own) {
                0 => {}
                count => drop(shared.fetch_add(u64::from(count), Ordering::Relaxed)),
            }
        }
        self.times.0.sum_micros.fetch_add(std::mem::take(&mut self.sum_micros), Ordering::Relaxed);
        self.events = 0;
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        if self.events > 0 {
            self.hand_over();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::registry::Registry;
    use std::time::Duration;

    fn text(times: &Times) -> String {
        let mut registry = Registry::default();
        registry.register("t", "t", times.clone());
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn buckets_are_cumulative_and_hold_their_bounds() {
        let times = Times::default();
        [1, 2, 3, 200_000, -5].into_iter().for_each(|millis| times.observe_millis(millis));
        let text = text(&times);
        for line in [
            "t_bucket{le=\"0.001\"} 2",
            "t_bucket{le=\"0.0025\"} 3",
            "t_bucket{le=\"0.005\"} 4",
            "t_bucket{le=\"100.0\"} 4",
            "t_bucket{le=\"+Inf\"} 5",
            "t_count 5",
            "t_sum 200.006",
        ] {
            assert!(text.contains(&format!("{line}\n")), "{line}: {text}");
        }
    }

    #[test]
    fn no_event_of_a_stream_is_lost_and_the_first_is_no_gap() {
        let check = |batches: &[(u32, u64)], gaps: u64, sum: &str| {
            let times = Times::default();
            let mut pace = Pace::new(&times);
            let mut now = Instant::now();
            for (events, millis) in batches {
                now += Duration::from_millis(*millis);
                pace.arrived(*events, now);
            }
            drop(pace);
            let text = text(&times);
            assert!(text.contains(&format!("t_count {gaps}\n")) && text.contains(&format!("t_sum {sum}\n")), "{text}");
        };
        check(&[], 0, "0.0");
        check(&[(7, 100)], 0, "0.0");
        check(&[(1, 100), (1, 20), (2, 20)], 3, "0.04");
        check(&[(1, 0); 100], 99, "0.0");
        check(&[(1, 10); 65], 64, "0.64");
    }
}
