//! A bundle of log entries, whoever wrote it.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Some(entries) = ledger::tile::parse_entries(bytes) {
        let framed = entries.iter().flat_map(|entry| [&(entry.len() as u16).to_be_bytes()[..], entry].concat());
        assert_eq!(framed.collect::<Vec<u8>>(), bytes);
    }
});
