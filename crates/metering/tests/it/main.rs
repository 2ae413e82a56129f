//! The one integration binary of metering.

mod budgets;
