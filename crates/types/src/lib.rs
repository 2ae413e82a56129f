//! The words of Hoheit as types: ids, units, money, time, error codes, and the two documents that every room reads,
//! the [`snapshot`] and the [`receipt`].
//!
//! What it is not: it holds no decision (see `policy`, `routing`, `metering`), no cryptography (`ledger`), no clock
//! and no randomness. Ids are made from bytes that the caller brings, times are passed in.
//!
//! Why one crate: a word that two rooms share must mean the same in both, and here the compiler says so.

pub mod acceptance;
pub mod audit;
pub mod code;
pub mod facts;
pub mod id;
pub mod money;
pub mod passage;
pub mod receipt;
pub mod snapshot;
pub mod time;
pub mod usage;

pub use acceptance::AcceptanceClaims;
pub use code::{Code, Fault};
pub use facts::{Country, DataClass, EndpointFacts, Retention};
pub use id::{
    AcceptanceId, AsyncId, AuditId, BrokerId, CollectionId, ConfigurationId, DeploymentId, EndpointId, EngineId,
    FileId, IncarnationId, KeyId, MachineId, OperationId, OrderId, ProjectId, ReceiptId, RuleId, TaskId, TenantId,
    TokenId,
};
pub use money::MicroEur;
pub use passage::Passage;
pub use receipt::{Outcome, ReceiptClaims};
pub use snapshot::Snapshot;
pub use time::{Month, UnixMillis};
pub use usage::{Usage, UsageSource};
