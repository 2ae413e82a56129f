//! Agents and their site over real sockets on loopback: enrolment, every bad input, reports, NVML, validation, supervision.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod enrolment;
mod gpus;
mod place;
mod refusals;
mod supervision;
mod validation;
mod work;
