//! The shells against a real gateway in this process, with scripted engines behind it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod aicore;
