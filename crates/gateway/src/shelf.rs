//! What a gateway asks of the site's database, and nothing else of it. In the product that is [`Store`]; the simulation
//! brings one that answers late, not at all, or does what it was asked and does not say so.
//!
//! None of it is on a request's way to its answer, but for reading receipts: a call may cost an allocation.

use std::future::Future;
use std::pin::Pin;
use store::{ReceiptFilter, ShipError, ShippedReceipt, Spent, Store, StoreError, StoredReceipt};
use types::{IncarnationId, Month, ReceiptId, UnixMillis};

/// A call under way.
pub type Asked<'a, T, E = StoreError> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'a>>;

/// Where receipts are kept. Each method promises what the one of [`Store`] promises.
pub trait Shelf: Send + Sync + 'static {
    fn incarnation_begin<'a>(&'a self, gateway: &'a str, inc: IncarnationId, at: UnixMillis) -> Asked<'a, ()>;
    fn ship<'a>(&'a self, rows: &'a [ShippedReceipt]) -> Asked<'a, u64, ShipError>;
    fn spent(&self, month: Month) -> Asked<'_, Vec<Spent>>;
    fn sealed_through(&self, inc: IncarnationId, journal_seq: u64) -> Asked<'_, bool>;
    fn receipt(&self, id: ReceiptId) -> Asked<'_, Option<StoredReceipt>>;
    fn receipts<'a>(&'a self, filter: &'a ReceiptFilter) -> Asked<'a, Vec<StoredReceipt>>;
}

impl Shelf for Store {
    fn incarnation_begin<'a>(&'a self, gateway: &'a str, inc: IncarnationId, at: UnixMillis) -> Asked<'a, ()> {
        Box::pin(Store::incarnation_begin(self, gateway, inc, at))
    }

    fn ship<'a>(&'a self, rows: &'a [ShippedReceipt]) -> Asked<'a, u64, ShipError> {
        Box::pin(Store::ship(self, rows))
    }

    fn spent(&self, month: Month) -> Asked<'_, Vec<Spent>> {
        Box::pin(Store::spent(self, month))
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
}
