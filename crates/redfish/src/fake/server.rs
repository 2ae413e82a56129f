//! BMCs on loopback, each at a port of its own. Everything ends when the server is dropped.

use super::bmc::{Bmc, Question, Reply};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// How they answer.
#[derive(Clone, Default)]
pub struct Options {
    /// How long the answer to the `n`th request (from 0) of the BMC with this number takes; nothing if not given.
    pub latency: Option<Arc<dyn Fn(usize, u64) -> Duration + Send + Sync>>,
    /// With TLS if given.
    pub tls: Option<Arc<rustls::ServerConfig>>,
}

/// Running BMCs.
pub struct Server {
    addresses: Vec<SocketAddr>,
    secure: bool,
    accepted: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

/// More than any request that a BMC gets.
const BODY_BYTES_MAX: usize = 1 << 20;

impl Server {
    /// Listens for each of them on 127.0.0.1.
    pub async fn start(bmcs: Vec<Arc<Bmc>>, options: Options) -> io::Result<Server> {
        let accepted = Arc::new(AtomicU64::new(0));
        let secure = options.tls.is_some();
        let mut server = Server { addresses: Vec::new(), secure, accepted: accepted.clone(), _tasks: JoinSet::new() };
        for (number, bmc) in bmcs.into_iter().enumerate() {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
            server.addresses.push(listener.local_addr()?);
            server._tasks.spawn(listen(listener, number, bmc, options.clone(), accepted.clone()));
        }
        Ok(server)
    }

    /// Connections so far.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// As [`crate::Address::new`] takes it.
    pub fn url(&self, number: usize) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{}", self.addresses[number])
    }
}

async fn listen(listener: TcpListener, number: usize, bmc: Arc<Bmc>, options: Options, count: Arc<AtomicU64>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => {
                    count.fetch_add(1, Ordering::Relaxed);
                    connections.spawn(secure(socket, number, bmc.clone(), options.clone()));
                }
                // Out of files: the others go on, and this one when there are some again.
                Err(_) => tokio::task::yield_now().await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn secure(socket: TcpStream, number: usize, bmc: Arc<Bmc>, options: Options) {
    let _ = socket.set_nodelay(true);
    match options.tls.clone() {
        None => serve(socket, number, bmc, options).await,
        Some(config) => {
            if let Ok(stream) = TlsAcceptor::from(config).accept(socket).await {
                serve(stream, number, bmc, options).await;
            }
        }
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, number: usize, bmc: Arc<Bmc>, options: Options) {
    let service = service_fn(|request| respond(request, number, &bmc, &options));
    // What ends it is a client that leaves, or a misdeed.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn respond(
    request: Request<Incoming>,
    number: usize,
    bmc: &Bmc,
    options: &Options,
) -> io::Result<Response<Full<Bytes>>> {
    if let Some(latency) = &options.latency {
        tokio::time::sleep(latency(number, bmc.requests())).await;
    }
    let (head, body) = request.into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(io::Error::other)?.to_bytes();
    let text =
        |headers: &HeaderMap, name: &str| headers.get(name).and_then(|value| value.to_str().ok().map(str::to_owned));
    let (authorization, token) = (text(&head.headers, "authorization"), text(&head.headers, "x-auth-token"));
    let reply = bmc.answer(&Question {
        method: head.method.as_str(),
        path: head.uri.path_and_query().map_or("/", |path| path.as_str()),
        authorization: authorization.as_deref(),
        token: token.as_deref(),
        body: &body,
    });
    match reply {
        Reply::Never => std::future::pending().await,
        Reply::Close => Err(io::ErrorKind::ConnectionReset.into()),
        Reply::Answer { status, headers, body } => {
            let mut response = Response::new(Full::new(Bytes::from(body)));
            *response.status_mut() = StatusCode::from_u16(status).map_err(io::Error::other)?;
            for (name, value) in headers {
                response.headers_mut().insert(name, value.parse().map_err(io::Error::other)?);
            }
            Ok(response)
        }
    }
}
