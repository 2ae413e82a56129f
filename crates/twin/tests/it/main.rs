//! The scripted engine as its clients see it. What it says and what it counts must agree with the script, or every test
//! that trusts it is worthless.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod client;
mod stream;
mod whole;
