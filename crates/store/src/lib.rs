//! The only SQL in Hoheit: tenants, keys, endpoints, rules, prices and receipts, in SQLite or PostgreSQL, from the same
//! statements and the same migrations; and the log's files ([`tiles`]).
//!
//! What it is not: it decides nothing. Names are checked, keys are hashed, rules are compiled and trees are computed by
//! those who call. It holds no content of any request.
//!
//! Four promises, each with a test:
//! - A change and its audit entry are one transaction ([`change`]), and that transaction also moves the version of the
//!   snapshot. There is no change without an entry and no entry without a change.
//! - A snapshot is one moment, never half a change ([`snapshot`]).
//! - What is leased of a budget and what is spent of it are never more than it is ([`leases`]).
//! - A receipt has one place in one chain and one place in the log, forever: shipping twice changes nothing, and another
//!   receipt for the same place is refused as a fork ([`receipts`], [`log`]).

mod aicore;
mod asked;
mod audit;
mod broker;
mod change;
mod database;
mod endpoints;
mod engines;
mod error;
mod fleet;
mod gather;
mod idempotency;
mod keys;
mod knowledge;
mod leases;
mod log;
mod open;
mod partners;
mod prices;
mod projects;
mod receipts;
mod rules;
mod run;
mod ship;
mod snapshot;
mod statements;
mod tenants;
pub mod tiles;
mod tokens;
mod upgrade;

pub use aicore::configurations::AicoreConfiguration;
pub use aicore::deployments::{AicoreDeployment, Allowed};
pub use aicore::groups::AicoreGroup;
pub use aicore::{DEFAULT_GROUP, Made};
pub use asked::{AskedRow, AskedStatus, AskedTaken, NewAsked};
pub use broker::registrations::BrokerRow;
pub use broker::slots::{BindingRow, InstanceRow, SlotRow};
pub use broker::writes::{BindingWrite, BrokerWrite, InstanceWrite, ProjectWrite};
pub use error::StoreError;
pub use fleet::acceptances::{NewAcceptance, StoredAcceptance};
pub use fleet::agents::{AgentCertificate, AgentToken, Bmc, Redeemed};
pub use fleet::custody::Holder;
pub use fleet::events::{EVENTS_FORGOTTEN_MAX, EVENTS_KEPT_MAX, EVENTS_OF_NOBODY_MAX, FleetEvent};
pub use fleet::machines::{MachineCount, MachineRow, SiteChange};
pub use fleet::observations::Observation;
pub use fleet::orders::{OrderRow, Swapped};
pub use fleet::sent::Sent;
pub use fleet::site_models::SiteModel;
pub use fleet::steps::{Decided, Due, StepError, Stepped};
pub use idempotency::{IdempotencyRow, KeyHolder};
pub use knowledge::attachments::{AttachedAs, AttachmentRow, ReadFile, ReadStored, UnfinishedRow};
pub use knowledge::collections::CollectionRow;
pub use knowledge::files::{FileRoom, FileRow, FileStored};
pub use knowledge::keys::DataKeyRow;
pub use knowledge::passages::{NewPassage, PassageRow};
pub use leases::{BudgetOf, Carried, LeaseAsk, LeaseError};
pub use log::SealError;
pub use partners::Partner;
pub use receipts::{ReceiptFilter, Spent, StoredReceipt};
pub use ship::{Claim, ForkAt, ShipError, ShippedReceipt};
pub use tokens::ControlToken;

/// A handle on the site's database; clones share one pool.
#[derive(Clone)]
pub struct Store {
    database: database::Database,
    /// Small writes that are committed together.
    gathering: std::sync::Arc<gather::Queue>,
    /// Places for writes that wait for a project.
    project_writers: std::sync::Arc<tokio::sync::Semaphore>,
}

impl Store {
    /// Lets running statements end and closes every connection; SQLite then folds its write-ahead log in.
    pub async fn close(&self) {
        self.database.close().await;
    }
}
