//! How a connection to an engine comes about: over TCP with TLS where the URL says so, or however the embedding program
//! says. The simulation brings a network of its own here; which of the two it is is asked once a connection.

use crate::limits::Limits;
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tower::Service;

/// A connection that somebody else made.
pub trait Line: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Line for T {}

/// A connection that somebody else is making.
pub type Dialling = Pin<Box<dyn Future<Output = io::Result<Box<dyn Line>>> + Send>>;

/// Makes connections to engines, each within the connect timeout: name, TCP and TLS together.
#[derive(Clone)]
pub struct Dial {
    how: How,
    timeout: Duration,
}

#[derive(Clone)]
enum How {
    Tcp(HttpsConnector<HttpConnector>),
    Given(Arc<dyn Fn(Uri) -> Dialling + Send + Sync>),
}

impl Dial {
    pub fn tcp(limits: &Limits) -> Self {
        let mut http = HttpConnector::new();
        http.set_nodelay(true);
        http.enforce_http(false);
        let https = hyper_rustls::HttpsConnectorBuilder::new()
            .with_webpki_roots()
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        Dial { how: How::Tcp(https), timeout: limits.connect_timeout }
    }

    /// However the embedding program says.
    pub fn given(limits: &Limits, dial: Arc<dyn Fn(Uri) -> Dialling + Send + Sync>) -> Self {
        Dial { how: How::Given(dial), timeout: limits.connect_timeout }
    }
}

impl Service<Uri> for Dial {
    type Response = Wire;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Wire, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        match &mut self.how {
            How::Tcp(connector) => connector.poll_ready(cx),
            How::Given(_) => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let timeout = self.timeout;
        match &mut self.how {
            How::Tcp(connector) => {
                let connecting = connector.call(uri);
                Box::pin(async move { Ok(Wire::Tcp(tokio::time::timeout(timeout, connecting).await??)) })
            }
            How::Given(dial) => {
                let dialling = dial(uri);
                Box::pin(async move { Ok(Wire::Given(TokioIo::new(tokio::time::timeout(timeout, dialling).await??))) })
            }
        }
    }
}

/// A connection to an engine.
#[expect(clippy::large_enum_variant, reason = "one a connection; the small one is only for the simulation")]
pub enum Wire {
    Tcp(MaybeHttpsStream<TokioIo<TcpStream>>),
    Given(TokioIo<Box<dyn Line>>),
}

impl Connection for Wire {
    fn connected(&self) -> Connected {
        match self {
            Wire::Tcp(stream) => stream.connected(),
            Wire::Given(_) => Connected::new(),
        }
    }
}

impl Read for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Wire::Given(line) => Pin::new(line).poll_read(cx, buf),
        }
    }
}

impl Write for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Wire::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Wire::Given(line) => Pin::new(line).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Wire::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Wire::Given(line) => Pin::new(line).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Wire::Tcp(stream) => stream.is_write_vectored(),
            Wire::Given(line) => line.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Wire::Given(line) => Pin::new(line).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Wire::Given(line) => Pin::new(line).poll_shutdown(cx),
        }
    }
}
