//! Time and randomness as agent and site see them, so that tests can bring their own. What waits or expires within one process
//! uses the runtime's monotonic clock; wall time is a claim.

use types::UnixMillis;

pub trait Clock: std::fmt::Debug + Send + Sync + 'static {
    /// Wall time.
    fn now(&self) -> UnixMillis;
    /// Fills with random bytes that nobody can guess.
    fn random(&self, bytes: &mut [u8]);
}

/// The machine's own.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixMillis {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn random(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system has randomness; without it nothing here is safe");
    }
}
