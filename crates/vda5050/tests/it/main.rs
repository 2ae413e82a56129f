//! VDA 5050 as a whole: every message of ours against the schemas, one robot's session in tables, and in any order.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod messages;
mod properties;
mod rejections;
mod robot;
mod schema;
mod session;
