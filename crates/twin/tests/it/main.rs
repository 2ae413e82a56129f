//! The scripted engine as its clients see it. What it says and what it counts must agree with the script, or every test
//! that trusts it is worthless.

mod client;
mod stream;
mod whole;
