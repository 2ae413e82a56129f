//! Time and randomness as the gateway sees them, so that tests can bring their own. Wall time is a claim written into
//! receipts; everything that waits or expires uses the runtime's monotonic clock.

use std::cell::RefCell;
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

/// Random bytes that a thread gets at once: each call of the generator asks the processor for fresh entropy, which costs
/// more than the bytes. 4 KiB are 80 requests.
const STORE_BYTES: usize = 4_096;

thread_local! {
    static STORE: RefCell<RandomStore> = const { RefCell::new(RandomStore { bytes: [0; STORE_BYTES], left: 0 }) };
}

/// The generator's output, handed out once and forgotten as it goes.
struct RandomStore {
    bytes: [u8; STORE_BYTES],
    left: usize,
}

impl RandomStore {
    fn take(&mut self, into: &mut [u8]) {
        let fill = |bytes: &mut [u8]| {
            aws_lc_rs::rand::fill(bytes)
                .expect("the generator fails only where the kernel has no entropy source at all");
        };
        if into.len() > STORE_BYTES {
            return fill(into);
        }
        if self.left < into.len() {
            fill(&mut self.bytes);
            self.left = STORE_BYTES;
        }
        let rest = self.left - into.len();
        let taken = &mut self.bytes[rest..self.left];
        into.copy_from_slice(taken);
        taken.fill(0);
        self.left = rest;
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
        STORE.with_borrow_mut(|store| store.take(bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_random_is_handed_out_twice_or_kept() {
        let clock = SystemClock::start();
        let mut seen = std::collections::HashSet::new();
        // Across several fills of the store, in pieces that do not divide it.
        for _ in 0..1_000 {
            let mut bytes = [0; 42];
            clock.random(&mut bytes);
            assert!(seen.insert(bytes));
        }
        let mut large = [0; STORE_BYTES + 1];
        clock.random(&mut large);
        assert!(large.iter().filter(|byte| **byte == 0).count() < 100, "it was filled");
        STORE.with_borrow(|store| {
            assert!(store.bytes[store.left..].iter().all(|byte| *byte == 0), "what is given is gone")
        });
    }
}
