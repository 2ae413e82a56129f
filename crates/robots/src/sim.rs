//! A simulated robot: speaks VDA 5050 over MQTT as a robot does, works orders, and misbehaves when told to. For tests and
//! the twin; `twin-robot` is one as a process.
//!
//! [`Machine`] decides and knows no clock; [`run`] carries it over MQTT with a last will.

mod machine;
mod run;

pub use machine::{Do, Fault, Machine, Sheet};
pub use run::{Options, run};
