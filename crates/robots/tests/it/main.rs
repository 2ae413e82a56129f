//! Robots over a real broker (Debian's Mosquitto), with simulated robots as processes; and each thing that they do wrong,
//! without a broker.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod broker;
mod end_to_end;
mod faults;
#[path = "../../../vda5050/tests/it/schema.rs"]
mod schema;
