//! Robots over MQTT: carries `vda5050`'s sessions to a broker and back.
//!
//! What it is not: it chooses no robot and knows no order of work (`fleet` does), decides nothing about a message
//! (`vda5050` does) and stores nothing: [`Handle::export`] is kept by the caller and handed back to [`start`].
//!
//! ```text
//! let (robots, mut reports) = robots::start(options, saved)?;
//! robots.give(robot, job)?;             // -> Report::Task … Done, Failed, Refused, Cancelled or Lost, exactly one of them
//! while let Some(report) = reports.recv().await { … }
//! ```
//!
//! If we crash here: what was published is with the robots, what they publish meanwhile is lost but the newest state comes
//! within 30 s. Give again what was given; the ids are the same and a robot takes an order once.

pub mod broker;
pub mod connection;
pub mod link;
pub mod sim;
mod throttle;

pub use broker::{Broker, BrokerError};
pub use link::{AskError, Clock, Handle, Options, Report, StartError, start};
pub use vda5050::session::{Presence, Progress, Rules, View};
pub use vda5050::{Job, RobotId};
