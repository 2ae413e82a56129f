//! What the engine counts: sequences now, and totals since start. Numbers only; no text, no names.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// Handed to the inference thread; counted when they lie there.
    pub(crate) accepted: AtomicU64,
    pub(crate) running: AtomicU64,
    pub(crate) waiting: AtomicU64,
    pub(crate) finished: AtomicU64,
    pub(crate) cancelled: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) refused_busy: AtomicU64,
    pub(crate) prompt_tokens: AtomicU64,
    pub(crate) completion_tokens: AtomicU64,
    /// The inference thread has ended and nothing more will be answered.
    pub(crate) ended: AtomicBool,
}

impl Meter {
    pub(crate) fn add(counter: &AtomicU64, n: usize) {
        counter.fetch_add(n as u64, Relaxed);
    }

    /// (name, help, kind, value) of every number.
    pub(crate) fn rows(&self) -> [(&'static str, &'static str, &'static str, u64); 9] {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        [
            ("sequences_accepted_total", "Requests given to the model.", "counter", read(&self.accepted)),
            ("sequences_running", "Requests that have a turn now.", "gauge", read(&self.running)),
            ("sequences_waiting", "Requests that wait for a turn.", "gauge", read(&self.waiting)),
            ("sequences_finished_total", "Requests answered to the end.", "counter", read(&self.finished)),
            ("sequences_cancelled_total", "Requests whose caller left.", "counter", read(&self.cancelled)),
            ("sequences_failed_total", "Requests that ended in an error.", "counter", read(&self.failed)),
            ("refused_busy_total", "Requests refused because the queue was full.", "counter", read(&self.refused_busy)),
            ("prompt_tokens_total", "Tokens read from prompts.", "counter", read(&self.prompt_tokens)),
            ("completion_tokens_total", "Tokens generated.", "counter", read(&self.completion_tokens)),
        ]
    }
}
