//! An engine's stream in any chunking: the first bytes say where it is cut.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: (Vec<u16>, &[u8])| {
    let (cuts, bytes) = input;
    let cuts: Vec<usize> = cuts.into_iter().map(usize::from).collect();
    gateway::hostile::stream(bytes, &cuts);
});
