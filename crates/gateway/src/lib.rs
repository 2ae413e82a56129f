//! The gateway: the path of a request from a tenant's SDK to an engine and back, under policy, within a budget, and
//! with a receipt at its end.
//!
//! One file per stage, each consuming the witness of the one before:
//!
//! | stage | file | takes | gives |
//! |---|---|---|---|
//! | receive | `receive` | headers, body | `Principal`, then `Received` with an `Obligation` |
//! | admit | `admit` | `Received` | `Admitted` (money held, endpoints permitted) or a refusal |
//! | route | `route`, `queue` | `Admitted` | `Routed` (one replica, after waiting if all are full), up to three times |
//! | relay | `dispatch`, `upstream`, `relay` | `Routed` | a whole answer, or a stream from its first event on |
//! | settle | `settle`, `meter` | usage | what it cost |
//! | receipt | `receipt` | the `Obligation` | one durable receipt, always |
//!
//! What it is not: it decides nothing that a pure crate can decide (`policy`, `routing`, `metering`), knows no SQL and
//! changes no tenant. It never depends on the controller; both meet in `store` and in the snapshot.
//!
//! If we crash anywhere: intents are durable before any byte of an answer leaves, so the next boot finds every request
//! that was open and finishes its receipt as `unresolved` (`recover`).

mod admit;
mod allowance;
mod attempt;
mod bodies;
mod body;
mod catalogue;
mod chunk;
pub mod clock;
pub mod dial;
mod dispatch;
mod edit;
mod fields;
mod fleet;
mod gateway;
mod gauges;
#[cfg(any(test, fuzzing))]
pub mod hostile;
mod idempotency;
pub mod inner;
mod lease;
pub mod limits;
mod linger;
mod link;
pub mod listen;
mod meter;
mod metrics;
mod once;
mod pad;
pub mod paths;
mod pipeline;
mod pool;
mod quarantine;
mod queue;
mod receipt;
mod receipts;
mod receive;
pub mod record;
mod recover;
mod refusal;
mod relay;
mod replica;
mod route;
mod scope;
mod settle;
pub mod shelf;
mod ship;
mod sse;
mod standing;
mod tend;
mod times;
pub mod trace;
mod upstream;
mod view;
mod wall;

pub use body::{BodyError, ForeignBody, Outgoing};
pub use clock::{Clock, SystemClock};
pub use fields::Operation;
pub use gateway::{Gateway, Parts, Readiness, StartError};
pub use gauges::Gauges;
pub use limits::Limits;
pub use metering::lease::Sharing;
pub use metrics::Metrics;
pub use pipeline::RECEIPT_HEADER;
pub use receive::Principal;
pub use receive::{DATA_CLASS_HEADER, PRIORITY_HEADER};
pub use refusal::Refusal;
pub use routing::Strategy;
pub use routing::router::Options as RoutingOptions;
pub use ship::run as ship;
pub use standing::PublishError;
pub use tend::run as tend;
pub use view::ViewError;
