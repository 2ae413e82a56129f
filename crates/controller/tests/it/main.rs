//! The control API over a real store, and the sealer over real files; no socket.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod agents;
mod bmcs;
mod broker;
mod coverage;
mod discovery;
mod input;
mod lifecycle;
mod openapi;
mod partners;
mod reconcile;
mod robots;
mod sealing;
mod site;
