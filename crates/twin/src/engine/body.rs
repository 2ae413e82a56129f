//! The body of an answer: pieces of bytes, each behind a gate. A piece is counted when the connection takes it.

use super::log::{Counted, State, Ticket};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::Semaphore;

/// What has to happen before a piece goes out.
#[derive(Debug, Clone)]
pub(crate) enum Gate {
    /// Nothing, except that what came before is flushed.
    Open,
    /// A permit of this semaphore is used up; a closed one is always open.
    Permit(Arc<Semaphore>),
    Sleep(Duration),
}

/// Bytes of an answer and what they mean.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub gate: Gate,
    pub what: What,
}

#[derive(Debug, Clone)]
pub(crate) enum What {
    /// Bytes; the counts hold once they are taken.
    Bytes { bytes: Bytes, counted: Counted, events: u64 },
    /// The connection breaks here.
    Die,
}

pub(crate) struct AnswerBody {
    pieces: VecDeque<Piece>,
    /// The gate of the first piece, once it was asked to open.
    opening: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    ticket: Ticket,
    /// Bytes in all, where the answer is one piece with a length.
    length: Option<u64>,
}

impl AnswerBody {
    pub fn new(pieces: Vec<Piece>, ticket: Ticket, length: Option<u64>) -> AnswerBody {
        AnswerBody { pieces: pieces.into(), opening: None, ticket, length }
    }
}

async fn open(gate: Gate) {
    match gate {
        // Once around: hyper flushes what it holds when a body has nothing at the moment.
        Gate::Open => tokio::task::yield_now().await,
        Gate::Permit(permits) => {
            if let Ok(permit) = permits.acquire_owned().await {
                permit.forget();
            }
        }
        Gate::Sleep(duration) => tokio::time::sleep(duration).await,
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        let Some(first) = this.pieces.front() else {
            this.ticket.end(State::Completed);
            return Poll::Ready(None);
        };
        let opening = this.opening.get_or_insert_with(|| Box::pin(open(first.gate.clone())));
        ready!(opening.as_mut().poll(cx));
        this.opening = None;
        match this.pieces.pop_front().map(|piece| piece.what) {
            Some(What::Bytes { bytes, counted, events }) => {
                this.ticket.count(counted, events);
                if this.pieces.is_empty() {
                    this.ticket.end(State::Completed);
                }
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Some(What::Die) | None => {
                this.ticket.end(State::Died);
                Poll::Ready(Some(Err(io::Error::other("the script breaks the connection here"))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map(SizeHint::with_exact).unwrap_or_default()
    }
}
