//! Server-sent events, incrementally: bytes in, whole events out, whatever the chunking (WHATWG HTML, section 9.2).
//!
//! It splits and finds the data; it does not interpret. Lines may end in LF, CRLF or CR, events end with an empty line.
//! Events are handed out as the bytes that came, so that an untouched event is forwarded untouched. An event larger
//! than the limit is an error: an engine must not make us hold its endless line.

use bytes::{Bytes, BytesMut};

/// An event is longer than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the engine sent an event larger than the limit")]
pub struct EventTooLarge;

pub struct Splitter {
    pending: BytesMut,
    /// Bytes of `pending` already searched, so that a slow event costs its length once.
    searched: usize,
    limit: usize,
}

impl Splitter {
    pub fn new(limit: usize) -> Self {
        Splitter { pending: BytesMut::new(), searched: 0, limit }
    }

    pub fn push(&mut self, chunk: &[u8]) {
        self.pending.extend_from_slice(chunk);
    }

    /// The next whole event with its closing empty line.
    pub fn next_event(&mut self) -> Result<Option<Bytes>, EventTooLarge> {
        // An event end is at most four bytes (CRLFCRLF): step back three, it may have begun in the last chunk.
        match event_end(&self.pending, self.searched.saturating_sub(3)) {
            Some(end) if end > self.limit => Err(EventTooLarge),
            Some(end) => {
                self.searched = 0;
                Ok(Some(self.pending.split_to(end).freeze()))
            }
            None if self.pending.len() > self.limit => Err(EventTooLarge),
            None => {
                self.searched = self.pending.len();
                Ok(None)
            }
        }
    }

    /// What came after the last whole event.
    #[cfg(any(test, fuzzing))]
    pub fn rest(&self) -> &[u8] {
        &self.pending
    }
}

/// Where the first event ends: after an empty line. A CR at the very end waits, since an LF may follow.
fn event_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(found) = memchr::memchr2(b'\n', b'\r', &bytes[at..]) {
        let first = line_end(bytes, at + found)?;
        match bytes.get(first) {
            Some(b'\n' | b'\r') => return line_end(bytes, first),
            Some(_) => at = first,
            None => return None,
        }
    }
    None
}

/// The index after the line end at `at`; none if a CR is the last byte.
fn line_end(bytes: &[u8], at: usize) -> Option<usize> {
    match (bytes[at], bytes.get(at + 1)) {
        (b'\r', Some(b'\n')) => Some(at + 2),
        (b'\r', None) => None,
        _ => Some(at + 1),
    }
}

/// The data of an event: the range of the value if it stands in one line, as every engine sends it; otherwise none.
/// A comment has no range, nor has an event of several data lines; [`has_data`] tells them apart.
pub fn data_range(event: &[u8]) -> Option<std::ops::Range<usize>> {
    let mut found = None;
    let mut start = 0;
    while start < event.len() {
        let length = memchr::memchr2(b'\n', b'\r', &event[start..]).unwrap_or(event.len() - start);
        let line = &event[start..start + length];
        if let Some(value) = line.strip_prefix(b"data:") {
            if found.is_some() {
                return None;
            }
            let value = value.strip_prefix(b" ").unwrap_or(value);
            let end = start + length;
            found = Some(end - value.len()..end);
        }
        start += length + 1;
    }
    found
}

/// Whether an event has data at all, or is a comment.
pub fn has_data(event: &[u8]) -> bool {
    let mut start = 0;
    while start < event.len() {
        if event[start..]
            .strip_prefix(b"data")
            .is_some_and(|rest| matches!(rest.first(), None | Some(b':' | b'\n' | b'\r')))
        {
            return true;
        }
        start += memchr::memchr2(b'\n', b'\r', &event[start..]).map_or(event.len() - start, |at| at + 1);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(chunks: &[&[u8]]) -> (Vec<Vec<u8>>, Vec<u8>) {
        let mut splitter = Splitter::new(1 << 20);
        let mut events = Vec::new();
        for chunk in chunks {
            splitter.push(chunk);
            while let Some(event) = splitter.next_event().unwrap() {
                events.push(event.to_vec());
            }
        }
        (events, splitter.rest().to_vec())
    }

    #[test]
    fn line_ends() {
        for text in ["data: a\n\ndata: b\n\nx", "data: a\r\n\r\ndata: b\r\n\r\nx", "data: a\r\rdata: b\r\rx"] {
            let (events, rest) = split(&[text.as_bytes()]);
            assert_eq!((events.len(), rest.as_slice()), (2, b"x".as_slice()), "{text:?}");
            assert_eq!(&events[0][data_range(&events[0]).unwrap()], b"a");
        }
    }

    #[test]
    fn a_comment_has_no_data() {
        for (event, has) in [
            (": ping\n\n", false),
            ("event: x\n\n", false),
            ("database: x\n\n", false),
            ("\n\n", false),
            ("data: a\n\n", true),
            ("data\n\n", true),
            (": c\r\ndata:a\r\n\r\n", true),
            ("data: a\ndata: b\n\n", true),
        ] {
            assert_eq!(has_data(event.as_bytes()), has, "{event:?}");
        }
    }

    #[test]
    fn data_values() {
        let check = |event: &str, expect: Option<&str>| {
            assert_eq!(data_range(event.as_bytes()).map(|range| &event[range]), expect, "{event:?}");
        };
        check("data: {}\n\n", Some("{}"));
        check("data:{}\n\n", Some("{}"));
        check("event: x\ndata:  y\n\n", Some(" y"));
        check(": ping\n\n", None);
        check("data: a\ndata: b\n\n", None);
    }

    #[test]
    fn f11_an_event_at_the_limit_passes_and_one_byte_more_does_not() {
        let mut splitter = Splitter::new(10);
        splitter.push(b"data: 12\n\n");
        assert!(splitter.next_event().unwrap().is_some());
        splitter.push(b"data: 123\n\n");
        assert_eq!(splitter.next_event(), Err(EventTooLarge));
        let mut endless = Splitter::new(10);
        endless.push(b"data: 123456");
        assert_eq!(endless.next_event(), Err(EventTooLarge));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        /// Any chunking equals the whole.
        #[test]
        fn f11_chunking_changes_nothing(
            text in prop::collection::vec(prop::sample::select(b"ad: \r\n\n\r{}".to_vec()), 0..120),
            cuts in prop::collection::vec(0usize..120, 0..8),
        ) {
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            prop_assert_eq!(split(&chunks), split(&[&text]));
        }
    }
}
