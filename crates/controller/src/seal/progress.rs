//! How far the sealer is, for whoever watches: it decides nothing here.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;

/// Clones show the same sealer.
#[derive(Debug, Clone)]
pub struct Progress(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    leaves: AtomicU64,
    caught_up: Mutex<Instant>,
}

impl Default for Progress {
    fn default() -> Self {
        Progress(Arc::new(Inner { leaves: AtomicU64::new(0), caught_up: Mutex::new(Instant::now()) }))
    }
}

impl Progress {
    /// So many leaves were sealed; `all` if nothing was left.
    pub(super) fn sealed(&self, leaves: usize, all: bool) {
        self.0.leaves.fetch_add(leaves as u64, Ordering::Relaxed);
        if all {
            *self.0.caught_up.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
    }

    /// How long ago the log held everything that the store did.
    pub fn lag(&self) -> std::time::Duration {
        self.0.caught_up.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

impl Collector for Progress {
    fn encode(&self, mut encoder: DescriptorEncoder) -> std::fmt::Result {
        let leaves = ConstCounter::new(self.0.leaves.load(Ordering::Relaxed));
        let help = "Receipts sealed into the log";
        leaves.encode(encoder.encode_descriptor("hoheit_receipts_sealed", help, None, MetricType::Counter)?)?;
        let help = "Since the log last held every receipt of the store";
        let lag = ConstGauge::new(self.lag().as_secs_f64());
        lag.encode(encoder.encode_descriptor("hoheit_seal_lag_seconds", help, None, MetricType::Gauge)?)
    }
}
