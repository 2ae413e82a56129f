//! Engines that write down what they have done: each answer's tokens, counted when the connection takes them. Their book
//! outlives their crashes, as the count that receipts are held against.

use crate::dice::{Dice, SharedDice};
use crate::trace::Trace;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Sleep;
use turmoil::net::TcpListener;

pub const PORT: u16 = 8000;

/// One attempt at an answer, as the engine saw it.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The receipt's id, which the gateway sends along.
    pub request: String,
    pub engine: usize,
    /// What the client wrote into its prompt: whose request it is.
    pub project: String,
    pub began: Duration,
    pub input: u64,
    pub output: u64,
    /// The whole answer was handed to the connection.
    pub finished: bool,
}

#[derive(Clone, Default)]
pub struct Book(Arc<Mutex<Vec<Attempt>>>);

impl Book {
    fn attempts(&self) -> MutexGuard<'_, Vec<Attempt>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn all(&self) -> Vec<Attempt> {
        self.attempts().clone()
    }
}

/// One engine: its software may start again, its book and its dice go on.
#[derive(Clone)]
pub struct Engine {
    pub number: usize,
    pub book: Book,
    pub trace: Trace,
    pub dice: SharedDice,
}

/// How one answer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Well,
    Full,
    Fails,
    /// Ends the connection after so many events.
    Breaks(u64),
    /// Says nothing more after so many events.
    Stalls(u64),
}

impl Manner {
    fn thrown(dice: &mut Dice) -> Self {
        match dice.below(100) {
            0..=2 => Manner::Full,
            3..=4 => Manner::Fails,
            5..=7 => Manner::Breaks(dice.below(12)),
            8 => Manner::Stalls(dice.below(6)),
            _ => Manner::Well,
        }
    }
}

impl Engine {
    /// The host.
    pub async fn serve(self) -> turmoil::Result {
        let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
        loop {
            let (socket, _) = listener.accept().await?;
            let engine = self.clone();
            let service = service_fn(move |request| {
                let engine = engine.clone();
                async move { Ok::<_, Infallible>(engine.answer(request).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service);
            tokio::task::spawn_local(async move {
                let _ = connection.await;
            });
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Events> {
        let id = request.headers().get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
        let body = match request.into_body().collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => return plain(StatusCode::BAD_REQUEST, json!({})),
        };
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let (manner, pace, input, wanted) = self.dice.throw(|dice| {
            let most = body["max_tokens"].as_u64().unwrap_or(1).max(1);
            (Manner::thrown(dice), dice.between(1, 4), dice.between(3, 30), dice.between(1, most))
        });
        self.trace.note(format_args!("engine {} {id} {manner:?} {wanted}", self.number));
        match manner {
            Manner::Full => return plain(StatusCode::SERVICE_UNAVAILABLE, json!({"error": {"message": "full"}})),
            Manner::Fails => return plain(StatusCode::INTERNAL_SERVER_ERROR, json!({"error": {"message": "no"}})),
            _ => {}
        }
        let place = {
            let mut attempts = self.book.attempts();
            attempts.push(Attempt {
                request: id,
                engine: self.number,
                project: body["messages"][0]["content"].as_str().unwrap_or_default().to_owned(),
                began: turmoil::sim_elapsed().unwrap_or_default(),
                input,
                output: 0,
                finished: false,
            });
            attempts.len() - 1
        };
        let streams = body["stream"].as_bool().unwrap_or(false);
        let events = if streams { stream(input, wanted) } else { VecDeque::from([whole(input, wanted)]) };
        let pace = Duration::from_millis(if streams { pace } else { pace * wanted });
        let mut response = Response::new(Events {
            engine: Some((self.clone(), place)),
            left: events,
            given: 0,
            manner,
            pace,
            wait: Some(Box::pin(tokio::time::sleep(pace))),
        });
        let kind = if streams { "text/event-stream" } else { "application/json" };
        response.headers_mut().insert("content-type", http::HeaderValue::from_static(kind));
        response
    }
}

fn plain(status: StatusCode, body: Value) -> Response<Events> {
    let left = VecDeque::from([(Bytes::from(body.to_string()), 0)]);
    let body = Events { engine: None, left, given: 0, manner: Manner::Well, pace: Duration::ZERO, wait: None };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    response
}

fn usage(input: u64, output: u64) -> Value {
    json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output})
}

/// Each piece with the tokens that it carries.
type Piece = (Bytes, u64);

fn whole(input: u64, output: u64) -> Piece {
    let message = json!({"role": "assistant", "content": "t ".repeat(output as usize)});
    let choices = json!([{"index": 0, "message": message, "finish_reason": "stop"}]);
    let answer = json!({"id": "c", "object": "chat.completion", "model": "m", "choices": choices, "usage": usage(input, output)});
    (Bytes::from(answer.to_string()), output)
}

fn stream(input: u64, output: u64) -> VecDeque<Piece> {
    let event = |choices: Value, usage: Value| {
        let chunk =
            json!({"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": choices, "usage": usage});
        Bytes::from(format!("data: {chunk}\n\n"))
    };
    let mut pieces = VecDeque::new();
    for count in 1..=output {
        let choice = json!([{"index": 0, "delta": {"content": "t "}, "finish_reason": null}]);
        pieces.push_back((event(choice, usage(input, count)), 1));
    }
    let end = json!([{"index": 0, "delta": {}, "finish_reason": "stop"}]);
    pieces.push_back((event(end, usage(input, output)), 0));
    pieces.push_back((event(json!([]), usage(input, output)), 0));
    pieces.push_back((Bytes::from_static(b"data: [DONE]\n\n"), 0));
    pieces
}

/// An answer on its way, one piece a pace.
struct Events {
    engine: Option<(Engine, usize)>,
    left: VecDeque<Piece>,
    given: u64,
    manner: Manner,
    pace: Duration,
    wait: Option<Pin<Box<Sleep>>>,
}

impl Body for Events {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
        match self.manner {
            Manner::Breaks(after) if self.given >= after => {
                return Poll::Ready(Some(Err(std::io::Error::other("breaks"))));
            }
            Manner::Stalls(after) if self.given >= after => return Poll::Pending,
            _ => {}
        }
        if let Some(wait) = &mut self.wait {
            ready!(wait.as_mut().poll(cx));
        }
        let Some((bytes, tokens)) = self.left.pop_front() else { return Poll::Ready(None) };
        let (last, pace) = (self.left.is_empty(), self.pace);
        self.given += 1;
        if let Some((engine, place)) = &self.engine {
            let attempt = &mut engine.book.attempts()[*place];
            attempt.output += tokens;
            attempt.finished = last;
        }
        if let Some(wait) = &mut self.wait {
            let next = wait.deadline() + pace;
            wait.as_mut().reset(next);
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}
