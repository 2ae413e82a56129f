//! The whole process from outside: a real `hoheit up` in a temporary folder, real sockets, and what is left on disk.
//!
//! What one crate can show alone is shown there; here stands what only the whole can show.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod broker;
mod canary;
mod client;
mod described;
mod dribble;
mod fleet;
mod kill;
mod metrics;
mod nano;
mod partner;
mod plan;
mod robots;
mod rollout;
mod script;
mod sdk;
mod shredding;
mod site;
mod sonar;
mod start;
mod stop;
mod together;
mod traces;
mod twin;
mod watching;
