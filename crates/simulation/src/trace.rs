//! What happened, in order, with its virtual time: two runs of one seed must have the same trace to the last letter.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

#[derive(Clone, Default)]
pub struct Trace(Arc<Mutex<Lines>>);

#[derive(Default)]
struct Lines {
    text: String,
    now: Duration,
}

impl Trace {
    pub fn note(&self, what: std::fmt::Arguments<'_>) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = turmoil::sim_elapsed().unwrap_or(lines.now);
        lines.now = now;
        writeln!(lines.text, "{:>9} {what}", now.as_micros()).expect("writing to a String cannot fail");
    }

    pub fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).text.clone()
    }
}
