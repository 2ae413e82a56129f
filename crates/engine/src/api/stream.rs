//! A generation as server-sent events. The body owns the receiving end of the generation: when the caller leaves, hyper
//! drops the body, the channel closes and the inference thread stops before its next step. Nothing else is needed to
//! cancel, and nothing can forget to.

use super::ask::Sampling;
use super::refusal::Refusal;
use super::reply::Reply;
use crate::turn::sequence::Event;
use bytes::Bytes;
use http_body::{Body, Frame};
use serde_json::Value;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc::Receiver;

pub(crate) struct Sse {
    reply: Reply,
    events: Receiver<Event>,
    include_usage: bool,
    continuous_usage: bool,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing was said yet, not even who speaks: a chunk before the sequence has had its turn would tell whoever waits
    /// for the first token that it is there.
    Opening,
    Speaking,
    Ended,
}

impl Sse {
    pub(crate) fn new(reply: Reply, sampling: &Sampling, events: Receiver<Event>) -> Self {
        let &Sampling { include_usage, continuous_usage, .. } = sampling;
        Self { reply, events, include_usage, continuous_usage, stage: Stage::Opening }
    }

    /// One chunk as an event; `so_far` are the tokens generated up to it.
    fn event(&self, frame: &mut String, mut chunk: Value, so_far: usize) {
        if self.continuous_usage {
            chunk["usage"] = self.reply.usage(so_far);
        } else if self.include_usage {
            chunk["usage"] = Value::Null;
        }
        let _ = write!(frame, "data: {chunk}\n\n");
    }

    fn frame(&mut self, event: Option<Event>) -> String {
        let mut frame = String::new();
        match event {
            Some(Event::Token { text, completion_tokens, finish }) => {
                if self.stage == Stage::Opening {
                    self.stage = Stage::Speaking;
                    if let Some(opening) = self.reply.opening() {
                        self.event(&mut frame, opening, 0);
                    }
                }
                // With running usage every token is shown, also one whose text is held back: the count is the news.
                if !text.is_empty() || (self.continuous_usage && finish.is_none()) {
                    self.event(&mut frame, self.reply.chunk(&text, None), completion_tokens);
                }
                if finish.is_some() {
                    self.event(&mut frame, self.reply.chunk("", finish), completion_tokens);
                    if self.include_usage {
                        let _ = write!(frame, "data: {}\n\n", self.reply.closing(completion_tokens));
                    }
                    frame.push_str("data: [DONE]\n\n");
                    self.stage = Stage::Ended;
                }
            }
            Some(Event::Failed(message)) => self.fail(&mut frame, &Refusal::failed(&message)),
            Some(Event::Vector(_)) => {}
            None => self.fail(&mut frame, &Refusal::ended()),
        }
        frame
    }

    /// The status is sent long ago; SDKs read an `error` in an event as an exception.
    fn fail(&mut self, frame: &mut String, refusal: &Refusal) {
        let _ = write!(frame, "data: {}\n\n", refusal.json());
        self.stage = Stage::Ended;
    }
}

impl Body for Sse {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        while self.stage != Stage::Ended {
            let event = ready!(self.events.poll_recv(cx));
            let frame = self.frame(event);
            if !frame.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(frame.into()))));
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.stage == Stage::Ended
    }
}

#[cfg(test)]
mod tests {
    use super::super::reply::Dialect;
    use super::*;
    use std::task::Waker;
    use tokio::sync::mpsc::channel;

    fn sse(dialect: Dialect) -> (tokio::sync::mpsc::Sender<Event>, Sse) {
        let (sender, events) = channel(2);
        let text = String::new;
        let reply = Reply { dialect, id: text(), created: 0, model: text(), fingerprint: text(), prompt_tokens: 1 };
        let sse = Sse { reply, events, include_usage: false, continuous_usage: false, stage: Stage::Opening };
        (sender, sse)
    }

    fn next(sse: &mut Sse) -> Option<String> {
        match Pin::new(sse).poll_frame(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(Ok(frame))) => {
                Some(String::from_utf8(frame.into_data().ok()?.to_vec()).expect("events are text"))
            }
            _ => None,
        }
    }

    #[test]
    fn nothing_is_said_before_the_first_token() {
        let (sender, mut sse) = sse(Dialect::Chat);
        assert_eq!(next(&mut sse), None);
        sender.try_send(Event::Token { text: "a".into(), completion_tokens: 1, finish: None }).unwrap();
        let first = next(&mut sse).unwrap();
        assert!(first.contains("assistant") && first.contains(r#""content":"a""#), "{first}");
    }

    #[test]
    fn a_sequence_that_fails_at_once_says_only_that() {
        let (sender, mut sse) = sse(Dialect::Chat);
        sender.try_send(Event::Failed("no".into())).unwrap();
        let first = next(&mut sse).unwrap();
        assert!(first.contains("error") && !first.contains("assistant"), "{first}");
    }
}
