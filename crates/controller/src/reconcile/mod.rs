//! The reconcilers: they load what is so, let `fleet` decide, store the decision, and have it done. No rule of their own.
//!
//! - [`machines`]: a pass over the machines that are due, as one transaction;
//! - [`orders`]: what robots and people did, what time does to orders, which robot takes which task;
//! - [`certify`]: the certificate of a machine that is valid, from what was seen;
//! - [`hands`]: what cannot be done in a transaction is wanted; [`bmcs`] does what is wanted of BMCs, the agents' desk tells
//!   agents, [`robots`] tells robots.
//!
//! Activated by events ([`Bell`]) and by time. Two controllers are fenced by an epoch: who starts takes the next one. The older
//! one looks at it at the beginning of each turn and stops, and wants nothing any more; should it be in the middle of a turn, its
//! steps are refused, and its orders where the newer one was faster (each has a version). Its executors ask the epoch before they
//! send something that cannot be taken back.
//!
//! If we crash here: before the transaction, the machines are due as they were; after it and before anything was done, the
//! wants are in the machines' rows and the next start has them done. Everything done is idempotent under (machine, entry,
//! attempt).

pub mod bmcs;
pub mod certify;
mod counts;
pub mod hands;
pub mod machines;
pub mod orders;
pub mod robots;

pub use counts::Counts;
pub use hands::{Wanted, Wants};
pub use machines::{Pass, PassError, Reconciler, ReconcilerParts, Stage};

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// How often the store is asked for due machines if nobody rings: a checkpoint follows its certificate within 250 ms, and
/// what other processes wrote is seen as late.
pub const INTERVAL: Duration = Duration::from_millis(250);

/// After a turn, before the next that the bell asks for: what many people and agents store meanwhile is one turn and not as
/// many. 20 ms are nothing to a person, and 50 turns a second of two milliseconds at 1,250 machines a tenth of a core.
const GATHERS: Duration = Duration::from_millis(20);

/// After an error that may pass.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Rung by whoever stored something that a reconciler may act on. Clones ring the same bell.
#[derive(Debug, Clone, Default)]
pub struct Bell(Arc<Notify>);

impl Bell {
    pub fn ring(&self) {
        self.0.notify_one();
    }

    async fn rung(&self) {
        self.0.notified().await;
    }
}

/// Why reconciling ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was told to stop.
    Stopped,
    /// Another controller has taken over. Executors and the robots' link of this one must end: what it wanted is old.
    Fenced,
}

/// Reconciles until told to stop, or until another controller has taken over.
pub async fn run(parts: ReconcilerParts, bell: Bell, shutdown: impl Future<Output = ()> + Send) -> Ended {
    let mut shutdown = std::pin::pin!(shutdown);
    let mut reconciler = None;
    loop {
        let turn = async {
            let reconciler = match &mut reconciler {
                Some(reconciler) => reconciler,
                none => none.insert(Reconciler::start(parts.clone()).await?),
            };
            reconciler.turn().await
        };
        let pause = tokio::select! {
            done = turn => match done {
                Ok(pass) if pass.more => Duration::ZERO,
                Ok(_) => INTERVAL,
                Err(PassError::Fenced { .. }) => {
                    parts.wants.end(reconciler.map_or(0, |it| it.epoch));
                    tracing::error!(
                        "another controller reconciles this site now; this one only serves, and takes over again when it is \
                         started again"
                    );
                    return Ended::Fenced;
                }
                Err(error) => {
                    tracing::warn!(%error, "reconciling failed and is tried again");
                    reconciler = None;
                    RETRY_AFTER
                }
            },
            () = &mut shutdown => return Ended::Stopped,
        };
        if pause.is_zero() {
            continue;
        }
        let rung = async {
            tokio::time::sleep(GATHERS).await;
            bell.rung().await;
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = rung => {}
            () = &mut shutdown => return Ended::Stopped,
        }
    }
}
