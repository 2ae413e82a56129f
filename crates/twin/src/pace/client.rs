//! The client: N streams held at once, each started again when it ends, and the delay of every token.
//!
//! It says `begin` when the warm-up is over and one line of JSON when the time is up, so that whoever started it can read
//! a gateway's CPU time at just these moments; then it lets the streams end in good order. A stream counts as bad if its
//! status is not 200, if a token is missing, or if it breaks.

use super::head;
use super::{DIGITS, MARK, now_ns};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A stream that says nothing for so long is broken.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// What to ask, and of whom.
#[derive(Debug, Clone)]
pub struct Ask {
    pub address: SocketAddr,
    pub key: String,
    pub body: String,
    pub streams: u32,
    /// Tokens of each answer; the streams' starts are spread over the time that one takes.
    pub tokens: u32,
    pub every: Duration,
    pub warm_up: Duration,
    pub measured: Duration,
}

/// What was seen in the measured time.
#[derive(Debug, Default)]
pub struct Seen {
    /// Of each token: nanoseconds from writing to arrival.
    pub delays: Vec<u64>,
    /// Of each stream begun in it: nanoseconds from asking to the first token.
    pub firsts: Vec<u64>,
    pub ended: u64,
    pub bad: u64,
    /// What the first bad one looked like.
    pub complaint: Option<String>,
}

struct Shared {
    ask: Ask,
    request: Vec<u8>,
    counting: AtomicBool,
    over: AtomicBool,
    seen: Mutex<Seen>,
}

impl Shared {
    fn note(&self, note: impl FnOnce(&mut Seen)) {
        if self.counting.load(Ordering::Relaxed) {
            note(&mut self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        }
    }
}

/// Runs it; `begun` is called when the measured time begins, `over` when it is over, before the streams end.
pub async fn hold(ask: Ask, begun: impl FnOnce(), over: impl FnOnce(Seen)) {
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\naccept: text/event-stream\r\ncontent-length: {}\r\n\r\n{}",
        ask.key,
        ask.body.len(),
        ask.body
    );
    let (warm_up, measured, count) = (ask.warm_up, ask.measured, ask.streams);
    let step = ask.every * ask.tokens / count.max(1);
    let shared = Arc::new(Shared {
        ask,
        request: request.into_bytes(),
        counting: AtomicBool::new(false),
        over: AtomicBool::new(false),
        seen: Mutex::default(),
    });
    let begin = tokio::time::Instant::now();
    let streams: Vec<_> = (0..count)
        .map(|number| {
            let shared = shared.clone();
            tokio::spawn(async move {
                tokio::time::sleep_until(begin + step * number).await;
                while !shared.over.load(Ordering::Relaxed) {
                    if let Err(complaint) = connection(&shared).await {
                        shared.note(|seen| {
                            seen.bad += 1;
                            seen.complaint.get_or_insert(complaint);
                        });
                        // Not as fast as it fails: a gateway that refuses would be flooded.
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
            })
        })
        .collect();
    tokio::time::sleep_until(begin + warm_up).await;
    shared.counting.store(true, Ordering::Relaxed);
    begun();
    tokio::time::sleep_until(begin + warm_up + measured).await;
    shared.counting.store(false, Ordering::Relaxed);
    shared.over.store(true, Ordering::Relaxed);
    over(std::mem::take(&mut shared.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner)));
    for stream in streams {
        let _ended = stream.await;
    }
}

/// One connection, until it is over or the server closes it after a whole answer.
async fn connection(shared: &Shared) -> Result<(), String> {
    let wrong = |error: std::io::Error| error.to_string();
    let mut socket = TcpStream::connect(shared.ask.address).await.map_err(wrong)?;
    socket.set_nodelay(true).map_err(wrong)?;
    let mut bytes = Vec::with_capacity(16_384);
    while !shared.over.load(Ordering::Relaxed) {
        let asked = now_ns();
        socket.write_all(&shared.request).await.map_err(wrong)?;
        let mut answer = Answer::default();
        loop {
            let read = tokio::time::timeout(SILENCE_MAX, socket.read_buf(&mut bytes)).await;
            let count = read.map_err(|_| "silence".to_owned())?.map_err(wrong)?;
            let now = now_ns();
            let first = answer.tokens == 0;
            let ended =
                answer.take(&mut bytes, |sent| shared.note(|seen| seen.delays.push(now.saturating_sub(sent))))?;
            if first && answer.tokens > 0 {
                shared.note(|seen| seen.firsts.push(now - asked));
            }
            if ended {
                break;
            }
            if count == 0 {
                return Err(format!("the connection ended after {} tokens", answer.tokens));
            }
        }
        if answer.tokens != shared.ask.tokens {
            return Err(format!("{} tokens of {}", answer.tokens, shared.ask.tokens));
        }
        shared.note(|seen| seen.ended += 1);
        if answer.close {
            return Ok(());
        }
    }
    Ok(())
}

/// How far an answer has been read.
#[derive(Default)]
struct Answer {
    head: bool,
    close: bool,
    done: bool,
    tokens: u32,
}

impl Answer {
    /// Takes what has arrived; keeps at the end what may be half of something. True at the end of the answer.
    fn take(&mut self, bytes: &mut Vec<u8>, mut token: impl FnMut(u64)) -> Result<bool, String> {
        if !self.head {
            let Some(head) = head::read(bytes) else { return Ok(false) };
            if head.first.split(' ').nth(1) != Some("200") {
                return Err(format!("{}: {}", head.first, String::from_utf8_lossy(&bytes[head.length..])));
            }
            (self.head, self.close) = (true, head.close);
            bytes.drain(..head.length);
        }
        let mut at = 0;
        while let Some(found) = find(&bytes[at..], MARK) {
            let begin = at + found + MARK.len();
            let Some(digits) = bytes.get(begin..begin + DIGITS) else { break };
            let sent = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
            token(sent.ok_or("a token without a time")?);
            self.tokens += 1;
            at = begin + DIGITS;
        }
        const DONE: &[u8] = b"[DONE]";
        if let Some(found) = find(&bytes[at..], DONE) {
            (self.done, at) = (true, at + found + DONE.len());
        }
        if self.done && find(&bytes[at..], b"0\r\n\r\n").is_some() {
            bytes.clear();
            return Ok(true);
        }
        // Half a mark with its digits may stand at the end.
        let keep = bytes.len().saturating_sub(MARK.len() + DIGITS + 16).max(at);
        bytes.drain(..keep);
        Ok(false)
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    let first = what[0];
    let mut from = 0;
    while let Some(at) = bytes.get(from..)?.iter().position(|byte| *byte == first) {
        if bytes[from + at..].starts_with(what) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pace::engine::{Beat, serve};
    use tokio::net::TcpListener;

    #[test]
    fn an_answer_in_any_pieces() {
        let text = format!(
            "HTTP/1.1 200 OK\r\na: b\r\n\r\n2\r\n{{\"t={:019} \"}}\r\n1{{\"t={:019} \"}}[DONE]\n\n\r\n0\r\n\r\n",
            7, 8
        );
        for piece in 1..text.len() {
            let (mut answer, mut bytes, mut sent, mut ended) = (Answer::default(), Vec::new(), Vec::new(), false);
            for part in text.as_bytes().chunks(piece) {
                assert!(!ended);
                bytes.extend_from_slice(part);
                ended = answer.take(&mut bytes, |time| sent.push(time)).expect("it is good");
            }
            assert!(ended && sent == [7, 8], "{piece}: {sent:?}");
        }
    }

    #[test]
    fn a_refusal_is_bad() {
        let mut bytes = b"HTTP/1.1 429 No\r\n\r\nbusy".to_vec();
        let error = Answer::default().take(&mut bytes, |_| {}).expect_err("not 200");
        assert!(error.contains("429") && error.contains("busy"), "{error}");
    }

    #[tokio::test]
    async fn both_ends_together() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let every = Duration::from_millis(1);
        let engine = tokio::spawn(serve(listener, Beat { tokens: 4, every }));
        let ask = Ask {
            address,
            key: "none".into(),
            body: "{}".into(),
            streams: 3,
            tokens: 4,
            every,
            warm_up: Duration::from_millis(5),
            measured: Duration::from_millis(100),
        };
        let (mut begun, mut result) = (false, None);
        hold(ask, || begun = true, |seen| result = Some(seen)).await;
        let seen = result.expect("it was over");
        assert!(begun);
        assert_eq!((seen.bad, seen.complaint), (0, None));
        engine.abort();
    }
}
