//! A customer: one kept connection, one request after the other, of every kind in turn. It remembers which receipts answers
//! named and what they said of usage; that is what the audit holds the export against.

use super::engines::{BREAKS, LIES, MODEL};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Longer than any answer here takes, with an engine killed on the way.
const PATIENCE: Duration = Duration::from_secs(60);
/// Different prompts, so that prefix routing has something to know and memory something to hold.
const PROMPTS: u64 = 5_000;
const LONG_BYTES: usize = 48 * 1024;

/// What is asked for; [`ROUND`] says in which order, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Whole,
    Stream,
    /// Hangs up after a few events.
    Leave,
    /// Hangs up before the answer begins.
    LeaveAtOnce,
    /// Pauses between reads.
    ReadSlowly,
    Long,
    /// From an engine that breaks its streams.
    Broken,
    /// From an engine that lies about usage.
    Lied,
    /// A model that does not exist.
    Refused,
    /// A body that is no JSON.
    Malformed,
}

const ROUND: [Kind; 20] = [
    Kind::Whole,
    Kind::Stream,
    Kind::Whole,
    Kind::Leave,
    Kind::Stream,
    Kind::Long,
    Kind::Whole,
    Kind::Broken,
    Kind::Stream,
    Kind::Whole,
    Kind::ReadSlowly,
    Kind::Lied,
    Kind::Whole,
    Kind::Stream,
    Kind::Refused,
    Kind::Leave,
    Kind::Whole,
    Kind::LeaveAtOnce,
    Kind::Stream,
    Kind::Malformed,
];

/// What an answer said that its receipt must say too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub receipt: String,
    /// Input and output tokens, where the answer came to its end and its engine tells the truth.
    pub usage: Option<(u64, u64)>,
}

/// What customers have seen.
#[derive(Default)]
pub struct Tally {
    pub named: Vec<Named>,
    kinds: BTreeMap<Kind, u64>,
    /// Answers by status; 0 for a connection that broke before one.
    statuses: BTreeMap<u16, u64>,
}

impl Tally {
    pub fn add(&mut self, other: Tally) {
        self.named.extend(other.named);
        for (kind, count) in other.kinds {
            *self.kinds.entry(kind).or_default() += count;
        }
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
    }

    pub fn asked(&self) -> u64 {
        self.kinds.values().sum()
    }

    pub fn kinds(&self) -> serde_json::Value {
        let kinds = self.kinds.iter().map(|(kind, count)| (format!("{kind:?}"), *count));
        let statuses = self.statuses.iter().map(|(status, count)| (format!("status {status}"), *count));
        kinds.chain(statuses).collect::<BTreeMap<_, _>>().into_iter().collect()
    }
}

pub struct Customer {
    number: u64,
    address: SocketAddr,
    key: String,
    pause: Duration,
    socket: Option<BufReader<TcpStream>>,
}

/// The head of an answer.
struct Head {
    status: u16,
    receipt: Option<String>,
    /// None: chunked.
    length: Option<usize>,
    closes: bool,
}

impl Customer {
    pub fn new(number: u64, address: SocketAddr, key: String, pause: Duration) -> Customer {
        Customer { number, address, key, pause, socket: None }
    }

    pub fn ask_until(mut self, over: &AtomicBool) -> Tally {
        let mut tally = Tally::default();
        for asked in 0.. {
            if over.load(Ordering::Relaxed) {
                break;
            }
            let kind = ROUND[((asked + self.number * 7) % ROUND.len() as u64) as usize];
            *tally.kinds.entry(kind).or_default() += 1;
            let prompt = (asked * 31 + self.number * 977) % PROMPTS;
            let status = match self.ask(kind, prompt, &mut tally.named) {
                Ok(status) => status,
                Err(_) => {
                    self.socket = None;
                    0
                }
            };
            *tally.statuses.entry(status).or_default() += 1;
            std::thread::sleep(self.pause);
        }
        tally
    }

    fn ask(&mut self, kind: Kind, prompt: u64, named: &mut Vec<Named>) -> std::io::Result<u16> {
        let mut socket = match self.socket.take() {
            Some(socket) => socket,
            None => {
                let socket = TcpStream::connect(self.address)?;
                socket.set_read_timeout(Some(PATIENCE))?;
                socket.set_nodelay(true)?;
                BufReader::new(socket)
            }
        };
        let body = body(kind, prompt);
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: soak\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            self.key,
            body.len()
        );
        socket.get_mut().write_all(&[head.as_bytes(), body.as_bytes()].concat())?;
        if kind == Kind::LeaveAtOnce {
            return Ok(0);
        }
        let head = Head::read(&mut socket)?;
        // Named before the answer is read: what is cut short has its receipt too.
        let place = named.len();
        if let Some(receipt) = head.receipt.clone() {
            named.push(Named { receipt, usage: None });
        }
        let Some(text) = read_answer(&mut socket, &head, kind)? else { return Ok(head.status) };
        if let Some(named) = named.get_mut(place).filter(|_| head.status == 200 && kind != Kind::Lied) {
            named.usage = usage(&text);
        }
        self.socket = Some(socket).filter(|_| !head.closes);
        Ok(head.status)
    }
}

fn body(kind: Kind, prompt: u64) -> String {
    let model = match kind {
        Kind::Broken => BREAKS,
        Kind::Lied => LIES,
        Kind::Refused => "no-such-model",
        Kind::Malformed => return "{\"model\": \"soak\", \"messages\": [".to_owned(),
        _ => MODEL,
    };
    let mut text = format!("Question {prompt} of {PROMPTS}: who signs the form for a new laptop? ").repeat(8);
    if kind == Kind::Long {
        text = text.repeat(LONG_BYTES / text.len() + 1);
    }
    let stream = match kind {
        Kind::Stream | Kind::Leave | Kind::ReadSlowly | Kind::Broken => {
            r#","stream":true,"stream_options":{"include_usage":true}"#
        }
        _ => "",
    };
    format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"{text}"}}],"max_tokens":64{stream}}}"#)
}

impl Head {
    fn read(socket: &mut BufReader<TcpStream>) -> std::io::Result<Head> {
        let bad = |what: &str| std::io::Error::other(what.to_owned());
        let first = line(socket)?;
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(|| bad("no status"))?;
        let mut head = Head { status, receipt: None, length: None, closes: false };
        loop {
            let line = line(socket)?;
            let Some((name, value)) = line.split_once(':') else { return Ok(head) };
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "hoheit-receipt" => head.receipt = Some(value.to_owned()),
                "content-length" => head.length = value.parse().ok(),
                "connection" => head.closes = value.eq_ignore_ascii_case("close"),
                _ => {}
            }
        }
    }
}

/// A line without its end.
fn line(socket: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut line = String::new();
    if socket.read_line(&mut line)? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    line.truncate(line.trim_end().len());
    Ok(line)
}

/// None: the customer has left.
fn read_answer(socket: &mut BufReader<TcpStream>, head: &Head, kind: Kind) -> std::io::Result<Option<String>> {
    let mut bytes = Vec::new();
    if let Some(length) = head.length {
        bytes.resize(length, 0);
        socket.read_exact(&mut bytes)?;
        return Ok(String::from_utf8(bytes).ok());
    }
    for chunk in 0.. {
        if kind == Kind::Leave && chunk == 3 {
            return Ok(None);
        }
        if kind == Kind::ReadSlowly {
            std::thread::sleep(Duration::from_millis(20));
        }
        let size = usize::from_str_radix(&line(socket)?, 16).map_err(std::io::Error::other)?;
        let begin = bytes.len();
        bytes.resize(begin + size, 0);
        socket.read_exact(&mut bytes[begin..])?;
        line(socket)?;
        if size == 0 {
            break;
        }
    }
    Ok(String::from_utf8(bytes).ok())
}

/// Input and output tokens of an answer that came to its end: the object's, or that of the event before `[DONE]`.
fn usage(text: &str) -> Option<(u64, u64)> {
    let document = match text.strip_suffix("data: [DONE]\n\n") {
        Some(events) => events.trim_end().rsplit("data: ").next()?,
        None => text,
    };
    let usage = &serde_json::from_str::<serde_json::Value>(document).ok()?["usage"];
    Some((usage["prompt_tokens"].as_u64()?, usage["completion_tokens"].as_u64()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_of_answers_that_came_to_their_end() {
        let last = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":5}}\n\n";
        assert_eq!(usage(&format!("data: {{}}\n\n{last}data: [DONE]\n\n")), Some((3, 5)));
        assert_eq!(usage(r#"{"usage":{"prompt_tokens":3,"completion_tokens":5}}"#), Some((3, 5)));
        assert_eq!(usage(last), None);
        assert_eq!(usage("data: {\"error\":{}}\n\n"), None);
    }

    #[test]
    fn every_kind_is_asked_and_sends_what_it_says() {
        for kind in ROUND {
            let body = body(kind, 7);
            assert_eq!(serde_json::from_str::<serde_json::Value>(&body).is_err(), kind == Kind::Malformed, "{body}");
        }
    }
}
