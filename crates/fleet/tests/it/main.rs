//! The fleet's stories, and what must hold for any machine whatever is observed of it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod scenarios;
mod steps;
