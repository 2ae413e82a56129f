//! Customers: they ask, read, leave in the middle, ask again under the same idempotency key, and remember what they saw.

use crate::dice::Dice;
use crate::site::{self, Account};
use crate::trace::Trace;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::json;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use turmoil::net::TcpStream;

/// What one request looked like from outside.
#[derive(Debug, Clone, Default)]
pub struct Saw {
    pub project: String,
    /// The receipt that the answer named.
    pub receipt: Option<String>,
    pub status: u16,
    /// Tokens of the answer that were read.
    pub tokens: u64,
    /// The answer was read to its end, and the end says that it is whole.
    pub whole: bool,
    /// It was another request's answer, under an idempotency key.
    pub replayed: bool,
}

#[derive(Clone, Default)]
pub struct Memory(Arc<Mutex<Vec<Saw>>>);

impl Memory {
    pub fn all(&self) -> Vec<Saw> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// One of them.
pub struct Customer {
    pub name: String,
    pub dice: Dice,
    pub memory: Memory,
    pub trace: Trace,
    connection: Option<SendRequest<Full<Bytes>>>,
    /// The last request that had an idempotency key.
    repeat: Option<(Account, String, Bytes)>,
}

/// Who hears nothing for so long goes away: longer than a whole answer takes, and than a gateway is down.
const PATIENCE: Duration = Duration::from_millis(2_500);

impl Customer {
    pub fn new(name: String, dice: Dice, memory: Memory, trace: Trace) -> Self {
        Customer { name, dice, memory, trace, connection: None, repeat: None }
    }

    pub async fn ask_all(mut self, requests: u64) {
        for number in 0..requests {
            tokio::time::sleep(Duration::from_millis(self.dice.below(12))).await;
            let mut saw = Saw::default();
            let patience = match self.dice.in_a_thousand(80) {
                // Leaves in the middle, or before anything came.
                true => Duration::from_millis(self.dice.between(1, 120)),
                false => PATIENCE,
            };
            let ended = tokio::time::timeout(patience, self.ask(number, &mut saw)).await;
            if !matches!(ended, Ok(Some(()))) {
                self.connection = None;
            }
            self.trace.note(format_args!(
                "{} {number} {} {} {} {} {}",
                self.name,
                saw.status,
                saw.receipt.as_deref().unwrap_or("-"),
                saw.tokens,
                saw.whole,
                saw.replayed
            ));
            self.memory.0.lock().unwrap_or_else(PoisonError::into_inner).push(saw);
        }
    }

    /// None: the connection broke.
    async fn ask(&mut self, number: u64, saw: &mut Saw) -> Option<()> {
        let (account, key, body) = self.next(number);
        saw.project = account.project.to_string();
        let mut connection = match self.connection.take().filter(|connection| !connection.is_closed()) {
            Some(connection) => connection,
            // As every SDK: who cannot be reached is tried again.
            None => loop {
                if let Some(connection) = connect().await {
                    break connection;
                }
                tokio::time::sleep(Duration::from_millis(self.dice.between(10, 40))).await;
            },
        };
        connection.ready().await.ok()?;
        let mut request = Request::post("/v1/chat/completions")
            .header("host", "gateway")
            .header("content-type", "application/json")
            .header("authorization", site::bearer(account.key));
        if let Some(key) = &key {
            request = request.header("idempotency-key", key);
        }
        let response = connection.send_request(request.body(Full::new(body)).ok()?).await.ok()?;
        saw.status = response.status().as_u16();
        let header = |name| response.headers().get(name)?.to_str().ok().map(str::to_owned);
        saw.receipt = header(gateway::RECEIPT_HEADER);
        saw.replayed = header("idempotent-replayed").is_some();
        let streamed = header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream"));
        let mut body = response.into_body();
        let mut text = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.ok()?;
            if let Some(data) = frame.data_ref() {
                text.extend_from_slice(data);
                saw.tokens = tokens(&text);
            }
        }
        saw.whole = saw.status == 200 && (!streamed || text.ends_with(b"data: [DONE]\n\n"));
        self.connection = Some(connection);
        Some(())
    }

    fn next(&mut self, number: u64) -> (Account, Option<String>, Bytes) {
        if self.dice.in_a_thousand(300)
            && let Some((account, key, body)) = self.repeat.clone()
        {
            return (account, Some(key), body);
        }
        let accounts = site::accounts();
        let account = accounts[self.dice.below(accounts.len() as u64) as usize];
        let model = if self.dice.in_a_thousand(20) { "unknown" } else { site::MODEL };
        let body = json!({
            "model": model,
            "messages": [{"role": "user", "content": account.project.to_string()}],
            // A request of its own: one that broke two engines is held back, and in a run that is most often the faults' doing.
            "user": format!("{}-{number}", self.name),
            "max_tokens": self.dice.between(1, 24),
            "stream": self.dice.in_a_thousand(700),
        });
        let body = Bytes::from(body.to_string());
        let key = self.dice.in_a_thousand(60).then(|| format!("{}-{number}", self.name));
        if let Some(key) = &key {
            self.repeat = Some((account, key.clone(), body.clone()));
        }
        (account, key, body)
    }
}

async fn connect() -> Option<SendRequest<Full<Bytes>>> {
    let socket = TcpStream::connect((site::HOST, site::PORT)).await.ok()?;
    let (sender, connection) = handshake(TokioIo::new(socket)).await.ok()?;
    tokio::task::spawn_local(async move {
        let _ = connection.await;
    });
    Some(sender)
}

/// Engines write `t ` for each token.
fn tokens(answer: &[u8]) -> u64 {
    answer.windows(2).filter(|two| two == b"t ").count() as u64
}
