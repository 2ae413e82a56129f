//! An engine's stream: its events, and the alarm that goes off when it is silent for too long.
//!
//! An answer begins with its first token, not with its first event: a chunk that names the role, a comment to keep the
//! connection open, an event without choices say nothing about whether the engine will ever speak. So those are held
//! back until an event carries output or an end. Until then the first token's timeout runs and another replica may
//! still be tried.

use crate::chunk::{Chunk, carries_output, finishes};
use crate::dispatch::Failure;
use crate::limits::Limits;
use crate::link::LinkBody;
use crate::meter::Report;
use crate::sse::{self, Splitter, data_range};
use bytes::Bytes;
use http_body::Body;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};
use types::{Code, Usage};

/// What is held back before the first token. A comment every second of the 300 that it may take is 5 KB, a chunk that
/// names the role 300 bytes; an engine that says more than this has begun, whatever it says.
const HELD_BYTES_MAX: usize = 64 << 10;

/// An engine's stream that has begun to speak.
pub struct Upstream {
    body: LinkBody,
    splitter: Splitter,
    /// Fires when the engine is silent for too long, or the whole takes too long.
    alarm: Pin<Box<Sleep>>,
    deadline: Instant,
    token_timeout: Duration,
    /// Before the first token only the deadline counts here; the caller has a timeout of its own.
    begun: bool,
    /// Events that came before the first token, and that one.
    held: VecDeque<Bytes>,
    /// One of them carried usage.
    counted: bool,
}

/// What the next look at the engine's stream gave.
pub enum Next {
    Event(Bytes),
    End,
    Broken,
    Silent,
}

enum Look {
    /// Nothing of an answer yet.
    Early,
    Begins,
    Garbage,
}

impl Upstream {
    /// Waits until the answer begins: until then, another replica may still be tried.
    pub async fn open(body: LinkBody, limits: &Limits, deadline: Instant) -> Result<Upstream, Failure> {
        let mut upstream = Upstream {
            body,
            splitter: Splitter::new(limits.event_bytes_max),
            alarm: Box::pin(tokio::time::sleep_until(deadline)),
            deadline,
            token_timeout: limits.token_timeout,
            begun: false,
            held: VecDeque::new(),
            counted: false,
        };
        let mut held = VecDeque::new();
        let mut held_bytes = 0;
        loop {
            let event = match std::future::poll_fn(|cx| upstream.poll_next(cx)).await {
                Next::Event(event) => event,
                Next::Silent => return Err(Failure { spent: spent(&held), ..Failure::too_late() }),
                Next::End | Next::Broken => {
                    let message = "the engine ended its stream before the first token";
                    let spent = spent(&held);
                    return Err(Failure { spent, ..Failure::broken(Code::EngineFailed, message) });
                }
            };
            let look = look(&event, &mut upstream.counted);
            held_bytes += event.len();
            held.push_back(event);
            match look {
                Look::Garbage => {
                    let failure = Failure::event(held.back().map_or(&[], |event| data(event).unwrap_or(&[])));
                    return Err(Failure { spent: spent(&held), ..failure });
                }
                Look::Early if held_bytes <= HELD_BYTES_MAX => {}
                Look::Early | Look::Begins => break,
            }
        }
        (upstream.held, upstream.begun) = (held, true);
        upstream.rearm();
        Ok(upstream)
    }

    /// Whether the engine has counted by its first token, as those do that count as they go.
    pub fn has_counted(&self) -> bool {
        self.counted
    }

    fn rearm(&mut self) {
        if self.begun {
            let next = (Instant::now() + self.token_timeout).min(self.deadline);
            self.alarm.as_mut().reset(next);
        }
    }

    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        if let Some(event) = self.held.pop_front() {
            return Poll::Ready(Next::Event(event));
        }
        // A client that reads slowly leaves something to be read at every look, and then nobody asks the alarm.
        if Instant::now() >= self.deadline {
            return Poll::Ready(Next::Silent);
        }
        loop {
            match self.splitter.next_event() {
                Ok(Some(event)) => {
                    // A comment keeps a connection open and says nothing of an engine.
                    if sse::has_data(&event) {
                        self.rearm();
                    }
                    return Poll::Ready(Next::Event(event));
                }
                Ok(None) => {}
                Err(_) => return Poll::Ready(Next::Broken),
            }
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Some(data) = frame.data_ref() {
                        self.splitter.push(data);
                    }
                }
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Next::Broken),
                Poll::Ready(None) => return Poll::Ready(Next::End),
                Poll::Pending => {
                    ready!(self.alarm.as_mut().poll(cx));
                    return Poll::Ready(Next::Silent);
                }
            }
        }
    }
}

/// What comes behind an answer's last event: as a rule the few bytes that end the body, and then the connection can take the
/// next request. Read while the receipt is made durable, and given up with it.
pub struct Rest(LinkBody);

impl Upstream {
    pub fn rest(self) -> Rest {
        Rest(self.body)
    }
}

impl Rest {
    /// Ready when nothing more can come.
    pub fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match ready!(Pin::new(&mut self.0).poll_frame(cx)) {
                // Nobody wants it; an engine that goes on and on is hung up on when the receipt is there.
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Ready(()),
            }
        }
    }
}

fn data(event: &[u8]) -> Option<&[u8]> {
    data_range(event).map(|range| &event[range])
}

/// What the engine had counted by the last of these events.
fn spent(held: &VecDeque<Bytes>) -> Option<Usage> {
    held.iter().rev().find_map(|event| {
        let usage = serde_json::from_slice::<Chunk>(data(event)?).ok()?.usage?;
        serde_json::from_str::<Report>(usage.get()).ok().map(Usage::from)
    })
}

fn look(event: &[u8], counted: &mut bool) -> Look {
    let Some(data) = data(event) else {
        return if sse::has_data(event) { Look::Garbage } else { Look::Early };
    };
    if data == b"[DONE]" {
        return Look::Begins;
    }
    match serde_json::from_slice::<Chunk>(data) {
        Ok(Chunk { error: None, choices, usage }) => {
            *counted |= usage.is_some_and(|usage| usage.get() != "null");
            match choices.iter().flatten().any(|choice| carries_output(choice) || finishes(choice)) {
                true => Look::Begins,
                false => Look::Early,
            }
        }
        _ => Look::Garbage,
    }
}
