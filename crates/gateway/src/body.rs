//! The body of every response that leaves this gateway: a whole answer, a relayed stream, or what the fallback (the
//! control API) gave.

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use http_body_util::combinators::UnsyncBoxBody;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Why a body ended early. The connection is cut, so that no client takes a broken answer for a whole one.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A body of a program that this gateway knows nothing of.
pub type ForeignBody = UnsyncBoxBody<Bytes, BodyError>;

pub enum Outgoing {
    Full(Full<Bytes>),
    Relay(Box<crate::relay::Relay>),
    Foreign(ForeignBody),
}

pub fn full(bytes: impl Into<Bytes>) -> Outgoing {
    Outgoing::Full(Full::new(bytes.into()))
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Outgoing::Full(body) => Pin::new(body).poll_frame(cx).map_err(|never: Infallible| match never {}),
            Outgoing::Relay(relay) => relay.poll_event(cx),
            Outgoing::Foreign(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Outgoing::Full(body) => body.is_end_stream(),
            Outgoing::Relay(_) => false,
            Outgoing::Foreign(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Outgoing::Full(body) => body.size_hint(),
            Outgoing::Relay(_) => SizeHint::default(),
            Outgoing::Foreign(body) => body.size_hint(),
        }
    }
}
