//! The one integration binary of metering.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod budgets;
mod leases;
