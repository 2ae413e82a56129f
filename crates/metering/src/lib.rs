//! Money and speed: what a request costs, what it could cost at most, whether a budget covers that, and whether a rate
//! limit lets it pass.
//!
//! - [`price`]: the price book; [`rate`] and [`bound`]. `bound >= rate` for any usage within the bounds: on this one
//!   inequality stands invariant 4 (budgets are never overshot).
//! - [`budget`]: accounts that hold money for a request and settle it once.
//! - [`lease`]: how much of a budget each of several gateways may spend.
//! - [`revenue`]: what a provider's endpoints earned, and its share.
//! - [`bucket`]: requests and tokens per minute.
//!
//! What it is not: no clock (months and milliseconds are arguments), no storage (what was spent before comes in as a
//! number), no lock (whoever shares an account between threads brings one), no floating point.
//!
//! If we crash here: nothing is lost, because nothing here is the record. Leases are granted anew, from what the store's
//! receipts add up to; buckets start full.

pub mod bucket;
pub mod budget;
pub mod lease;
pub mod price;
pub mod revenue;

pub use price::{PriceError, bound, digest, price_for, rate, validate};
