//! BMCs over Redfish: what is in a machine, is it on, does it boot as it should, what does its BMC complain about; one
//! machine ([`Client`]) or all of a site ([`sweep`]).
//!
//! Decides nothing about a machine: it answers [`fleet::observed::Inventory`], and a reducer in `fleet` compares that with the
//! bill of materials. Stores nothing: a crash loses a reading, and the next one is made from the beginning.
//!
//! A BMC is believed to be hostile: everything that it sends is bounded by a named limit ([`limits`]), it is asked nothing
//! outside its own origin, and credentials go to the certificate that is pinned or that the site's CA signed, and to nobody
//! else. What could not be read is a [`Gap`] of the reading, never an empty field that looks like a missing part.
//!
//! [`fake`] is the other side: BMCs in memory, for tests and for the twin.

mod account;
mod address;
pub mod backoff;
mod boot;
mod client;
mod error;
pub mod fake;
mod field;
mod glance;
mod inventory;
pub mod limits;
mod log;
mod parts;
mod path;
mod power;
pub mod sweep;
mod trust;
mod update;
mod walk;
mod wire;

pub use address::{Address, Credentials, Login, Password};
pub use boot::BootTarget;
pub use client::Client;
pub use error::{Error, Fault, Retry};
pub use glance::Glance;
pub use inventory::{Layout, Reading};
pub use limits::Limits;
pub use log::{Entry, Severity};
pub use power::Reset;
pub use trust::{Fingerprint, Trust};
pub use update::{Task, TaskState};
pub use walk::Gap;
