//! What a trace says of a request, gathered only if somebody asked for traces ([`Gateway::trace_to`]).
//!
//! A request's span is told when its receipt is fixed and from the same claims, so that both say the same and neither
//! holds content. The ids are the receipt's: a trace that begins here has the receipt's 128 bits as its id, and whoever
//! has a receipt finds its trace without a table. A caller's `traceparent` is continued, and the engine gets ours.
//!
//! What it is not: an exporter. Spans go into a bounded queue that somebody else empties; a full one drops them and counts
//! what it dropped. Requests of nobody we know leave no span, as they leave no receipt. If we crash here: spans are lost.

use crate::gateway::Gateway;
use http::{HeaderMap, HeaderValue};
use tokio::sync::mpsc;
use types::{Code, EngineId, ReceiptClaims, ReceiptId, UnixMillis};

/// The header of W3C's Trace Context.
pub(crate) const TRACEPARENT: &str = "traceparent";

/// A caller's span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    pub trace: u128,
    pub span: u64,
}

/// A request that has ended.
#[derive(Debug)]
pub struct Ended {
    pub parent: Option<Parent>,
    pub claims: ReceiptClaims,
    /// When a stream's first event with output arrived.
    pub first_token_at: Option<UnixMillis>,
    /// The engines that were asked, in turn.
    pub attempts: Vec<Attempt>,
}

/// One engine that was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    pub engine: EngineId,
    pub began_at: UnixMillis,
    /// Why it gave no answer, and when that was known; none for the one whose answer the client got.
    pub failed: Option<(Code, UnixMillis)>,
}

/// Gathered while a request runs.
#[derive(Debug, Default)]
pub struct Notes {
    parent: Option<Parent>,
    pub(crate) first_token_at: Option<UnixMillis>,
    attempts: Vec<Attempt>,
}

/// The trace and the span of a request.
pub fn ids(parent: Option<Parent>, receipt: ReceiptId) -> (u128, u64) {
    // The low half of an id is random.
    (parent.map_or(receipt.0, |parent| parent.trace), receipt.0 as u64)
}

/// The span of a request's attempt, counted from 1: below the request's own, and another for each. An odd factor times a
/// small number is never the same twice (SplitMix64's, public domain).
pub fn attempt_span(receipt: ReceiptId, number: usize) -> u64 {
    (receipt.0 as u64).wrapping_add((number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

impl Gateway {
    /// From now on, tells of every request that ends. The first call counts.
    pub fn trace_to(&self, spans: mpsc::Sender<Ended>) {
        let _already_told = self.traces.set(spans);
    }

    /// None: nobody asked for traces, or the caller says that this one is not recorded.
    pub(crate) fn begin_trace(&self, headers: &HeaderMap) -> Option<Box<Notes>> {
        self.traces.get()?;
        match headers.get(TRACEPARENT).and_then(|value| parse(value.as_bytes())) {
            Some((_, false)) => None,
            Some((parent, true)) => Some(Box::new(Notes { parent: Some(parent), ..Notes::default() })),
            None => Some(Box::default()),
        }
    }

    pub(crate) fn end_trace(&self, notes: Notes, claims: &ReceiptClaims) {
        let Some(spans) = self.traces.get() else { return };
        let Notes { parent, first_token_at, attempts } = notes;
        if spans.try_send(Ended { parent, claims: claims.clone(), first_token_at, attempts }).is_err() {
            self.metrics.spans_dropped.inc();
        }
    }
}

impl Notes {
    pub(crate) fn attempt_begins(&mut self, engine: EngineId, now: UnixMillis) {
        self.attempts.push(Attempt { engine, began_at: now, failed: None });
    }

    pub(crate) fn attempt_fails(&mut self, code: Code, now: UnixMillis) {
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.failed = Some((code, now));
        }
    }

    /// What an engine continues: the attempt's span.
    pub(crate) fn for_engine(&self, receipt: ReceiptId, number: usize) -> Option<HeaderValue> {
        let (trace, _) = ids(self.parent, receipt);
        let span = attempt_span(receipt, number);
        HeaderValue::try_from(format!("00-{trace:032x}-{span:016x}-01")).ok()
    }
}

/// A `traceparent`, and whether it is recorded. What is not one is ignored, as the standard asks.
fn parse(value: &[u8]) -> Option<(Parent, bool)> {
    let text = std::str::from_utf8(value).ok()?;
    let mut parts = text.split('-');
    let mut hex = |digits: usize| {
        let part = parts.next()?;
        let lower = part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if part.len() == digits && lower { u128::from_str_radix(part, 16).ok() } else { None }
    };
    let (version, trace, span, flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
    // Later versions may add parts; this one has four.
    let whole = version != 0xff && (version != 0 || parts.next().is_none());
    let parent = Parent { trace, span: u64::try_from(span).ok()? };
    (whole && trace != 0 && span != 0).then_some((parent, flags & 1 == 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents() {
        let check = |text: &str, expect: Option<(u128, u64, bool)>| {
            let parsed = parse(text.as_bytes()).map(|(parent, recorded)| (parent.trace, parent.span, recorded));
            assert_eq!(parsed, expect, "{text}");
        };
        let (trace, span) = ("000000000000000000000000000000ab", "00000000000000cd");
        check(&format!("00-{trace}-{span}-01"), Some((0xab, 0xcd, true)));
        check(&format!("00-{trace}-{span}-00"), Some((0xab, 0xcd, false)));
        check(&format!("00-{trace}-{span}-03"), Some((0xab, 0xcd, true)));
        check(&format!("01-{trace}-{span}-01-more"), Some((0xab, 0xcd, true)));
        check(&format!("00-{trace}-{span}-01-more"), None);
        check(&format!("ff-{trace}-{span}-01"), None);
        check(&format!("00-{}-{span}-01", trace.to_uppercase()), None);
        check(&format!("00-{}-{span}-01", "0".repeat(32)), None);
        check(&format!("00-{trace}-{}-01", "0".repeat(16)), None);
        check(&format!("00-+{}-{span}-01", &trace[1..]), None);
        check(&format!("00-{trace}-{span}"), None);
        check("", None);
    }

    #[test]
    fn an_engine_continues_what_the_caller_began() {
        let notes = Notes { parent: Some(Parent { trace: 0xab, span: 1 }), ..Notes::default() };
        let receipt = ReceiptId(0x1122 << 64 | 0x77);
        let text = |notes: &Notes, number| notes.for_engine(receipt, number).unwrap().to_str().unwrap().to_owned();
        assert_eq!(text(&notes, 1), "00-000000000000000000000000000000ab-9e3779b97f4a7c8c-01");
        assert_eq!(text(&Notes::default(), 2), "00-00000000000011220000000000000077-3c6ef372fe94f8a1-01");
    }
}
