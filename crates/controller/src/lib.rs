//! The control API, the publication of snapshots, and the sealer.
//!
//! What it is not: it serves no inference (`gateway`), holds no SQL (`store`), decides no policy (`policy`) and no tree
//! arithmetic (`ledger`). It checks who asks, validates, writes a change together with its audit entry, publishes the
//! snapshot before it answers, and appends receipts to the log.
//!
//! If we crash between a change and its publication, the change is durable and the caller got no answer; the next start
//! publishes it.

pub mod access;
pub mod agents;
mod api;
mod controller;
mod input;
mod issue;
mod osb;
mod problem;
pub mod reconcile;
pub mod seal;
pub mod secret;

pub use api::openapi;
pub use controller::{AgentToken as AgentTokens, Controller, ControllerParts, Readiness};
pub use input::{BODY_BYTES_MAX, SITE_BODY_BYTES_MAX};
pub use issue::{Issuer, TTL as SNAPSHOT_TTL};
pub use osb::{BrokerParts, KeepsNothing, OnDeprovision};
pub use problem::{Problem, ProblemBody};
pub use secret::Pepper;
