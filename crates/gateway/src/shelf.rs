//! What a gateway asks of the site's database, and nothing else of it. In the product that is [`Store`]; the simulation
//! brings one that answers late, not at all, or does what it was asked and does not say so.
//!
//! None of it is on a request's way to its answer, but for reading receipts and claiming the idempotency key of a request
//! that names one: a call may cost an allocation.

use metering::lease::{Grant, Sharing};
use std::future::Future;
use std::pin::Pin;
use store::{
    BudgetOf, Carried, IdempotencyRow, KeyHolder, LeaseAsk, LeaseError, ReceiptFilter, ShipError, ShippedReceipt,
    Store, StoreError, StoredReceipt,
};
use types::{IncarnationId, Month, ReceiptId, UnixMillis};

/// A call under way.
pub type Asked<'a, T, E = StoreError> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'a>>;

/// Where receipts are kept. Each method promises what the one of [`Store`] promises.
pub trait Shelf: Send + Sync + 'static {
    fn incarnation_begin<'a>(&'a self, gateway: &'a str, inc: IncarnationId, at: UnixMillis) -> Asked<'a, u64>;
    fn ship<'a>(&'a self, rows: &'a [ShippedReceipt]) -> Asked<'a, u64, ShipError>;
    fn lease<'a>(
        &'a self,
        inc: IncarnationId,
        asks: &'a [LeaseAsk],
        sharing: Sharing,
    ) -> Asked<'a, Vec<Grant>, LeaseError>;
    fn lease_wanted(&self, inc: IncarnationId) -> Asked<'_, Vec<(BudgetOf, Month)>, LeaseError>;
    fn lease_close<'a>(
        &'a self,
        inc: IncarnationId,
        gone: &'a [IncarnationId],
        carried: &'a [Carried],
    ) -> Asked<'a, ()>;
    fn sealed_through(&self, inc: IncarnationId, journal_seq: u64) -> Asked<'_, bool>;
    fn receipt(&self, id: ReceiptId) -> Asked<'_, Option<StoredReceipt>>;
    fn receipts<'a>(&'a self, filter: &'a ReceiptFilter) -> Asked<'a, Vec<StoredReceipt>>;
    fn idempotency_claim<'a>(&'a self, row: &'a IdempotencyRow, now: UnixMillis) -> Asked<'a, KeyHolder>;
    fn idempotency_take<'a>(&'a self, row: &'a IdempotencyRow, from: ReceiptId) -> Asked<'a, bool>;
    fn idempotency_sweep(&self, now: UnixMillis) -> Asked<'_, u64>;
}

impl Shelf for Store {
    fn incarnation_begin<'a>(&'a self, gateway: &'a str, inc: IncarnationId, at: UnixMillis) -> Asked<'a, u64> {
        Box::pin(Store::incarnation_begin(self, gateway, inc, at))
    }

    fn ship<'a>(&'a self, rows: &'a [ShippedReceipt]) -> Asked<'a, u64, ShipError> {
        Box::pin(Store::ship(self, rows))
    }

    fn lease<'a>(
        &'a self,
        inc: IncarnationId,
        asks: &'a [LeaseAsk],
        sharing: Sharing,
    ) -> Asked<'a, Vec<Grant>, LeaseError> {
        Box::pin(Store::lease(self, inc, asks, sharing))
    }

    fn lease_wanted(&self, inc: IncarnationId) -> Asked<'_, Vec<(BudgetOf, Month)>, LeaseError> {
        Box::pin(Store::lease_wanted(self, inc))
    }

    fn lease_close<'a>(
        &'a self,
        inc: IncarnationId,
        gone: &'a [IncarnationId],
        carried: &'a [Carried],
    ) -> Asked<'a, ()> {
        Box::pin(Store::lease_close(self, inc, gone, carried))
    }

    fn sealed_through(&self, inc: IncarnationId, journal_seq: u64) -> Asked<'_, bool> {
        Box::pin(Store::sealed_through(self, inc, journal_seq))
    }

    fn receipt(&self, id: ReceiptId) -> Asked<'_, Option<StoredReceipt>> {
        Box::pin(Store::receipt(self, id))
    }

    fn receipts<'a>(&'a self, filter: &'a ReceiptFilter) -> Asked<'a, Vec<StoredReceipt>> {
        Box::pin(Store::receipts(self, filter))
    }

    fn idempotency_claim<'a>(&'a self, row: &'a IdempotencyRow, now: UnixMillis) -> Asked<'a, KeyHolder> {
        Box::pin(Store::idempotency_claim(self, row, now))
    }

    fn idempotency_take<'a>(&'a self, row: &'a IdempotencyRow, from: ReceiptId) -> Asked<'a, bool> {
        Box::pin(Store::idempotency_take(self, row, from))
    }

    fn idempotency_sweep(&self, now: UnixMillis) -> Asked<'_, u64> {
        Box::pin(Store::idempotency_sweep(self, now))
    }
}
