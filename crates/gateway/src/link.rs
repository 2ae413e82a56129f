//! One HTTP connection to an engine, driven by the request that uses it.
//!
//! hyper's client wants its connection to be a task of its own: a request then wakes that task, and that task the request,
//! twice over. Here whoever waits for an answer drives the connection itself, so that a request and its engine's connection
//! are one task, and nothing is woken that does not wait for the network. An idle connection is driven by nobody; that an
//! engine closed it is found when it is taken up again ([`Link::is_usable`]).
//!
//! Dropped before its answer has ended, the connection closes: that is how an engine hears that its client left.

use crate::dial::Wire;
use crate::pool::{Pool, PoolKey};
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("the engine closed the connection")]
    Closed,
    #[error(transparent)]
    Http(hyper::Error),
}

pub struct Link {
    sender: SendRequest<Full<Bytes>>,
    /// Boxed: it has a kilobyte, and a link moves from the pool through four hands and back with every request.
    connection: Pin<Box<Connection<Wire, Full<Bytes>>>>,
    /// The connection has ended and may not be asked again.
    ended: bool,
}

impl LinkError {
    /// Nothing of the request had left.
    pub fn is_before_anything(&self) -> bool {
        match self {
            LinkError::Closed => true,
            LinkError::Http(error) => error.is_canceled(),
        }
    }
}

impl Link {
    pub async fn open(wire: Wire) -> hyper::Result<Link> {
        let (sender, connection) = http1::handshake(wire).await?;
        Ok(Link { sender, connection: Box::pin(connection), ended: false })
    }

    /// Lets the connection do what it can; it wakes `cx` when it can do more.
    fn drive(&mut self, cx: &mut Context<'_>) {
        if !self.ended {
            // Why it ended is told by the answer that it then owes.
            self.ended = self.connection.as_mut().poll(cx).is_ready();
        }
    }

    /// Whether the engine's side is still open and the last exchange has ended.
    pub fn is_usable(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        !self.ended && self.sender.is_ready()
    }

    /// Sends a request and waits for the head of its answer.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, LinkError> {
        let mut answer = pin!(self.sender.send_request(request));
        poll_fn(|cx| {
            if !self.ended {
                self.ended = self.connection.as_mut().poll(cx).is_ready();
            }
            // Only the connection moves the answer on, and that wakes us itself.
            match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                // The engine closed before it took the request.
                Poll::Pending if self.ended => Poll::Ready(Err(LinkError::Closed)),
                answer => answer.map_err(LinkError::Http),
            }
        })
        .await
    }
}

/// An answer's body together with the connection that it comes from. At its end the connection goes back into the pool.
pub struct LinkBody {
    body: Incoming,
    link: Option<Link>,
    home: (Pool, PoolKey),
}

impl LinkBody {
    pub fn new(body: Incoming, link: Link, home: (Pool, PoolKey)) -> LinkBody {
        LinkBody { body, link: Some(link), home }
    }

    fn end(&mut self) {
        if let Some(mut link) = self.link.take()
            && link.is_usable()
        {
            let (pool, key) = &self.home;
            pool.give_back(*key, link);
        }
    }
}

impl Body for LinkBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        let mut noop = Context::from_waker(Waker::noop());
        let mut frame = Pin::new(&mut this.body).poll_frame(&mut noop);
        if frame.is_pending()
            && let Some(link) = &mut this.link
        {
            // Asking told the connection that there is room; now it may read.
            link.drive(cx);
            frame = Pin::new(&mut this.body).poll_frame(&mut noop);
        }
        if matches!(frame, Poll::Ready(None)) {
            this.end();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}
