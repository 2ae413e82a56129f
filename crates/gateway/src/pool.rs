//! Connections to engines that wait for their next request: one pool per lane, so that a connection never changes threads.
//!
//! Not a limit on connections: how many requests an engine takes is the engine's matter and the queue's. If we crash
//! here, the connections close.

use crate::link::Link;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Which engine at which address: numbers are never used twice, so a connection to an old address is never taken up again.
pub type PoolKey = u64;

/// An idle connection is closed after so long. Engines close theirs sooner (uvicorn after 5 s), load balancers later.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// Idle connections to one engine from one lane: as many as an engine takes requests at once (vLLM's default).
const IDLE_PER_ENGINE_MAX: usize = 256;

#[derive(Clone, Default)]
pub struct Pool(Arc<Mutex<Idle>>);

#[derive(Default)]
struct Idle {
    /// The newest last; it is taken first, so that those that are too many grow old. In order, so that a simulation that closes
    /// them all does so in the same order each time.
    by_engine: BTreeMap<PoolKey, Vec<(Instant, Link)>>,
    swept: bool,
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that is still open, if one waits.
    pub fn take(&self, key: PoolKey) -> Option<Link> {
        loop {
            let (_, mut link) = self.lock().by_engine.get_mut(&key)?.pop()?;
            if link.is_usable() {
                return Some(link);
            }
        }
    }

    pub fn give_back(&self, key: PoolKey, link: Link) {
        let mut idle = self.lock();
        let of_engine = idle.by_engine.entry(key).or_default();
        if of_engine.len() < IDLE_PER_ENGINE_MAX {
            of_engine.push((Instant::now(), link));
        }
        if !std::mem::replace(&mut idle.swept, true) {
            tokio::spawn(self.clone().sweep());
        }
    }

    /// Closes what has waited for too long, until nothing waits.
    async fn sweep(self) {
        loop {
            tokio::time::sleep(IDLE_MAX).await;
            let now = Instant::now();
            let mut idle = self.lock();
            idle.by_engine.retain(|_, links| {
                links.retain(|(since, _)| now.duration_since(*since) < IDLE_MAX);
                !links.is_empty()
            });
            if idle.by_engine.is_empty() {
                idle.swept = false;
                return;
            }
        }
    }
}
