//! Time and randomness as the gateway sees them, so that tests can bring their own. Wall time is a claim written into
//! receipts; everything that waits or expires uses the runtime's monotonic clock.

use types::UnixMillis;

pub trait Clock: Send + Sync + 'static {
    /// Wall time.
    fn now(&self) -> UnixMillis;
    /// Monotonic milliseconds from an arbitrary start: rate limits and breakers.
    fn monotonic_millis(&self) -> u64;
    /// Fills with random bytes that nobody can guess.
    fn random(&self, bytes: &mut [u8]);
}

/// The machine's clock and aws-lc's generator.
pub struct SystemClock {
    start: std::time::Instant,
}

impl SystemClock {
    pub fn start() -> Self {
        SystemClock { start: std::time::Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> UnixMillis {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        UnixMillis(since.as_millis() as i64)
    }

    fn monotonic_millis(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    fn random(&self, bytes: &mut [u8]) {
        aws_lc_rs::rand::fill(bytes).expect("the generator fails only where the kernel has no entropy source at all");
    }
}
