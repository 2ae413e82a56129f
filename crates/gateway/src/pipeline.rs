//! One request from its first byte to its receipt:
//!
//! `receive -> admit -> route -> relay -> settle -> receipt`
//!
//! Each stage consumes the witness of the one before. This file only joins them; what a stage decides stands in its own.

use crate::admit::{Admitted, Rest, Turned, admit};
use crate::attempt;
use crate::body::{Outgoing, full};
use crate::catalogue;
use crate::dispatch::{Answer, EngineClient, Whole};
use crate::fields::Operation;
use crate::gateway::Gateway;
use crate::idempotency::{self, Handover};
use crate::inner::Unreadable;
use crate::meter::{Meter, text_bytes};
use crate::once;
use crate::paths::{Purpose, Reading, find};
use crate::receipt::{End, Obligation};
use crate::receipts;
use crate::receive::{Principal, Received, identify, receive};
use crate::refusal::Refusal;
use crate::relay::{Relay, UsageShown};
use crate::replica::InFlight;
use crate::route::Attempts;
use crate::scope::RateView;
use crate::upstream::Upstream;
use crate::view::View;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use metering::bucket::{Remaining, reset_text};
use std::pin::Pin;
use std::sync::Arc;
use types::{Code, ReceiptId};

/// The header that names the receipt, in every response to a request that has one.
pub const RECEIPT_HEADER: &str = "hoheit-receipt";

/// Answers a request under `/v1`.
pub async fn handle(gateway: &Arc<Gateway>, client: &EngineClient, request: Request<Incoming>) -> Response<Outgoing> {
    let (head, body) = request.into_parts();
    let Some((path, id)) = find(head.uri.path()) else {
        return refuse(gateway, &Refusal::new(Code::NotFound, "there is no such path under /v1"));
    };
    if head.method.as_str() != path.method {
        return wrong_method(gateway, path.method);
    }
    if !gateway.stands() {
        return refuse(gateway, &expired());
    }
    let view = gateway.view.load_full();
    let principal = match identify(gateway, &view, &head.headers) {
        Ok(principal) => principal,
        Err(refusal) => return refuse(gateway, &refusal),
    };
    let answer = match path.purpose {
        Purpose::Infer(operation) => {
            return inference(gateway, client, &view, &principal, operation, &head.headers, body).await;
        }
        Purpose::Read(Reading::Models) => Ok(catalogue::list(&view, &principal)),
        Purpose::Read(Reading::Model) => catalogue::retrieve(&view, &principal, &percent_decode(id)),
        Purpose::Read(Reading::Receipts) => {
            receipts::list(gateway, &principal, head.uri.query().unwrap_or_default()).await
        }
        Purpose::Read(Reading::Receipt) => receipts::retrieve(gateway, &principal, id).await,
    };
    answer.unwrap_or_else(|refusal| refuse(gateway, &refusal))
}

async fn inference(
    gateway: &Arc<Gateway>,
    client: &EngineClient,
    view: &Arc<View>,
    principal: &Principal,
    operation: Operation,
    headers: &HeaderMap,
    body: Incoming,
) -> Response<Outgoing> {
    let Some(mut obligation) = Obligation::begin(gateway, view, principal.key(), operation) else {
        return refuse(gateway, &overloaded());
    };
    obligation.trace = gateway.begin_trace(headers);
    match receive(obligation, operation, headers, body).await {
        Ok(received) => infer(gateway, client, received).await,
        Err(refused) => {
            let (obligation, refusal, rates) = *refused;
            ended(obligation, End::refused(refusal.code), &refusal, rates).await
        }
    }
}

pub(crate) async fn infer(gateway: &Arc<Gateway>, client: &EngineClient, received: Received) -> Response<Outgoing> {
    let mut place = match admit(received).await {
        Ok(admitted) => Some(admitted),
        Err(turned) => return turned_away(turned).await,
    };
    if let Some(guard) = place.as_ref().and_then(Admitted::idempotency)
        && let Some(admitted) = &place
        && let Err(refusal) = Box::pin(once::claim(gateway, admitted.obligation(), guard)).await
    {
        return withdrawn(rest_of(&mut place), refusal).await;
    }
    dispatch(client, &mut place).await
}

/// From its admission to its answer. It stays where its caller keeps it until it ends: a request's future has the room of all its
/// ways, moves with every request, and an admitted request that was passed on would be in it twice.
pub(crate) async fn dispatch(client: &EngineClient, place: &mut Option<Admitted>) -> Response<Outgoing> {
    in_its(place).obligation().gateway().note_request();
    let mut attempts = Attempts::default();
    loop {
        let routed = match attempts.next(in_its(place)).await {
            Ok(routed) => routed,
            Err(refusal) => {
                let Rest { obligation, rates, .. } = rest_of(place);
                return ended(obligation, End::failed(refusal.code), &refusal, rates).await;
            }
        };
        routed.note(in_its(place));
        let Some(intent) = in_its(place).obligation().promise() else {
            let Rest { obligation, rates, .. } = rest_of(place);
            return ended(obligation, End::refused(Code::NotReady), &overloaded(), rates).await;
        };
        in_its(place).obligation().gateway().metrics.engine_attempts.inc();
        // The intent reaches the disk while the engine works.
        let admitted = &*in_its(place);
        match client.send(&routed, admitted.fields().stream, &admitted.obligation().gateway().limits).await {
            // Of a whole answer nothing leaves before its receipt is durable, and the journal keeps its order: whatever is
            // behind the intent is durable only when the intent is.
            Ok(Answer::Whole(whole)) => {
                attempt::answered(in_its(place), &routed, attempts.sent());
                if whole.usage.is_none() {
                    in_its(place).estimate_input();
                }
                return deliver(rest_of(place), routed.in_flight, whole).await;
            }
            Ok(Answer::Stream(upstream)) => {
                attempt::answered(in_its(place), &routed, attempts.sent());
                if intent.await.is_err() {
                    let Rest { obligation, rates, .. } = rest_of(place);
                    return ended(obligation, End::failed(Code::Internal), &journal_failed(), rates).await;
                }
                // It may count at the end, or never, whatever its kind promises.
                if !upstream.has_counted() {
                    in_its(place).estimate_input();
                }
                let mut in_flight = routed.in_flight;
                in_flight.first_token();
                return stream(rest_of(place), in_flight, *upstream);
            }
            Err(failure) => match attempt::failed(in_its(place), routed, attempts.sent(), failure) {
                attempt::Next::Again(refusal) => attempts.last = Some(refusal),
                attempt::Next::Enough(refusal) => {
                    let Rest { obligation, rates, .. } = rest_of(place);
                    return ended(obligation, End::failed(refusal.code), &refusal, rates).await;
                }
            },
        }
    }
}

/// A request in its place. Looked up where it is needed: a reference that is kept over an await has room in every request.
fn in_its(place: &mut Option<Admitted>) -> &mut Admitted {
    place.as_mut().expect("a request leaves its place where it ends, and not before")
}

/// Takes a request out of its place, where it ends.
fn rest_of(place: &mut Option<Admitted>) -> Rest {
    place.take().expect("a request ends once, and leaves its place then").into_rest()
}

/// What was admitted and goes no further. Boxed, like [`ended`].
pub(crate) fn withdrawn(rest: Rest, refusal: Refusal) -> Pin<Box<dyn Future<Output = Response<Outgoing>> + Send>> {
    let Rest { obligation, rates, .. } = rest;
    Box::pin(async move { refuse_with_receipt(obligation, End::refused(refusal.code), &refusal, rates).await })
}

/// What was not admitted: the answer that it had before, or the refusal.
pub(crate) fn turned_away(turned: Turned) -> Pin<Box<dyn Future<Output = Response<Outgoing>> + Send>> {
    match turned {
        Turned::Replayed(answer) => Box::pin(std::future::ready(replay(answer))),
        Turned::Refused(refused) => Box::pin(async move {
            let (obligation, refusal, rates) = *refused;
            refuse_with_receipt(obligation, End::refused(refusal.code), &refusal, rates).await
        }),
    }
}

/// A whole answer: settled and receipted before its first byte leaves.
async fn deliver(rest: Rest, in_flight: InFlight, whole: Whole) -> Response<Outgoing> {
    let Rest { mut obligation, rates, idempotency, .. } = rest;
    in_flight.report(routing::Report::Success, obligation.gateway().clock.monotonic_millis());
    obligation.gateway().quarantine.forget(&obligation);
    obligation.meter.saw_output(whole.pieces);
    if let Some(usage) = whole.usage {
        obligation.meter.report(usage);
    }
    if obligation.meter.doubts_output() {
        obligation.meter.saw_text(text_bytes(&whole.body));
    }
    let Ok(body) = translated(&mut obligation, whole.body) else {
        return unread(obligation, rates).await;
    };
    let whole = Whole { body, ..whole };
    obligation.whole_answer(&whole.body);
    let id = obligation.id;
    let keep_max = obligation.gateway().idempotency.answer_bytes_max();
    let repeatable = idempotency.map(|guard| {
        let body = Some(whole.body.clone()).filter(|body| body.len() <= keep_max);
        (guard, idempotency::Answer { receipt: id, content_type: "application/json", cache_control: None, body })
    });
    if Handover::new(obligation.close(End::completed()), repeatable).await.is_err() {
        return journal_failed().response();
    }
    let mut response = Response::new(full(whole.body));
    *response.headers_mut() = HeaderMap::with_capacity(HEADERS_USUAL);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    receipt_headers(response.headers_mut(), id);
    rate_headers(response.headers_mut(), rates);
    response
}

/// An engine's answer that its client's dialect cannot read. Boxed, like [`ended`].
/// Nobody pays for it.
fn unread(mut obligation: Obligation, rates: RateView) -> Pin<Box<dyn Future<Output = Response<Outgoing>> + Send>> {
    obligation.meter = Meter::default();
    Box::pin(async move {
        let refusal = Refusal::new(Code::EngineFailed, "the engine's answer cannot be read: try again");
        refuse_with_receipt(obligation, End::failed(refusal.code), &refusal, rates).await
    })
}

/// In the client's dialect.
fn translated(obligation: &mut Obligation, body: Bytes) -> Result<Bytes, Unreadable> {
    match obligation.foreign().and_then(|foreign| foreign.translator.as_mut()) {
        Some(translator) => translator.whole(body),
        None => Ok(body),
    }
}

fn stream(rest: Rest, in_flight: InFlight, upstream: Upstream) -> Response<Outgoing> {
    let Rest { obligation, fields, rates, idempotency } = rest;
    let id = obligation.id;
    let shown = UsageShown { at_end: fields.include_usage, running: fields.include_usage && fields.continuous_usage };
    let relay = Relay::new(upstream, obligation, in_flight, shown, idempotency);
    let caching = relay.caching();
    let mut response = Response::new(Outgoing::Relay(Box::new(relay)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    receipt_headers(headers, id);
    rate_headers(headers, rates);
    response
}

pub(crate) fn replay(answer: idempotency::Answer) -> Response<Outgoing> {
    let mut response = Response::new(full(answer.body.unwrap_or_default()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    if let Some(caching) = answer.cache_control {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    }
    headers.insert("idempotent-replayed", HeaderValue::from_static("true"));
    receipt_headers(headers, answer.receipt);
    response
}

/// Ends a request without an answer. Boxed: a request's future has the room of all its ways, and this is the rare one.
pub(crate) fn ended<'a>(
    obligation: Obligation,
    end: End,
    refusal: &'a Refusal,
    rates: RateView,
) -> Pin<Box<dyn Future<Output = Response<Outgoing>> + Send + 'a>> {
    Box::pin(refuse_with_receipt(obligation, end, refusal, rates))
}

/// The receipt first, then the refusal.
async fn refuse_with_receipt(
    obligation: Obligation,
    end: End,
    refusal: &Refusal,
    rates: RateView,
) -> Response<Outgoing> {
    let (id, gateway) = (obligation.id, obligation.gateway().clone());
    gateway.metrics.refusal(refusal.code);
    let mut response = match obligation.close(end).await {
        Ok(_) => refusal.response(),
        Err(_) => journal_failed().response(),
    };
    receipt_headers(response.headers_mut(), id);
    rate_headers(response.headers_mut(), rates);
    response
}

pub(crate) fn journal_failed() -> Refusal {
    Refusal::new(Code::Internal, "the receipt of this request could not be written: this gateway is ending")
}

pub(crate) fn overloaded() -> Refusal {
    Refusal::new(Code::NotReady, "this gateway takes no new requests now: try again shortly").retry_after(1)
}

pub(crate) fn expired() -> Refusal {
    let message =
        "this gateway has been without its database for too long to know who may ask for what: try again later";
    Refusal::new(Code::SnapshotExpired, message).retry_after(5)
}

pub(crate) fn refuse(gateway: &Gateway, refusal: &Refusal) -> Response<Outgoing> {
    gateway.metrics.refusal(refusal.code);
    refusal.response()
}

fn wrong_method(gateway: &Gateway, allowed: &'static str) -> Response<Outgoing> {
    let mut response = refuse(gateway, &Refusal::new(Code::MethodNotAllowed, format!("use {allowed} here")));
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

/// SDKs escape the slash of `org/model`. A broken escape stays as it is and names no model.
fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let escaped = (byte == b'%')
            .then(|| tail.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()))
            .flatten();
        match escaped {
            Some(decoded) => {
                bytes.push(decoded);
                rest = &tail[2..];
            }
            None => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Names are checked and lowered once, at compile time.
static REQUESTS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-requests"),
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-reset-requests"),
];
static TOKENS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-tokens"),
    HeaderName::from_static("x-ratelimit-remaining-tokens"),
    HeaderName::from_static("x-ratelimit-reset-tokens"),
];
static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static RECEIPT: HeaderName = HeaderName::from_static(RECEIPT_HEADER);

/// Type, receipt, request id, six of rates, and what hyper adds: one allocation and no growing.
const HEADERS_USUAL: usize = 12;

pub(crate) fn receipt_headers(headers: &mut HeaderMap, id: ReceiptId) {
    if let Ok(value) = HeaderValue::try_from(id.to_string()) {
        headers.insert(&REQUEST_ID, value.clone());
        headers.insert(&RECEIPT, value);
    }
}

pub(crate) fn rate_headers(headers: &mut HeaderMap, rates: RateView) {
    if let Some(requests) = rates.requests {
        rate_header(headers, &REQUESTS, requests);
    }
    if let Some(tokens) = rates.tokens {
        rate_header(headers, &TOKENS, tokens);
    }
}

fn rate_header(headers: &mut HeaderMap, names: &'static [HeaderName; 3], bucket: Remaining) {
    headers.insert(&names[0], HeaderValue::from(bucket.limit));
    headers.insert(&names[1], HeaderValue::from(bucket.remaining));
    if let Ok(reset) = HeaderValue::try_from(reset_text(bucket.reset_millis)) {
        headers.insert(&names[2], reset);
    }
}

#[cfg(test)]
mod tests {
    use super::{handle, percent_decode};

    /// A request's future is moved and cleared as a whole, and ten thousand of them are 90 MB. With a hash's state inside, and
    /// with the rare ways not boxed, it had 16 kB, and cost microseconds.
    #[test]
    fn a_request_is_not_larger_than_it_need_be() {
        fn bytes<F: Future>(_: impl FnOnce() -> F) -> usize {
            size_of::<F>()
        }
        fn given<T>() -> T {
            unreachable!("only the type is asked for")
        }
        let request = bytes(|| handle(given(), given(), given()));
        // It moves through memory with every request; twice of it cost a tenth of a small request (docs/performance.md).
        assert!(request <= 9_500, "{request} bytes");
    }

    #[test]
    fn escapes() {
        for (text, expect) in [("org%2Fmodel", "org/model"), ("a%", "a%"), ("a%zz", "a%zz"), ("%41%c3%a4", "Aä")] {
            assert_eq!(percent_decode(text), expect);
        }
    }
}
