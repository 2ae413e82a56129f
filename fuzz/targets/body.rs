//! A request's body, and what would be forwarded of it.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gateway::hostile::body(bytes));
