//! An engine's whole answer, and the same bytes as one event of a stream.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    gateway::hostile::answer(bytes);
    gateway::hostile::event(&[b"data: ", bytes, b"\n\n"].concat());
});
