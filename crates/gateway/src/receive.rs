//! Stage one: who asks, and what. Authentication comes before the body, so that a stranger cannot make us hold bytes.
//!
//! From the moment the principal is known an [`Obligation`] exists: every later refusal leaves a receipt. A request
//! without a known principal leaves only a counter, since nobody may fill our disk from outside. What can be refused
//! without the body (requests per minute, a length beyond the limit) is refused before the first byte of it is read.

use crate::bodies::Share;
use crate::fields::{Fields, Operation};
use crate::gateway::Gateway;
use crate::idempotency::{self, Named};
use crate::inner::Foreign;
use crate::limits::{IDEMPOTENCY_KEY_BYTES_MAX, Limits};
use crate::receipt::Obligation;
use crate::refusal::Refusal;
use crate::scope::RateView;
use crate::settle::take_request;
use crate::view::{KeyEntry, View};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use routing::fair::Class;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use types::{Code, DataClass, KeyId, ProjectId, TenantId};

/// The header that raises the data class of one request.
pub const DATA_CLASS_HEADER: &str = "hoheit-data-class";

/// The header that says how urgent a request is: `interactive` or `batch`.
pub const PRIORITY_HEADER: &str = "hoheit-priority";

/// A principal: made only by [`identify`].
#[derive(Clone)]
pub struct Principal {
    key: Arc<KeyEntry>,
}

impl Principal {
    pub(crate) fn key(&self) -> &Arc<KeyEntry> {
        &self.key
    }

    pub fn key_id(&self) -> KeyId {
        self.key.key.id
    }

    pub fn project(&self) -> ProjectId {
        self.key.project.id
    }

    pub fn tenant(&self) -> TenantId {
        self.key.tenant
    }
}

/// A whole request of a known principal, read but not yet judged.
pub struct Received {
    pub obligation: Obligation,
    pub fields: Fields,
    pub body: Held,
    /// Boxed: few requests name a key, and every one has the room.
    pub idempotency: Option<Box<Named>>,
    pub rates: RateView,
}

/// A body, and its share of what may be held at once.
pub struct Held {
    pub bytes: Bytes,
    _share: Share,
}

/// What a receipt says where there is no model of the name that was asked for.
pub const MODEL_UNKNOWN: &str = "(unknown)";

/// Finds the principal of a request. Unknown keys and wrong secrets are not told apart, and cost the same: an unknown
/// id is compared with a hash that nothing has.
pub fn identify(gateway: &Gateway, view: &View, headers: &HeaderMap) -> Result<Principal, Refusal> {
    const FORM: &str = "send Authorization: Bearer hk_…, the key that `hoheit key create` printed";
    let value = headers.get(header::AUTHORIZATION).ok_or_else(|| Refusal::new(Code::KeyMissing, FORM))?;
    let shown = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, shown)| shown.trim())
        .filter(|shown| !shown.is_empty())
        .ok_or_else(|| Refusal::new(Code::KeyMissing, FORM))?;
    let invalid = || Refusal::new(Code::KeyInvalid, format!("this API key is not valid: {FORM}"));
    let (id, secret) = shown.strip_prefix("hk_").and_then(|rest| rest.split_once('_')).ok_or_else(invalid)?;
    let id = KeyId::from_digits(id).map_err(|_| invalid())?;
    let entry = view.key(id);
    let tag = aws_lc_rs::hmac::sign(&gateway.pepper, secret.as_bytes());
    let expected = entry.map_or([0; 32], |entry| entry.secret_hash);
    let same = aws_lc_rs::constant_time::verify_slices_are_equal(tag.as_ref(), &expected).is_ok();
    let Some(key) = entry.filter(|_| same) else { return Err(invalid()) };
    in_force(gateway, key)
}

/// The principal of a key whose holder was authenticated otherwise, by an access token that names it.
pub fn principal_of(gateway: &Gateway, view: &View, id: KeyId) -> Result<Principal, Refusal> {
    match view.key(id) {
        Some(key) => in_force(gateway, key),
        None => {
            Err(Refusal::new(Code::KeyInvalid, "the key that this access token names is not valid: ask for a new one"))
        }
    }
}

fn in_force(gateway: &Gateway, key: &Arc<KeyEntry>) -> Result<Principal, Refusal> {
    if key.key.revoked {
        return Err(Refusal::new(Code::KeyRevoked, "this API key was revoked: ask for a new one"));
    }
    if key.key.expires_at.is_some_and(|end| gateway.wall.latest(&*gateway.clock) >= end) {
        return Err(Refusal::new(Code::KeyExpired, "this API key has expired: ask for a new one"));
    }
    Ok(Principal { key: key.clone() })
}

/// Takes the request from its rate limits, then reads the body and the deciding fields. On refusal the obligation comes
/// back, so that the refusal is receipted.
pub async fn receive(
    mut obligation: Obligation,
    operation: Operation,
    headers: &HeaderMap,
    body: impl http_body::Body<Data = Bytes, Error: Into<crate::body::BodyError>> + Unpin,
) -> Result<Received, Box<(Obligation, Refusal, RateView)>> {
    let gateway = obligation.gateway().clone();
    let key = &obligation.key;
    let rates = match take_request([&key.scope_project, &key.scope_key], gateway.clock.monotonic_millis()) {
        Ok(rates) => rates,
        Err((refusal, rates)) => return Err(Box::new((obligation, refusal, rates))),
    };
    match read(&gateway, &mut obligation, operation, headers, body).await {
        Ok((fields, body, idempotency)) => Ok(Received { obligation, fields, body, idempotency, rates }),
        Err(refusal) => Err(Box::new((obligation, refusal, rates))),
    }
}

async fn read(
    gateway: &Gateway,
    obligation: &mut Obligation,
    operation: Operation,
    headers: &HeaderMap,
    body: impl http_body::Body<Data = Bytes, Error: Into<crate::body::BodyError>> + Unpin,
) -> Result<(Fields, Held, Option<Box<Named>>), Refusal> {
    obligation.class = data_class(headers, obligation.class)?;
    let idempotency_key = idempotency_key(headers)?;
    let priority = priority(headers)?;
    let limit = gateway.limits.body_bytes_max;
    fits(headers, limit)?;
    let body = collect(body, limit, &gateway.limits, gateway.bodies.share()).await?;
    let (sent, target) = obligation.foreign().map(Foreign::take_sent).unzip();
    let sent = sent.as_ref().unwrap_or(&body.bytes);
    // Whoever repeats sends the same again, and not what became of it on its way to an engine.
    let idempotency = idempotency_key.map(|key| {
        let target = target.as_deref().unwrap_or_default();
        let request = idempotency::digest(obligation.dialect(), operation.path(), target, obligation.class, sent);
        Box::new(Named { key, request })
    });
    obligation.request_commitment =
        aws_lc_rs::hmac::sign(&obligation.key.commitment_key, sent).as_ref().try_into().ok();
    let mut fields = Fields::parse(operation, &body.bytes)?;
    fields.priority = priority.unwrap_or(fields.priority);
    obligation.model = match obligation.view.model(&fields.model) {
        Some(model) => model.name_in_receipts.clone(),
        None => MODEL_UNKNOWN.into(),
    };
    Ok((fields, body, idempotency))
}

/// The project's class is the floor: a header may raise it for one request, and a lower one changes nothing.
pub fn data_class(headers: &HeaderMap, floor: DataClass) -> Result<DataClass, Refusal> {
    let Some(value) = headers.get(DATA_CLASS_HEADER) else { return Ok(floor) };
    let asked: DataClass =
        value.to_str().unwrap_or_default().parse().map_err(|error: types::facts::DataClassError| {
            Refusal::new(Code::DataClassUnknown, format!("Hoheit-Data-Class: {error}")).param("Hoheit-Data-Class")
        })?;
    Ok(asked.max(floor))
}

fn priority(headers: &HeaderMap) -> Result<Option<Class>, Refusal> {
    let Some(value) = headers.get(PRIORITY_HEADER) else { return Ok(None) };
    let asked = Class::ALL.into_iter().find(|class| class.as_str().as_bytes() == value.as_bytes());
    asked.map(Some).ok_or_else(|| {
        Refusal::new(Code::InvalidRequest, "Hoheit-Priority must be interactive or batch").param("Hoheit-Priority")
    })
}

pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    match value.to_str() {
        Ok(text) if !text.is_empty() && text.len() <= IDEMPOTENCY_KEY_BYTES_MAX => Ok(Some(text.to_owned())),
        _ => Err(Refusal::new(
            Code::InvalidRequest,
            format!("Idempotency-Key must have 1 to {IDEMPOTENCY_KEY_BYTES_MAX} visible ASCII characters"),
        )
        .param("Idempotency-Key")),
    }
}

fn too_large(limit: usize) -> Refusal {
    Refusal::new(Code::BodyTooLarge, format!("the body may have at most {limit} bytes: send less at once"))
}

/// When so much of a body must have come, at the latest.
fn due(limits: &Limits, begun: Instant, bytes: usize) -> Instant {
    let millis = (bytes as u64).saturating_mul(1_000) / limits.body_bytes_per_second_min.max(1);
    let earned = limits.body_grace.saturating_add(Duration::from_millis(millis));
    begun + earned.min(limits.body_timeout)
}

fn too_slow(limits: &Limits) -> Refusal {
    let (rate, seconds) = (limits.body_bytes_per_second_min, limits.body_timeout.as_secs());
    let message =
        format!("the body came with less than {rate} bytes a second, or not within {seconds} s: send it again");
    Refusal::new(Code::RequestTimeout, message)
}

/// A body that says itself that it has more than so many bytes is not read at all.
pub(crate) fn fits(headers: &HeaderMap, limit: usize) -> Result<(), Refusal> {
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > limit as u64) { Err(too_large(limit)) } else { Ok(()) }
}

/// Reads a body of at most so many bytes, within the time that it may take.
pub(crate) async fn collect(
    mut body: impl http_body::Body<Data = Bytes, Error: Into<crate::body::BodyError>> + Unpin,
    limit: usize,
    limits: &Limits,
    mut share: Share,
) -> Result<Held, Refusal> {
    let begun = Instant::now();
    let mut first: Option<Bytes> = None;
    let mut more = BytesMut::new();
    // Known to be at its end, a body is not asked once more.
    while !body.is_end_stream() {
        let so_far = first.as_ref().map_or(0, Bytes::len).max(more.len());
        let arrived = tokio::time::timeout_at(due(limits, begun, so_far), body.frame());
        let Some(frame) = arrived.await.map_err(|_| too_slow(limits))? else { break };
        let frame = frame.map_err(|_| Refusal::new(Code::InvalidRequest, "the body broke off: send it again"))?;
        let Ok(data) = frame.into_data() else { continue };
        if so_far + data.len() > limit {
            return Err(too_large(limit));
        }
        if !share.grow(data.len()) {
            let message = "this gateway holds as many bytes of requests as it may: try again shortly";
            return Err(Refusal::new(Code::NotReady, message).retry_after(1));
        }
        match &first {
            None => first = Some(data),
            Some(head) => {
                if more.is_empty() {
                    more.extend_from_slice(head);
                }
                more.extend_from_slice(&data);
            }
        }
    }
    // Most bodies come in one piece and are never copied.
    let bytes = if more.is_empty() { first.unwrap_or_default() } else { more.freeze() };
    Ok(Held { bytes, _share: share })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static(DATA_CLASS_HEADER), value.parse().unwrap())])
    }

    #[test]
    fn the_class_is_raised_and_never_lowered() {
        let check = |asked: &str, floor: DataClass, expect: Option<DataClass>| {
            assert_eq!(data_class(&headers(asked), floor).ok(), expect, "{asked}");
        };
        check("secret", DataClass::Internal, Some(DataClass::Secret));
        check("public", DataClass::Internal, Some(DataClass::Internal));
        check("SECRET", DataClass::Internal, None);
        check("", DataClass::Internal, None);
        assert_eq!(data_class(&HeaderMap::new(), DataClass::Public).ok(), Some(DataClass::Public));
    }

    #[tokio::test]
    async fn f10_the_body_limit_is_exact() {
        let body = |chunks: &[&'static str]| {
            let frames: Vec<_> = chunks
                .iter()
                .map(|chunk| Ok::<_, std::io::Error>(http_body::Frame::data(Bytes::from_static(chunk.as_bytes()))))
                .collect();
            http_body_util::StreamBody::new(Chunks(frames.into_iter()))
        };
        let bodies = crate::bodies::Bodies::new(8);
        let limits = Limits::default();
        let read = async |chunks: &[&'static str], limit| {
            let held = collect(body(chunks), limit, &limits, bodies.share()).await;
            held.map(|held| held.bytes).map_err(|refusal| refusal.code)
        };
        assert_eq!(read(&["ab", "cd", "e"], 5).await.unwrap(), "abcde");
        assert_eq!(read(&["abcde"], 5).await.unwrap(), "abcde");
        assert_eq!(read(&["ab", "cd", "ef"], 5).await, Err(Code::BodyTooLarge));
        assert_eq!(read(&["abcdef"], 5).await, Err(Code::BodyTooLarge));
        // All bodies together: held while the body is, and not longer.
        let held = collect(body(&["abcd"]), 5, &limits, bodies.share()).await.map_err(|_| ()).unwrap();
        assert_eq!(read(&["ab", "cd", "e"], 5).await, Err(Code::NotReady));
        assert_eq!(read(&["ab", "cd"], 5).await.unwrap(), "abcd");
        drop(held);
        assert_eq!(read(&["ab", "cd", "e"], 5).await.unwrap(), "abcde");
    }

    struct Chunks<I>(I);
    impl<I: Iterator + Unpin> futures_core::Stream for Chunks<I> {
        type Item = I::Item;
        fn poll_next(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<I::Item>> {
            std::task::Poll::Ready(self.0.next())
        }
    }
}
