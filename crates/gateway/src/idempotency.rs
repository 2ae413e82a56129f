//! `Idempotency-Key`: one request per (project, key). While it runs a repeat is told so; afterwards the same request
//! gets the same answer and the same receipt, another request is refused. The same request means the same bytes to the
//! same operation under the same data class; and a repeat is judged by policy like any other before it is answered here.
//!
//! Answers are kept in memory only, bounded in bytes and time: prompts and answers are never stored. So a restart forgets
//! them, and an answer too large to keep cannot be replayed; the caller is told which receipt has it. That a request was
//! made is remembered at the store (`once`).

use crate::inner::Dialect;
use crate::refusal::Refusal;
use bytes::Bytes;
use journal::{AppendError, Appended};
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use types::{Code, DataClass, ProjectId, ReceiptId};

/// What an entry takes besides its key and its answer: twice its place, its digest and the tables' own room.
const ENTRY_BYTES: usize = 256;

/// A finished answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub receipt: ReceiptId,
    pub content_type: &'static str,
    /// What caches and proxies on the way were told, and are told again.
    pub cache_control: Option<&'static str>,
    /// None if it was larger than what is kept.
    pub body: Option<Bytes>,
}

enum Entry {
    Running { request: [u8; 32] },
    Done { request: [u8; 32], answer: Answer },
}

type Place = (ProjectId, String);

/// A request under a key of its client's.
#[derive(Debug)]
pub struct Named {
    pub key: String,
    /// What makes it the same ([`digest`]).
    pub request: [u8; 32],
}

/// What makes two requests the same: what the client sent, to which operation of which dialect, and in `target` what else its address
/// decides. OpenAI's has no dialect in front and no target: so the digests at the store were made before there were others.
pub fn digest(dialect: Dialect, operation: &str, target: &str, class: DataClass, body: &[u8]) -> [u8; 32] {
    let dialect = if dialect == Dialect::OpenAi { "" } else { dialect.as_str() };
    let mark: &[u8] = if target.is_empty() { b"" } else { b"#" };
    let address = [dialect.as_bytes(), operation.as_bytes(), mark, target.as_bytes()].concat();
    ledger::hash::sha256(&[&address, b"\0", class.as_str().as_bytes(), b"\0", body]).0
}

pub fn mismatch() -> Refusal {
    Refusal::new(
        Code::IdempotencyMismatch,
        "this Idempotency-Key was used with another request: use a new key for a new request",
    )
}

pub fn running() -> Refusal {
    Refusal::new(
        Code::IdempotencyRunning,
        "a request with this Idempotency-Key is still running: wait for it, then repeat",
    )
    .retry_after(1)
}

/// The request was made, and its answer cannot be given again.
pub fn answered(receipt: ReceiptId, why: &str) -> Refusal {
    let message =
        format!("this request was made before (receipt {receipt}), and {why}: use a new key to make it again");
    Refusal::new(Code::IdempotencyAnswered, message)
}

fn cost((_, key): &Place, answer: &Answer) -> usize {
    ENTRY_BYTES + 2 * key.len() + answer.body.as_ref().map_or(0, Bytes::len)
}

#[derive(Default)]
struct Table {
    entries: HashMap<Place, Entry>,
    /// Finished entries by age, with their end of life.
    ages: VecDeque<(u64, Place)>,
    bytes: usize,
}

pub struct Idempotency {
    table: Mutex<Table>,
    ttl_millis: u64,
    bytes_max: usize,
    answer_bytes_max: usize,
}

/// What to do with a request that names a key.
pub enum Claim {
    /// It is the first: run it and finish the guard.
    First(Guard),
    /// It was answered before.
    Replay(Answer),
}

/// Holds the place of a running request. Dropped unfinished, it frees the key: a failed request may be repeated.
pub struct Guard {
    owner: Arc<Idempotency>,
    place: Option<Place>,
    request: [u8; 32],
    claimed_at: u64,
}

impl Idempotency {
    pub fn new(limits: &crate::limits::Limits) -> Arc<Self> {
        Arc::new(Idempotency {
            table: Mutex::default(),
            ttl_millis: limits.idempotency_ttl.as_millis() as u64,
            bytes_max: limits.idempotency_bytes_max,
            answer_bytes_max: limits.idempotency_answer_bytes_max,
        })
    }

    /// Claims a key for a request with this digest.
    pub fn claim(
        self: &Arc<Self>,
        project: ProjectId,
        key: &str,
        request: [u8; 32],
        now: u64,
    ) -> Result<Claim, Refusal> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.expire(now, self.bytes_max);
        let place = (project, key.to_owned());
        match table.entries.get(&place) {
            None => {
                table.entries.insert(place.clone(), Entry::Running { request });
                Ok(Claim::First(Guard { owner: self.clone(), place: Some(place), request, claimed_at: now }))
            }
            Some(Entry::Running { request: same } | Entry::Done { request: same, .. }) if *same != request => {
                Err(mismatch())
            }
            Some(Entry::Running { .. }) => Err(running()),
            Some(Entry::Done { answer, .. }) if answer.body.is_none() => {
                Err(answered(answer.receipt, "its answer was too large to keep"))
            }
            Some(Entry::Done { answer, .. }) => Ok(Claim::Replay(answer.clone())),
        }
    }

    /// What an answer may hold to be kept.
    pub fn answer_bytes_max(&self) -> usize {
        self.answer_bytes_max
    }
}

impl Table {
    fn expire(&mut self, now: u64, bytes_max: usize) {
        while let Some((until, _)) = self.ages.front() {
            if *until > now && self.bytes <= bytes_max {
                break;
            }
            let Some((_, place)) = self.ages.pop_front() else { break };
            if let Some(Entry::Done { answer, .. }) = self.entries.remove(&place) {
                self.bytes -= cost(&place, &answer);
            }
        }
    }
}

impl Guard {
    /// Key and request as the store keeps them: digests under a key of the project's, which say nothing to whoever reads
    /// the table.
    pub fn digests(&self, key: &aws_lc_rs::hmac::Key) -> ([u8; 32], [u8; 32]) {
        let digest = |domain: &[u8], text: &[u8]| {
            let mut context = aws_lc_rs::hmac::Context::with_key(key);
            context.update(domain);
            context.update(text);
            context.sign().as_ref().try_into().expect("HMAC-SHA-256 has 32 bytes")
        };
        let name = self.place.as_ref().map_or("", |(_, name)| name.as_str());
        (digest(b"idempotency-key\0", name.as_bytes()), digest(b"idempotency-request\0", &self.request))
    }

    /// The request ended well; its answer may be replayed. Its day counts from when the request came.
    pub fn finish(mut self, answer: Answer) {
        let now = self.claimed_at;
        let Some(place) = self.place.take() else { return };
        let mut table = self.owner.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.bytes += cost(&place, &answer);
        table.ages.push_back((now.saturating_add(self.owner.ttl_millis), place.clone()));
        table.entries.insert(place, Entry::Done { request: self.request, answer });
        table.expire(now, self.owner.bytes_max);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            self.owner.table.lock().unwrap_or_else(PoisonError::into_inner).entries.remove(&place);
        }
    }
}

/// A receipt on its way to the disk, and the answer that may be repeated once it is there. The answer was paid for the
/// moment its obligation was closed: a client that leaves while this waits finds it all the same when it repeats.
pub struct Handover(Option<(Appended, Option<(Guard, Answer)>)>);

impl Handover {
    pub fn new(appended: Appended, repeatable: Option<(Guard, Answer)>) -> Self {
        Handover(Some((appended, repeatable)))
    }
}

impl Future for Handover {
    type Output = Result<(), AppendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some((appended, _)) = &mut self.0 else { return Poll::Ready(Ok(())) };
        let durable = ready!(Pin::new(appended).poll(cx));
        let repeatable = self.0.take().and_then(|(_, repeatable)| repeatable);
        if let (Ok(_), Some((guard, answer))) = (&durable, repeatable) {
            guard.finish(answer);
        }
        Poll::Ready(durable.map(|_| ()))
    }
}

impl Drop for Handover {
    fn drop(&mut self) {
        // Nobody waits any more: a task does. Outside a runtime the process is ending, and with it this memory.
        if let Some((appended, Some((guard, answer)))) = self.0.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move {
                if appended.await.is_ok() {
                    guard.finish(answer);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    fn table(bytes_max: usize) -> Arc<Idempotency> {
        Idempotency::new(&Limits { idempotency_bytes_max: bytes_max, ..Limits::default() })
    }

    fn answer(bytes: usize) -> Answer {
        let body = Some(Bytes::from(vec![0; bytes]));
        Answer { receipt: ReceiptId(1), content_type: "application/json", cache_control: None, body }
    }

    fn first(table: &Arc<Idempotency>, key: &str, request: u8, now: u64) -> Guard {
        match table.claim(ProjectId(1), key, [request; 32], now) {
            Ok(Claim::First(guard)) => guard,
            _ => panic!("expected to be the first"),
        }
    }

    fn code(result: Result<Claim, Refusal>) -> Option<Code> {
        result.err().map(|refusal| refusal.code)
    }

    #[test]
    fn running_replay_mismatch_and_release() {
        let table = table(1 << 20);
        let guard = first(&table, "k", 1, 0);
        assert_eq!(code(table.claim(ProjectId(1), "k", [1; 32], 0)), Some(Code::IdempotencyRunning));
        assert_eq!(code(table.claim(ProjectId(1), "k", [2; 32], 0)), Some(Code::IdempotencyMismatch));
        drop(first(&table, "other", 1, 0));
        drop(match table.claim(ProjectId(2), "k", [2; 32], 0) {
            Ok(Claim::First(guard)) => guard,
            _ => panic!("another project's key is another key"),
        });
        guard.finish(answer(3));
        assert!(matches!(table.claim(ProjectId(1), "k", [1; 32], 0), Ok(Claim::Replay(a)) if a == answer(3)));
        assert_eq!(code(table.claim(ProjectId(1), "k", [2; 32], 0)), Some(Code::IdempotencyMismatch));
        drop(first(&table, "k", 2, 86_400_000)); // a day later it is forgotten
    }

    #[test]
    fn memory_is_bounded() {
        // Two entries with a body of 4 bytes.
        let entry = ENTRY_BYTES + 2 * 2 + 4;
        let table = table(2 * entry + 3);
        for round in 0..5 {
            first(&table, &format!("k{round}"), 1, 0).finish(answer(4));
        }
        assert_eq!(table.table.lock().unwrap().bytes, 2 * entry);
        drop(first(&table, "k0", 1, 0));
        assert!(matches!(table.claim(ProjectId(1), "k4", [1; 32], 0), Ok(Claim::Replay(_))));
        // An answer that was too large to keep counts as well.
        for round in 0..50 {
            first(&table, &format!("n{round}"), 1, 0).finish(Answer { body: None, ..answer(0) });
        }
        let table = table.table.lock().unwrap();
        assert_eq!((table.entries.len(), table.ages.len()), (2, 2));
    }

    #[test]
    fn another_class_or_operation_is_another_request() {
        let one = digest(Dialect::OpenAi, "/v1/completions", "", DataClass::Public, b"{}");
        assert_ne!(one, digest(Dialect::OpenAi, "/v1/completions", "", DataClass::Secret, b"{}"));
        assert_ne!(one, digest(Dialect::OpenAi, "/v1/embeddings", "", DataClass::Public, b"{}"));
        assert_ne!(one, digest(Dialect::OpenAi, "/v1/completions", "", DataClass::Public, b"{ }"));
        assert_ne!(one, digest(Dialect::Sonar, "/v1/completions", "", DataClass::Public, b"{}"));
        assert_ne!(one, digest(Dialect::OpenAi, "/v1/completions", "d1", DataClass::Public, b"{}"));
        assert_eq!(one, digest(Dialect::OpenAi, "/v1/completions", "", DataClass::Public, b"{}"));
    }
}
