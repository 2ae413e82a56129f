//! The broker's decisions from outside: lives of instances and bindings in any order of calls, and signed contexts.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod lives;
mod signed;
