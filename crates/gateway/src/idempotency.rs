//! `Idempotency-Key`: one request per (tenant, key). While it runs a repeat is told so; afterwards the same request
//! gets the same answer and the same receipt, another request is refused.
//!
//! Answers are kept in memory only, bounded in bytes and time: prompts and answers are never stored. So a restart forgets
//! them, and an answer too large to keep cannot be replayed; the caller is told.

use crate::refusal::Refusal;
use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use types::{Code, ReceiptId, TenantId};

/// A finished answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub receipt: ReceiptId,
    pub content_type: &'static str,
    /// None if it was larger than what is kept.
    pub body: Option<Bytes>,
}

enum Entry {
    Running { request: [u8; 32] },
    Done { request: [u8; 32], answer: Answer },
}

type Place = (TenantId, String);

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
    pub fn claim(self: &Arc<Self>, tenant: TenantId, key: &str, request: [u8; 32], now: u64) -> Result<Claim, Refusal> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.expire(now, self.bytes_max);
        let place = (tenant, key.to_owned());
        match table.entries.get(&place) {
            None => {
                table.entries.insert(place.clone(), Entry::Running { request });
                Ok(Claim::First(Guard { owner: self.clone(), place: Some(place), request, claimed_at: now }))
            }
            Some(Entry::Running { request: same } | Entry::Done { request: same, .. }) if *same != request => {
                Err(Refusal::new(
                    Code::IdempotencyMismatch,
                    "this Idempotency-Key was used with another request: use a new key for a new request",
                ))
            }
            Some(Entry::Running { .. }) => Err(Refusal::new(
                Code::IdempotencyRunning,
                "a request with this Idempotency-Key is still running: wait for it, then repeat",
            )
            .retry_after(1)),
            Some(Entry::Done { answer, .. }) if answer.body.is_none() => Err(Refusal::new(
                Code::Conflict,
                format!(
                    "this request was answered (receipt {}), but the answer was too large to keep: use a new key",
                    answer.receipt
                ),
            )),
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
                self.bytes -= answer.body.map_or(0, |body| body.len());
            }
        }
    }
}

impl Guard {
    /// The request ended well; its answer may be replayed. Its day counts from when the request came.
    pub fn finish(mut self, answer: Answer) {
        let now = self.claimed_at;
        let Some(place) = self.place.take() else { return };
        let mut table = self.owner.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.bytes += answer.body.as_ref().map_or(0, Bytes::len);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    fn table(bytes_max: usize) -> Arc<Idempotency> {
        Idempotency::new(&Limits { idempotency_bytes_max: bytes_max, ..Limits::default() })
    }

    fn answer(bytes: usize) -> Answer {
        let body = Some(Bytes::from(vec![0; bytes]));
        Answer { receipt: ReceiptId(1), content_type: "application/json", body }
    }

    fn first(table: &Arc<Idempotency>, key: &str, request: u8, now: u64) -> Guard {
        match table.claim(TenantId(1), key, [request; 32], now) {
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
        assert_eq!(code(table.claim(TenantId(1), "k", [1; 32], 0)), Some(Code::IdempotencyRunning));
        assert_eq!(code(table.claim(TenantId(1), "k", [2; 32], 0)), Some(Code::IdempotencyMismatch));
        drop(first(&table, "other", 1, 0));
        drop(match table.claim(TenantId(2), "k", [2; 32], 0) {
            Ok(Claim::First(guard)) => guard,
            _ => panic!("another tenant's key is another key"),
        });
        guard.finish(answer(3));
        assert!(matches!(table.claim(TenantId(1), "k", [1; 32], 0), Ok(Claim::Replay(a)) if a == answer(3)));
        assert_eq!(code(table.claim(TenantId(1), "k", [2; 32], 0)), Some(Code::IdempotencyMismatch));
        drop(first(&table, "k", 2, 86_400_000)); // a day later it is forgotten
    }

    #[test]
    fn memory_is_bounded() {
        let table = table(10);
        for round in 0..5 {
            first(&table, &format!("k{round}"), 1, 0).finish(answer(4));
        }
        assert_eq!(table.table.lock().unwrap().bytes, 8);
        drop(first(&table, "k0", 1, 0));
        assert!(matches!(table.claim(TenantId(1), "k4", [1; 32], 0), Ok(Claim::Replay(_))));
    }
}
