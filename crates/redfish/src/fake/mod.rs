//! BMCs in memory, for tests and for the twin. They speak Redfish as far as [`crate::Client`] does, over HTTP on loopback, or
//! by a function call without any network ([`Bmc::answer`]).
//!
//! Light enough for a site of them in one process: machines of one shape share one tree of resources, and each has only what is
//! different about it. Not a reference: what a real BMC does is in the capture that the tests serve with this.

mod bmc;
mod server;
mod shape;
mod tree;

pub use bmc::{Bmc, Misdeed, Question, Reply};
pub use server::{Options, Server};
pub use shape::Shape;
pub use tree::Tree;
