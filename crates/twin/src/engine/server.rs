//! The server: accepts, reads a request, asks the script, and turns the behaviour into bytes and gates.

use super::Shared;
use super::answer::{self, Asked, Operation};
use super::behaviour::{Ask, Before, Behaviour, End, Pace};
use super::body::{AnswerBody, Gate, Piece, What};
use super::log::{Counted, State, Ticket};
use super::socket::{Farewell, Socket};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;

type Answer = Response<Either<Full<Bytes>, AnswerBody>>;

/// Serves until told to stop. Connections live in the set, so they end with it.
pub(crate) async fn run(listener: TcpListener, shared: Arc<Shared>, stopping: Arc<Notify>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                shared.connections.fetch_add(1, Ordering::Relaxed);
                let _set = stream.set_nodelay(true);
                let (farewell, shared) = (Farewell::default(), shared.clone());
                let socket = TokioIo::new(Socket::new(stream, farewell.clone()));
                let service = service_fn(move |request| serve(shared.clone(), farewell.clone(), request));
                connections.spawn(hyper::server::conn::http1::Builder::new().serve_connection(socket, service));
            }
            _ = connections.join_next(), if !connections.is_empty() => {}
            () = stopping.notified() => return,
        }
    }
}

async fn serve(shared: Arc<Shared>, farewell: Farewell, request: Request<Incoming>) -> io::Result<Answer> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let path = head.uri.path();
    match (&head.method, path) {
        (&Method::GET, "/health" | "/healthz") => return Ok(json_answer(200, json!({"status": "ok"}).to_string())),
        (&Method::GET, "/v1/models") => return Ok(json_answer(200, models(&shared.models))),
        _ => {}
    }
    let Some(operation) = Operation::of_path(path) else {
        return Ok(json_answer(404, json!({"error": {"message": "no such path", "type": "not_found"}}).to_string()));
    };
    let asked = Asked::parse(operation, &body);
    let (model, stream) = asked.as_ref().map_or((String::new(), false), |asked| (asked.model.clone(), asked.stream));
    let index = shared.log.begin(path, head.headers.clone(), body.clone(), model.clone(), stream);
    let mut ticket = Ticket::new(shared.clone(), index);
    let ask = Ask { index, path, headers: &head.headers, model: &model, body: &body };
    let behaviour = shared.script.decide(&ask);
    if let (Some(asked), true) = (&asked, behaviour.runs_on) {
        ticket.runs_on_to(asked.counted(&behaviour, asked.output(&behaviour).0));
    }
    match &behaviour.before {
        Before::Answer => {}
        Before::Hang => {
            let _closed = shared.stall.acquire().await;
        }
        Before::Refuse => {
            farewell.reset();
            ticket.end(State::Died);
            return Err(io::Error::other("the script refuses"));
        }
        Before::Close => {
            ticket.end(State::Died);
            return Err(io::Error::other("the script closes"));
        }
        Before::Garbage(bytes) => {
            farewell.garbage(bytes.clone());
            ticket.end(State::Died);
            return Err(io::Error::other("the script writes garbage"));
        }
        Before::Status { status, retry_after, content_type, body } => {
            ticket.end(State::Completed);
            return Ok(status_answer(*status, retry_after.as_deref(), content_type, body.clone()));
        }
    }
    let Some(asked) = asked else {
        ticket.end(State::Completed);
        let text = json!({"error": {"message": "not a request", "type": "invalid_request_error"}}).to_string();
        return Ok(json_answer(400, text));
    };
    Ok(match asked.stream && operation != Operation::Embedding {
        true => streamed(&shared, &asked, &behaviour, ticket),
        false => whole(&shared, &asked, &behaviour, ticket),
    })
}

fn models(names: &[String]) -> String {
    let data: Vec<_> = names
        .iter()
        .map(|name| json!({"id": name, "object": "model", "created": 1_795_000_000, "owned_by": "twin"}))
        .collect();
    json!({"object": "list", "data": data}).to_string()
}

fn json_answer(status: u16, text: String) -> Answer {
    status_answer(status, None, "application/json", text)
}

fn status_answer(status: u16, retry_after: Option<&str>, content_type: &str, text: String) -> Answer {
    let mut answer = Response::builder()
        .status(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
        .header(header::CONTENT_TYPE, content_type);
    if let Some(seconds) = retry_after {
        answer = answer.header(header::RETRY_AFTER, seconds);
    }
    answer.body(Either::Left(Full::from(text))).expect("a script names headers that HTTP allows")
}

fn gate(shared: &Shared, pace: Pace) -> Gate {
    match pace {
        Pace::Free => Gate::Open,
        Pace::Step => Gate::Permit(shared.steps.clone()),
        Pace::Every(interval) => Gate::Sleep(interval),
    }
}

/// An answer in one document, cut in its middle where the script wants it cut.
fn whole(shared: &Shared, asked: &Asked, behaviour: &Behaviour, ticket: Ticket) -> Answer {
    let text = Bytes::from(answer::document(asked, behaviour));
    let output = if asked.operation == Operation::Embedding { 0 } else { asked.output(behaviour).0 };
    let counted = asked.counted(behaviour, output);
    let middle = text.len() / 2;
    let length = text.len() as u64;
    let piece = |gate: Gate, bytes: Bytes| Piece { gate, what: What::Bytes { bytes, counted, events: 1 } };
    let first = gate(shared, behaviour.pace);
    let (pieces, length) = match behaviour.end {
        End::DieAfterHead => (vec![Piece { gate: first, what: What::Die }], Some(length)),
        End::DieInside(_) | End::DieAfter(_) => {
            (vec![piece(first, text.slice(..middle)), Piece { gate: Gate::Open, what: What::Die }], Some(length))
        }
        End::StallAfter(_) | End::StallBehind(_) => {
            let rest = piece(Gate::Permit(shared.stall.clone()), text.slice(middle..));
            (vec![piece(first, text.slice(..middle)), rest], Some(length))
        }
        End::HalfLine(_) => (vec![piece(first, text.slice(..middle))], None),
        End::ErrorAfter(_) | End::GarbageAfter(_) => (vec![piece(first, Bytes::from_static(b"%!not json"))], None),
        End::Complete | End::NoDone => (vec![piece(first, text)], Some(length)),
    };
    Response::builder()
        .header(header::CONTENT_TYPE, "application/json")
        .body(Either::Right(AnswerBody::new(pieces, ticket, length)))
        .expect("constant headers")
}

fn streamed(shared: &Shared, asked: &Asked, behaviour: &Behaviour, ticket: Ticket) -> Answer {
    let mut stream = Stream {
        shared,
        behaviour,
        pieces: Vec::new(),
        events: 0,
        turned: false,
        counted: asked.counted(behaviour, 0),
    };
    stream.write(answer::events(asked, behaviour));
    let mut pieces = stream.pieces;
    // An ended stream with nothing in it still is a stream.
    if pieces.is_empty() {
        pieces.push(Piece {
            gate: Gate::Open,
            what: What::Bytes { bytes: Bytes::new(), counted: Counted::default(), events: 0 },
        });
    }
    Response::builder()
        .header(header::CONTENT_TYPE, "text/event-stream; charset=utf-8")
        .header(header::CACHE_CONTROL, "no-cache")
        .body(Either::Right(AnswerBody::new(pieces, ticket, None)))
        .expect("constant headers")
}

/// Writes events as pieces.
struct Stream<'a> {
    shared: &'a Shared,
    behaviour: &'a Behaviour,
    pieces: Vec<Piece>,
    /// Content events written so far.
    events: u64,
    /// The turn that the script takes between two events has been taken.
    turned: bool,
    counted: Counted,
}

impl Stream<'_> {
    fn write(&mut self, events: Vec<answer::Event>) {
        if self.behaviour.end == End::DieAfterHead {
            self.pieces.push(Piece { gate: Gate::Open, what: What::Die });
            return;
        }
        let count = events.len();
        for (index, event) in events.into_iter().enumerate() {
            self.stall_behind(index);
            // The role of a chat's first event is no part of the answer: "after 0 events" is behind it.
            if (index > 0 || event.content) && self.interrupted() {
                return;
            }
            let inside = event.content
                && matches!(self.behaviour.end, End::DieInside(at) | End::HalfLine(at) if at == self.events);
            self.counted = event.counted;
            let first = match event.content {
                true => gate(self.shared, self.behaviour.pace),
                false => Gate::Open,
            };
            self.events += u64::from(event.content);
            let bytes = self.framed(&event);
            if inside {
                self.bytes(first, bytes.slice(..bytes.len() / 2));
                if matches!(self.behaviour.end, End::DieInside(_)) {
                    self.pieces.push(Piece { gate: Gate::Open, what: What::Die });
                }
                return;
            }
            self.bytes(first, bytes);
        }
        self.stall_behind(count);
        if self.behaviour.end != End::NoDone {
            self.bytes(Gate::Open, Bytes::from(self.lines("[DONE]")));
        }
    }

    fn stall_behind(&mut self, written: usize) {
        if self.behaviour.end == End::StallBehind(written as u64) {
            self.bytes(Gate::Permit(self.shared.stall.clone()), Bytes::new());
        }
    }

    /// Does what the script wants between two events, once; true if the stream ends here.
    fn interrupted(&mut self) -> bool {
        let (End::DieAfter(at) | End::ErrorAfter(at) | End::GarbageAfter(at) | End::StallAfter(at)) =
            self.behaviour.end
        else {
            return false;
        };
        if self.turned || at != self.events {
            return false;
        }
        self.turned = true;
        match self.behaviour.end {
            End::DieAfter(_) => self.pieces.push(Piece { gate: Gate::Open, what: What::Die }),
            End::ErrorAfter(_) => {
                let error =
                    json!({"error": {"message": "the engine is out of memory", "type": "server_error", "code": 500}});
                self.bytes(Gate::Open, Bytes::from(self.lines(&error.to_string())));
            }
            End::GarbageAfter(_) => self.bytes(Gate::Open, Bytes::from(self.lines("{\"choices\": [%!"))),
            _ => self.bytes(Gate::Permit(self.shared.stall.clone()), Bytes::new()),
        }
        matches!(self.behaviour.end, End::DieAfter(_) | End::ErrorAfter(_))
    }

    fn framed(&self, event: &answer::Event) -> Bytes {
        let mut data = event.data.clone();
        if let (Some(size), true, true) = (self.behaviour.framing.giant, event.content, self.events == 1)
            && data.len() < size
        {
            // Inside the object, so that it stays one valid event.
            let padding = "x".repeat(size - data.len());
            data.insert_str(1, &format!("\"padding\":\"{padding}\","));
        }
        Bytes::from(self.lines(&data))
    }

    fn lines(&self, data: &str) -> String {
        let end = if self.behaviour.framing.crlf { "\r\n" } else { "\n" };
        let comment = if self.behaviour.framing.comments { format!(": keep-alive{end}{end}") } else { String::new() };
        format!("{comment}data: {data}{end}{end}")
    }

    fn bytes(&mut self, first: Gate, bytes: Bytes) {
        let size = self.behaviour.framing.split.unwrap_or(usize::MAX).max(1);
        let (counted, events) = (self.counted, self.events);
        let mut gate = first;
        let mut rest = bytes;
        loop {
            let bytes = rest.split_to(rest.len().min(size));
            self.pieces.push(Piece { gate, what: What::Bytes { bytes, counted, events } });
            gate = Gate::Open;
            if rest.is_empty() {
                return;
            }
        }
    }
}
