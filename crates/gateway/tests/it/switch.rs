//! A store that a test takes away and gives back.

use gateway::Sharing;
use gateway::shelf::{Asked, Shelf};
use metering::lease::Grant;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use store::*;
use types::{IncarnationId, Month, ReceiptId, UnixMillis};

/// Whether the store is away; starts as it is made.
pub type Away = Arc<AtomicBool>;

pub struct Switch {
    live: Store,
    /// A handle that is closed, and answers as a store does that cannot be reached.
    dead: Store,
    away: Away,
}

impl Switch {
    pub async fn new(live: Store, url: &str, away: Away) -> Self {
        let dead = Store::open(url).await.unwrap();
        dead.close().await;
        Switch { live, dead, away }
    }

    fn store(&self) -> &Store {
        if self.away.load(Ordering::Relaxed) { &self.dead } else { &self.live }
    }
}

impl Shelf for Switch {
    fn incarnation_begin<'a>(&'a self, gateway: &'a str, inc: IncarnationId, at: UnixMillis) -> Asked<'a, u64> {
        Box::pin(self.store().incarnation_begin(gateway, inc, at))
    }

    fn ship<'a>(&'a self, rows: &'a [ShippedReceipt]) -> Asked<'a, u64, ShipError> {
        Box::pin(self.store().ship(rows))
    }

    fn lease<'a>(
        &'a self,
        inc: IncarnationId,
        asks: &'a [LeaseAsk],
        sharing: Sharing,
    ) -> Asked<'a, Vec<Grant>, LeaseError> {
        Box::pin(self.store().lease(inc, asks, sharing))
    }

    fn lease_wanted(&self, inc: IncarnationId) -> Asked<'_, Vec<(BudgetOf, Month)>, LeaseError> {
        Box::pin(self.store().lease_wanted(inc))
    }

    fn lease_close<'a>(
        &'a self,
        inc: IncarnationId,
        gone: &'a [IncarnationId],
        carried: &'a [Carried],
    ) -> Asked<'a, ()> {
        Box::pin(self.store().lease_close(inc, gone, carried))
    }

    fn sealed_through(&self, inc: IncarnationId, journal_seq: u64) -> Asked<'_, bool> {
        Box::pin(self.store().sealed_through(inc, journal_seq))
    }

    fn receipt(&self, id: ReceiptId) -> Asked<'_, Option<StoredReceipt>> {
        Box::pin(self.store().receipt(id))
    }

    fn receipts<'a>(&'a self, filter: &'a ReceiptFilter) -> Asked<'a, Vec<StoredReceipt>> {
        Box::pin(self.store().receipts(filter))
    }

    fn idempotency_claim<'a>(&'a self, row: &'a IdempotencyRow, now: UnixMillis) -> Asked<'a, KeyHolder> {
        Box::pin(self.store().idempotency_claim(row, now))
    }

    fn idempotency_take<'a>(&'a self, row: &'a IdempotencyRow, from: ReceiptId) -> Asked<'a, bool> {
        Box::pin(self.store().idempotency_take(row, from))
    }

    fn idempotency_sweep(&self, now: UnixMillis) -> Asked<'_, u64> {
        Box::pin(self.store().idempotency_sweep(now))
    }
}
