//! How many bytes of request bodies this gateway holds at once, over all requests together.
//!
//! Each body is bounded by itself, but ten thousand of the largest would be more memory than any machine has, and one key
//! is enough to send them. Bytes count when they arrive, not when they are announced: a client that names a large body
//! and sends none of it takes nothing from others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub struct Bodies {
    held: AtomicUsize,
    bytes_max: usize,
}

/// What one request holds of it; given back when dropped.
pub struct Share {
    owner: Arc<Bodies>,
    bytes: usize,
}

impl Bodies {
    pub fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Bodies { held: AtomicUsize::new(0), bytes_max })
    }

    pub fn share(self: &Arc<Self>) -> Share {
        Share { owner: self.clone(), bytes: 0 }
    }
}

impl Share {
    /// Takes room for so many bytes more. False: there is none, and nothing was taken.
    pub fn grow(&mut self, bytes: usize) -> bool {
        let fits = |held: usize| held.checked_add(bytes).filter(|sum| *sum <= self.owner.bytes_max);
        let grown = self.owner.held.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits).is_ok();
        if grown {
            self.bytes += bytes;
        }
        grown
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.owner.held.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_byte_fits_and_everything_comes_back() {
        let bodies = Bodies::new(10);
        let (mut first, mut second) = (bodies.share(), bodies.share());
        assert!(first.grow(4) && second.grow(6));
        assert!(!first.grow(1) && !second.grow(usize::MAX));
        drop(second);
        assert!(first.grow(6) && !first.grow(1));
        drop(first);
        assert_eq!(bodies.held.load(Ordering::Acquire), 0);
    }
}
