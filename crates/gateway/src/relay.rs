//! Stage four: the stream as it comes, with as little looking as possible.
//!
//! Events leave as the bytes that came, but for the usage that was forced upon the engine and that the client did not
//! ask for. The end (`[DONE]`, or an error event) is held back until the receipt is durable. A break after the first
//! token ends in an error event and no `[DONE]`. Dropping the relay, which hyper does the moment the client is gone,
//! drops the engine's connection and closes the obligation as `aborted`.
//!
//! If we crash here: the intent is durable, and so is the last watermark.

use crate::body::BodyError;
use crate::chunk::{Chunk, carries_output, member_range, place_of};
use crate::idempotency::{Answer, Guard, Handover};
use crate::meter::Report as UsageReport;
use crate::pad::Padding;
use crate::receipt::{End, Obligation};
use crate::refusal::Refusal;
use crate::replica::InFlight;
use crate::sse::{self, data_range};
use crate::times::Pace;
use crate::upstream::{Next, Rest, Upstream};
use bytes::{Bytes, BytesMut};
use http_body::Frame;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Instant;
use types::Code;

/// What the client asked to see of usage.
#[derive(Debug, Clone, Copy)]
pub struct UsageShown {
    pub at_end: bool,
    pub running: bool,
}

/// A frame takes no further event from this size on: 16 KiB are a hundred events of one token, and what one record of TLS
/// holds.
const FRAME_BYTES_MAX: usize = 16 << 10;

/// The body of a streamed response.
pub struct Relay {
    state: State,
    usage_shown: UsageShown,
    watermark: Watermarks,
    pace: Pace,
    /// Only for data of a class that is padded.
    padding: Option<Padding>,
    /// Kept for a replay under an idempotency key, while it is small enough.
    replay: Option<(Guard, Option<BytesMut>)>,
}

#[expect(clippy::large_enum_variant, reason = "one a request, and its longest part is the smaller one")]
enum State {
    Streaming(Box<Streaming>),
    /// The receipt is on its way to the disk; then the last bytes may go.
    Sealing {
        sealed: Handover,
        last: Bytes,
        rest: Option<Rest>,
    },
    Done,
}

struct Streaming {
    upstream: Upstream,
    obligation: Obligation,
    /// Counts the request at its replica and tells its breaker how it ended.
    in_flight: InFlight,
}

/// When the running count was last made durable.
struct Watermarks {
    tokens_step: u64,
    interval: Duration,
    tokens: u64,
    at: Instant,
}

impl Relay {
    pub fn new(
        upstream: Upstream,
        mut obligation: Obligation,
        in_flight: InFlight,
        usage_shown: UsageShown,
        replay: Option<Guard>,
    ) -> Relay {
        let gateway = obligation.gateway().clone();
        let now = gateway.clock.now();
        let waited = now.0.saturating_sub(obligation.received_at.0);
        gateway.metrics.first_token.observe_millis(waited);
        if let Some(notes) = &mut obligation.trace {
            notes.first_token_at = Some(now);
        }
        let padding = gateway.limits.pad_from.filter(|from| obligation.class >= *from).map(|_| Padding::new());
        let pace = Pace::new(&gateway.metrics.token);
        let limits = &gateway.limits;
        let watermark = Watermarks {
            tokens_step: limits.watermark_tokens,
            interval: limits.watermark_interval,
            tokens: 0,
            at: Instant::now(),
        };
        let replay = replay.map(|guard| (guard, Some(BytesMut::new())));
        let state = State::Streaming(Box::new(Streaming { upstream, obligation, in_flight }));
        Relay { state, usage_shown, watermark, pace, padding, replay }
    }

    /// What caches and proxies on the way are told: nobody may compress frames that are padded.
    pub fn caching(&self) -> &'static str {
        if self.padding.is_some() { "no-store, no-transform" } else { "no-store" }
    }

    pub fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            match &mut self.state {
                State::Streaming(_) => {
                    if let Some(bytes) = ready!(self.poll_streaming(cx)) {
                        return Poll::Ready(Some(Ok(Frame::data(bytes))));
                    }
                }
                State::Sealing { sealed, last, rest } => {
                    if rest.as_mut().is_some_and(|rest| rest.poll_end(cx).is_ready()) {
                        *rest = None;
                    }
                    let durable = ready!(Pin::new(sealed).poll(cx)).is_ok();
                    let last = std::mem::take(last);
                    self.state = State::Done;
                    if !durable {
                        // The journal failed and the process is ending: no end of a stream without its receipt.
                        return Poll::Ready(Some(Err("the receipt could not be written".into())));
                    }
                    return Poll::Ready(Some(Ok(Frame::data(last))));
                }
                State::Done => return Poll::Ready(None),
            }
        }
    }

    /// Events that are here already leave in one frame, up to its limit: an engine that is faster than its client must not
    /// fill our memory. None: the state changed and nothing is left to send.
    fn poll_streaming(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let State::Streaming(streaming) = &mut self.state else { return Poll::Ready(None) };
        let mut out = BytesMut::new();
        let mut events = 0;
        let end = loop {
            if out.len() >= FRAME_BYTES_MAX {
                break None;
            }
            match streaming.upstream.poll_next(cx) {
                Poll::Ready(Next::Event(event)) => {
                    events += 1;
                    match streaming.pass(event, self.usage_shown, &mut out) {
                        Passed::On => {}
                        Passed::Done => break Some((End::completed(), None)),
                        Passed::Garbage => break Some(broken(Code::StreamBroken)),
                    }
                    if let Some(running) = streaming.obligation.meter.running() {
                        self.watermark.note(running, &streaming.obligation);
                    }
                }
                Poll::Ready(Next::End | Next::Broken) => break Some(broken(Code::StreamBroken)),
                Poll::Ready(Next::Silent) => break Some(broken(Code::EngineTimeout)),
                Poll::Pending if out.is_empty() => return Poll::Pending,
                Poll::Pending => break None,
            }
        };
        streaming.translate(&mut out, end.as_ref());
        if let Some(padding) = self.padding.as_mut().filter(|_| !out.is_empty()) {
            padding.fill(&mut out, &*streaming.obligation.gateway().clock);
        }
        let out = out.freeze();
        if !out.is_empty() {
            self.pace.arrived(events, Instant::now());
            streaming.obligation.answer_bytes(&out);
            if let Some((_, kept)) = &mut self.replay {
                let max = streaming.obligation.gateway().idempotency.answer_bytes_max();
                keep(kept, &out, max);
            }
        }
        if let Some((end, error)) = end {
            let State::Streaming(streaming) = std::mem::replace(&mut self.state, State::Done) else {
                return Poll::Ready(None);
            };
            let Streaming { upstream, mut obligation, in_flight } = *streaming;
            let now = obligation.gateway().clock.monotonic_millis();
            let quarantine = &obligation.gateway().quarantine;
            match end.code {
                None => {
                    in_flight.report(routing::Report::Success, now);
                    quarantine.forget(&obligation);
                }
                // We hang up on it while it is at work.
                Some(Code::EngineTimeout) => in_flight.cut(routing::Report::Failure, now),
                Some(_) => {
                    if in_flight.was_steady() {
                        quarantine.strike(&obligation);
                    }
                    in_flight.report(routing::Report::Failure, now);
                }
            }
            let translator = obligation.foreign().and_then(|foreign| foreign.translator.as_mut());
            let last = match (error, translator) {
                (None, None) => Bytes::from_static(b"data: [DONE]\n\n"),
                (None, Some(translator)) => translator.last(),
                // A blank line first: whatever was cut, the error parses as an event of its own.
                (Some(refusal), None) => Bytes::from(format!("\n\ndata: {}\n\n", refusal.envelope())),
                (Some(refusal), Some(translator)) => translator.broken(refusal.code, &refusal.message),
            };
            let (finished, receipt) = (end.finished, obligation.id);
            if let Some(code) = end.code {
                obligation.gateway().metrics.refusal(code);
            }
            let cache_control = Some(self.caching());
            let repeatable = self.replay.take().filter(|_| finished).map(|(guard, mut kept)| {
                keep(&mut kept, &last, usize::MAX);
                let body = kept.map(BytesMut::freeze);
                (guard, Answer { receipt, content_type: "text/event-stream", cache_control, body })
            });
            let rest = finished.then(|| upstream.rest());
            self.state = State::Sealing { sealed: Handover::new(obligation.close(end), repeatable), last, rest };
        }
        Poll::Ready(Some(out).filter(|out| !out.is_empty()))
    }
}

/// Appends while the whole stays within the limit; beyond it nothing is kept.
fn keep(kept: &mut Option<BytesMut>, bytes: &[u8], max: usize) {
    match kept {
        Some(buffer) if buffer.len().saturating_add(bytes.len()) <= max => buffer.extend_from_slice(bytes),
        _ => *kept = None,
    }
}

fn broken(code: Code) -> (End, Option<Refusal>) {
    let message = match code {
        Code::EngineTimeout => "the engine fell silent: the answer so far is incomplete",
        _ => "the engine broke off: the answer so far is incomplete",
    };
    (End::partial(code), Some(Refusal::new(code, message)))
}

enum Passed {
    On,
    Done,
    Garbage,
}

impl Streaming {
    /// Events in the client's dialect, in place of those that came; at a good end also what the translator held back.
    fn translate(&mut self, out: &mut BytesMut, end: Option<&(End, Option<Refusal>)>) {
        let Some(translator) = self.obligation.foreign().and_then(|foreign| foreign.translator.as_mut()) else {
            return;
        };
        let events = std::mem::take(out);
        if !events.is_empty() {
            translator.events(&events, out);
        }
        if end.is_some_and(|(end, _)| end.finished) {
            translator.flush(out);
        }
    }

    /// Looks at one event and lets it pass, changed only where it must be.
    fn pass(&mut self, event: Bytes, shown: UsageShown, out: &mut BytesMut) -> Passed {
        let Some(range) = data_range(&event) else {
            // Data over several lines is an event that nobody here has counted.
            if sse::has_data(&event) {
                return Passed::Garbage;
            }
            out.extend_from_slice(&event);
            return Passed::On;
        };
        let data = &event[range.clone()];
        if data == b"[DONE]" {
            return Passed::Done;
        }
        let Ok(parsed) = serde_json::from_slice::<Chunk>(data) else { return Passed::Garbage };
        if parsed.error.is_some() {
            return Passed::Garbage;
        }
        let pieces = parsed.choices.as_ref().map_or(0, Vec::len);
        if pieces > 0 {
            self.obligation
                .meter
                .saw_output(parsed.choices.iter().flatten().filter(|c| carries_output(c)).count() as u64);
        }
        let usage = parsed.usage.filter(|raw| raw.get() != "null");
        let Some(usage) = usage else {
            out.extend_from_slice(&event);
            return Passed::On;
        };
        let Ok(report) = serde_json::from_str::<UsageReport>(usage.get()) else { return Passed::Garbage };
        self.obligation.meter.report(report);
        let at_end = pieces == 0;
        match (at_end, shown) {
            // The client asked for it: as it came.
            (true, UsageShown { at_end: true, .. }) | (false, UsageShown { running: true, .. }) => {
                out.extend_from_slice(&event);
            }
            // An event that only carries usage, and nobody asked.
            (true, _) => {}
            (false, UsageShown { at_end: true, .. }) => {
                let place = place_of(&event, usage);
                out.extend_from_slice(&event[..place.start]);
                out.extend_from_slice(b"null");
                out.extend_from_slice(&event[place.end..]);
            }
            (false, _) => {
                let cut = member_range(&event, place_of(&event, usage));
                out.extend_from_slice(&event[..cut.start]);
                out.extend_from_slice(&event[cut.end..]);
            }
        }
        Passed::On
    }
}

impl Watermarks {
    fn note(&mut self, running: types::Usage, obligation: &Obligation) {
        let now = Instant::now();
        if running.output >= self.tokens + self.tokens_step || now >= self.at + self.interval {
            (self.tokens, self.at) = (running.output, now);
            obligation.watermark(running);
        }
    }
}
