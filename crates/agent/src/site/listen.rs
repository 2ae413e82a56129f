//! Sockets: accept, TLS, HTTP/1.1, bodies with their limit. Who the sender is, is read from the certificate once a connection. Until
//! then, and without one, it is a stranger (`strangers`), and has neither a machine's place nor its time.

use super::answer::Peer;
use super::session::Limits;
use super::strangers::{Entry, Strangers};
use super::{Desk, Site, code};
use crate::ca::{self, CaError};
use crate::tls;
use crate::wire::{ENROL, ENROL_BYTES_MAX, RENEW, REPORT, REPORT_BYTES_MAX, Refused, VALIDATION, VALIDATION_BYTES_MAX};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// After an accept fails for want of file descriptors: long enough for some to come free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Heads of our own agents are about 200 bytes.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// Serves agents until `stop` ends; then requests that run get their answer and every connection is closed.
pub async fn serve<D: Desk>(
    site: Arc<Site<D>>,
    listener: TcpListener,
    stop: impl Future<Output = ()>,
) -> Result<(), CaError> {
    let config = tls::site(&site.authority, &site.names, site.clock.clone())?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (told, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let hall = Arc::new(Hall::new(site.limits.connections_max));
    let mut number = 0;
    tokio::pin!(stop);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, address)) => {
                    number += 1;
                    if let Some(stranger) = hall.enter(number, address.ip(), &site.limits) {
                        let connection = connection(site.clone(), acceptor.clone(), socket, stopped.clone(), stranger);
                        let handle = connections.spawn(connection);
                        hall.keep(number, address.ip(), handle);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "an agent's connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
            () = &mut stop => break,
        }
    }
    drop(listener);
    told.send_replace(true);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(site.limits.handshake, drained).await.is_err() {
        connections.shutdown().await;
    }
    Ok(())
}

/// Everybody who is connected.
struct Hall {
    strangers: Mutex<(Strangers, HashMap<u64, AbortHandle>)>,
    machines: Arc<Semaphore>,
}

impl Hall {
    fn new(machines_max: usize) -> Hall {
        Hall { strangers: Mutex::default(), machines: Arc::new(Semaphore::new(machines_max)) }
    }

    fn strangers(&self) -> MutexGuard<'_, (Strangers, HashMap<u64, AbortHandle>)> {
        // A panic elsewhere leaves lists that are still lists.
        self.strangers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// None: it is closed, unheard.
    fn enter(self: &Arc<Self>, id: u64, address: IpAddr, limits: &Limits) -> Option<Stranger> {
        let mut strangers = self.strangers();
        let gone = match strangers.0.enter(id, address, limits.strangers_max, limits.strangers_address_max) {
            Entry::Refused => return None,
            Entry::Replaces(other) => strangers.1.remove(&other),
            Entry::Enters => None,
        };
        drop(strangers);
        if let Some(handle) = gone {
            handle.abort();
        }
        Some(Stranger { hall: self.clone(), id, address })
    }

    /// How a stranger is closed, unless it is gone already.
    fn keep(&self, id: u64, address: IpAddr, handle: AbortHandle) {
        let mut strangers = self.strangers();
        if strangers.0.has(id, address) {
            strangers.1.insert(id, handle);
        }
    }
}

/// A stranger's place, as long as it is one.
struct Stranger {
    hall: Arc<Hall>,
    id: u64,
    address: IpAddr,
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let mut strangers = self.hall.strangers();
        strangers.0.leave(self.id, self.address);
        strangers.1.remove(&self.id);
    }
}

async fn connection<D: Desk>(
    site: Arc<Site<D>>,
    acceptor: TlsAcceptor,
    socket: TcpStream,
    mut stopped: watch::Receiver<bool>,
    stranger: Stranger,
) {
    let _ = socket.set_nodelay(true);
    // Strangers knock; that is no event worth a line.
    let Ok(Ok(socket)) = tokio::time::timeout(site.limits.handshake, acceptor.accept(socket)).await else { return };
    let peer = match socket.get_ref().1.peer_certificates().and_then(<[_]>::first) {
        None => Peer::Nobody,
        Some(certificate) => ca::holder(certificate).map_or(Peer::Nobody, Peer::Machine),
    };
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(site.limits.idle).max_buf_size(HEAD_BYTES_MAX);
    // A machine gives its stranger's place back and takes one of its own; who has none keeps it, for one message.
    let (_stranger, _machine) = match peer {
        Peer::Nobody => {
            builder.header_read_timeout(site.limits.stranger).keep_alive(false);
            (Some(stranger), None)
        }
        Peer::Machine(_) => {
            let Ok(place) = stranger.hall.machines.clone().try_acquire_owned() else { return };
            drop(stranger);
            (None, Some(place))
        }
    };
    let service = service_fn(|request: Request<Incoming>| {
        let (site, peer) = (&site, &peer);
        async move { Ok::<_, Infallible>(take(site, peer, request).await) }
    });
    let connection = builder.serve_connection(TokioIo::new(socket), service);
    tokio::pin!(connection);
    let mut told = false;
    loop {
        tokio::select! {
            _ = connection.as_mut() => break,
            _ = stopped.wait_for(|stop| *stop), if !told => {
                told = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// Reads one message and answers it.
async fn take<D: Desk>(site: &Site<D>, peer: &Peer, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let limit = match (request.method(), path.as_str()) {
        (&Method::POST, ENROL | RENEW) => ENROL_BYTES_MAX,
        (&Method::POST, REPORT) => REPORT_BYTES_MAX,
        (&Method::POST, VALIDATION) => VALIDATION_BYTES_MAX,
        _ => {
            return respond(StatusCode::NOT_FOUND, &refused(code::MALFORMED, "agents speak only to /agent/v1", false));
        }
    };
    if let Err((status, refused)) = site.admit(peer, &path).await {
        return respond(status, &refused);
    }
    let body = Limited::new(request.into_body(), limit).collect();
    let body = match tokio::time::timeout(site.limits.handshake, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let text = format!("a message to {path} has at most {limit} bytes");
            site.note(peer.machine(), code::TOO_LARGE, &text).await;
            return respond(StatusCode::PAYLOAD_TOO_LARGE, &refused(code::TOO_LARGE, &text, false));
        }
        Ok(Err(_)) | Err(_) => {
            return respond(StatusCode::BAD_REQUEST, &refused(code::MALFORMED, "the message broke off", true));
        }
    };
    match site.answer(peer, &path, &body).await {
        Ok(answer) => json(StatusCode::OK, answer),
        Err((status, refused)) => respond(status, &refused),
    }
}

pub(super) fn refused(code: &str, text: &str, again: bool) -> Refused {
    Refused { code: code.to_owned(), text: text.to_owned(), again }
}

fn respond(status: StatusCode, refused: &Refused) -> Response<Full<Bytes>> {
    json(status, serde_json::to_vec(refused).unwrap_or_default())
}

fn json(status: StatusCode, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}
