//! Padding of streams against length analysis: whoever sees only the sizes of encrypted records must not read the lengths of
//! tokens from them, which is enough to tell what a conversation is about (Whisper Leak, arXiv 2511.03675).
//!
//! Each frame of a padded stream gets a comment line, which every SSE parser ignores, that brings it to a multiple of
//! [`BUCKET_BYTES`]. How far is thrown anew for each: rounding alone would tell on which side of an edge a token lies, with
//! the throw an event of one byte more is in the next bucket once in 256 times more often.
//!
//! What it is not: it hides neither when frames leave nor how many they are, and it does nothing for answers that are not
//! streamed. A proxy that compresses undoes it, so a padded stream says `no-transform`. Streams of a class below the
//! configured one pass as they are. If we crash here: nothing is kept.

use crate::clock::Clock;
use bytes::{BufMut, BytesMut};

/// A chunk of an answer is 200 to 300 bytes with a token of 1 to 16: two buckets hold nearly all of them, and a token costs
/// 256 bytes more on average. At 30 tokens a second that is 8 KB/s, a sixth of a voice call.
pub const BUCKET_BYTES: usize = 256;

/// Throws that are made at once: a call of the generator costs more than what it gives.
const THROWS: usize = 64;

/// The comment's colon and its empty line.
const FRAME_BYTES: usize = 3;

/// One stream's padding.
pub struct Padding {
    throws: [u8; THROWS],
    left: usize,
}

impl Padding {
    pub fn new() -> Padding {
        Padding { throws: [0; THROWS], left: 0 }
    }

    /// Pads one frame of whole events.
    pub fn fill(&mut self, frame: &mut BytesMut, clock: &dyn Clock) {
        if self.left == 0 {
            clock.random(&mut self.throws);
            self.left = THROWS;
        }
        self.left -= 1;
        // A byte is a throw below the bucket's 256.
        let least = frame.len() + FRAME_BYTES + usize::from(self.throws[self.left]);
        let padding = least.next_multiple_of(BUCKET_BYTES) - frame.len() - FRAME_BYTES;
        frame.reserve(padding + FRAME_BYTES);
        frame.put_u8(b':');
        frame.put_bytes(b'.', padding);
        frame.put_slice(b"\n\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use std::collections::BTreeSet;
    use std::sync::Mutex;
    use types::UnixMillis;

    /// Every byte once in 256 throws, in an order that is not that of the events.
    struct Dice(Mutex<u8>);

    impl Clock for Dice {
        fn now(&self) -> UnixMillis {
            UnixMillis(0)
        }

        fn monotonic_millis(&self) -> u64 {
            0
        }

        fn random(&self, bytes: &mut [u8]) {
            let mut at = self.0.lock().unwrap();
            for byte in bytes {
                *at = at.wrapping_mul(5).wrapping_add(77);
                *byte = *at;
            }
        }
    }

    fn event(token: usize) -> BytesMut {
        let head = r#"{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1795000000,"model":"m","choices":"#;
        let text = "t".repeat(token);
        BytesMut::from(format!("data: {head}[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n").as_str())
    }

    fn padded(token: usize, padding: &mut Padding, dice: &dyn Clock) -> BytesMut {
        let mut frame = event(token);
        padding.fill(&mut frame, dice);
        frame
    }

    #[test]
    fn sizes_fall_into_few_buckets_and_tell_next_to_nothing_of_a_tokens_length() {
        let dice = Dice(Mutex::new(1));
        let mut padding = Padding::new();
        // Lengths of tokens as models have them, and the sizes that a listener sees.
        let seen: Vec<(f64, usize)> = (0..256 * 64)
            .map(|place: usize| {
                let token = 1 + (place * 7 + place / 256) % 16;
                (token as f64, padded(token, &mut padding, &dice).len())
            })
            .collect();
        let sizes: BTreeSet<usize> = seen.iter().map(|(_, size)| *size).collect();
        assert!(sizes.iter().all(|size| size % BUCKET_BYTES == 0) && sizes.len() <= 2, "{sizes:?}");
        let mean = |of: &dyn Fn(&(f64, usize)) -> f64| seen.iter().map(of).sum::<f64>() / seen.len() as f64;
        let (token, size) = (mean(&|it| it.0), mean(&|it| it.1 as f64));
        let covariance = mean(&|it| (it.0 - token) * (it.1 as f64 - size));
        let spread = |of: &dyn Fn(&(f64, usize)) -> f64, middle: f64| mean(&|it| (of(it) - middle).powi(2)).sqrt();
        let correlation = covariance / spread(&|it| it.0, token) / spread(&|it| it.1 as f64, size);
        // Without padding it is 1; rounding alone leaves the side of the edge.
        assert!(correlation.abs() < 0.08, "{correlation}");
    }

    #[test]
    fn nothing_of_the_events_changes_and_parsers_see_a_comment() {
        let dice = Dice(Mutex::new(1));
        let mut padding = Padding::new();
        for token in (0..600).chain([5_000]) {
            let (plain, frame) = (event(token), padded(token, &mut padding, &dice));
            let comment = frame.strip_prefix(&plain[..]).unwrap();
            assert!(comment.starts_with(b":") && comment.ends_with(b"\n\n"));
            assert!(!comment[..comment.len() - 2].contains(&b'\n'), "one line");
        }
    }

    /// Not a test: what padding costs. `cargo test --release -p gateway -- --ignored --nocapture what_padding_costs`
    #[test]
    #[ignore = "a measurement, for docs/performance.md"]
    fn what_padding_costs() {
        const EVENTS: usize = 1_000_000;
        let clock = SystemClock::start();
        let (mut padding, plain, mut bytes) = (Padding::new(), event(4), 0);
        let mut frame = BytesMut::with_capacity(1 << 10);
        let mut time = |pads: bool| {
            bytes = 0;
            let begin = std::time::Instant::now();
            for _ in 0..EVENTS {
                frame.clear();
                frame.extend_from_slice(&plain);
                if pads {
                    padding.fill(&mut frame, &clock);
                }
                bytes += std::hint::black_box(&frame).len();
            }
            (begin.elapsed().as_nanos() as f64 / EVENTS as f64, bytes as f64 / EVENTS as f64)
        };
        let (without, with) = (time(false), time(true));
        println!("ns and bytes an event: {without:?} without, {with:?} with padding");
    }
}
