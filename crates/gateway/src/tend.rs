//! What a gateway does once a second beside its requests: leases budgets and lets go of them, doubts the wall clock, and now
//! and then forgets engines that are gone and idempotency keys whose time is over.
//!
//! Nothing of it is on a request's way. If we crash here: the next boot begins anew.

use crate::gateway::Gateway;
use crate::lease;
use crate::wall::Wall;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// The bound for wall clocks is five seconds, so that one turn more or less does not matter.
const INTERVAL: Duration = Duration::from_secs(1);

/// Idempotency keys live for a day: their table is a minute's worth of them larger than it need be.
const SWEEP_TURNS: u32 = 60;

/// Runs for ever; whoever spawned it ends it.
pub async fn run(gateway: Arc<Gateway>) {
    let mut wall = Wall::at(&*gateway.clock);
    let mut tick = tokio::time::interval(INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for turn in (0..SWEEP_TURNS).cycle() {
        loop {
            tokio::select! {
                biased;
                _ = tick.tick() => break,
                () = gateway.scopes().low.some.notified() => lease::top_up(&gateway).await,
            }
        }
        doubt(&gateway, &mut wall);
        lease::tend(&gateway).await;
        if turn == 0 {
            gateway.forget();
        }
        if turn == 0
            && let Err(error) = gateway.store.idempotency_sweep(gateway.clock.now()).await
        {
            tracing::debug!(%error, "idempotency keys whose time is over stay a while");
        }
    }
}

/// Tells somebody when the wall clock was set, once for each time.
fn doubt(gateway: &Gateway, wall: &mut Wall) {
    if let Some(millis) = wall.jumped(&*gateway.clock) {
        gateway.metrics.wall_jumps.inc();
        tracing::warn!(millis, "the wall clock jumped: times in receipts and ends of keys are only as good as it is");
        *wall = Wall::at(&*gateway.clock);
    }
}
