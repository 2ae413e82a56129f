//! VDA 5050, the fleet's side: the messages of versions 3.0.0 and 2.1.0, their topics, orders made from tasks, and one
//! robot's [`session::Session`] as a state machine.
//!
//! What it is not: it opens no connection (`robots` does), plans no routes and chooses no robot (`fleet` does). Pure: time
//! comes in as an argument, random bytes are not needed, because ids follow from the task and its attempt. So a controller
//! that crashed and gives the same attempt again sends the same order, which a robot takes once.
//!
//! One representation, that of 3.0; what 2.1 calls otherwise is a table ([`dialect`]). Reading is lenient: unknown fields
//! are kept out, unknown words are a finding. Writing is strict: what we would not validate does not leave.

pub mod dialect;
pub mod job;
pub mod limits;
pub mod message;
pub mod order;
pub mod robot;
pub mod session;
pub mod stamp;
pub mod topic;
pub mod version;

pub use job::Job;
pub use message::{Message, ReadError, WriteError, read, write};
pub use robot::RobotId;
pub use session::{Effect, Input, Progress, Report, Session, View};
pub use topic::{Names, Topic};
pub use version::Version;
