//! A journal record's payload.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gateway::hostile::record(bytes));
