//! A key that a request names is claimed at the store before the request is dispatched, so that neither another gateway
//! nor the next boot of this one does it again.
//!
//! The order is: the intent is durable in the journal, then the row in the store, then the engine. So whoever finds a row
//! finds, sooner or later, the receipt that it names: written by the request itself, or by the recovery of the gateway
//! that died with it. What the receipt says decides:
//!
//! | receipt | the key |
//! |---|---|
//! | not there | in use: 409 `idempotency_running`, or 422 for another request |
//! | `completed`, `unresolved` | used: 409 `idempotency_answered` names the receipt, or 422 for another request |
//! | `failed`, `refused`, `partial`, `aborted` | free: the request may be made again |
//!
//! The answer itself is content and is kept nowhere but in memory (`idempotency`); a gateway that still has it replays it
//! without asking the store. Without the store the promise cannot be kept, so a request that asks for it is refused with
//! 503 `store_unavailable`; one that names no key is served, and pays nothing for any of this.

use crate::gateway::Gateway;
use crate::idempotency::{Guard, answered, mismatch, running};
use crate::receipt::Obligation;
use crate::refusal::Refusal;
use std::time::Duration;
use store::{IdempotencyRow, KeyHolder, StoreError};
use types::{Code, Outcome, ReceiptId, UnixMillis};

/// A receipt that was just written is on its way into the store; who asks for its key waits for it so long.
const SHIP_WAIT: Duration = Duration::from_secs(2);

/// Claims the key of a request that names one.
pub async fn claim(gateway: &Gateway, obligation: &Obligation, guard: &Guard) -> Result<(), Refusal> {
    let Some(promised) = obligation.promise() else { return Err(busy()) };
    if promised.await.is_err() {
        return Err(Refusal::new(Code::Internal, "the intent could not be written: this gateway is ending"));
    }
    let now = gateway.clock.now();
    let (name, request) = guard.digests(&obligation.key.commitment_key);
    let row = IdempotencyRow {
        project: obligation.key.project.id,
        name,
        request,
        receipt: obligation.id,
        until: UnixMillis(now.0.saturating_add(gateway.limits.idempotency_ttl.as_millis() as i64)),
    };
    let (theirs, holder) = match gateway.store.idempotency_claim(&row, now).await.map_err(away)? {
        KeyHolder::Ours => return Ok(()),
        KeyHolder::Other { request, receipt } => (request, receipt),
    };
    match outcome(gateway, holder).await? {
        Some(Outcome::Failed | Outcome::Refused | Outcome::Partial | Outcome::Aborted) => {
            match gateway.store.idempotency_take(&row, holder).await.map_err(away)? {
                true => Ok(()),
                false => Err(running()),
            }
        }
        _ if theirs != row.request => Err(mismatch()),
        None => Err(running()),
        Some(Outcome::Completed) => Err(answered(holder, "its answer is not kept here")),
        Some(Outcome::Unresolved) => Err(answered(holder, "the gateway stopped while it ran, and its answer is lost")),
    }
}

/// How the request of a receipt ended; none while it runs, or while its receipt is on its way.
async fn outcome(gateway: &Gateway, receipt: ReceiptId) -> Result<Option<Outcome>, Refusal> {
    let mut found = gateway.store.receipt(receipt).await.map_err(away)?;
    if found.is_none() {
        // It may have ended here a moment ago.
        let _ = tokio::time::timeout(SHIP_WAIT, gateway.wait_shipped()).await;
        found = gateway.store.receipt(receipt).await.map_err(away)?;
    }
    let claims = found.map(|found| ledger::receipt::claims_of(&found.signing_input)).transpose();
    claims.map(|claims| claims.map(|claims| claims.outcome)).map_err(|error| {
        tracing::error!(%error, %receipt, "a stored receipt cannot be read");
        Refusal::new(Code::Internal, "what became of the first request with this key cannot be told")
    })
}

fn busy() -> Refusal {
    Refusal::new(Code::NotReady, "this gateway takes no new requests now: try again shortly").retry_after(1)
}

fn away(error: StoreError) -> Refusal {
    tracing::warn!(%error, "an idempotency key could not be claimed: the request is refused");
    let message = "whether a request with this Idempotency-Key was made before cannot be told now: try again, or leave \
                   the key out";
    Refusal::new(Code::StoreUnavailable, message).retry_after(1)
}
