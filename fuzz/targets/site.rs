//! A site file with its serials: the part behind a zero byte, if there is one.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let (site, serials) = match text.split_once('\0') {
        Some((site, serials)) => (site, Some(serials)),
        None => (&*text, None),
    };
    let reading = fleet::site::read(site, serials);
    assert_eq!(reading.site.is_none(), reading.errors().count() > 0);
    let _ = (reading.draft.machines(), reading.draft.totals(), reading.draft.feed_loads());
});
