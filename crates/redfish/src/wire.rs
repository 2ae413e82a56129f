//! Connections to one BMC and single exchanges over them, each within its limits. Connections are kept and used again: a
//! handshake costs a BMC more than an answer. Knows nothing of Redfish.

use crate::address::Address;
use crate::error::Error;
use crate::limits::{HEAD_BYTES_MAX, Limits};
use crate::trust;
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// The way to one BMC.
pub(crate) struct Wire {
    host: String,
    port: u16,
    authority: HeaderValue,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    limits: Limits,
    /// As many permits as requests may be on their way at a time.
    lanes: Semaphore,
    idle: Mutex<Vec<Connection>>,
}

/// What came back.
pub(crate) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Dropped, it is closed, whatever the other side does.
struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Wire {
    pub fn new(address: &Address, limits: &Limits) -> Result<Wire, Error> {
        let wrong = |error: &dyn Display| Error::Input(format!("{:?} is no host: {error}", address.host));
        let tls = match address.trust.config(&address.host)? {
            Some(config) => {
                let name = ServerName::try_from(address.host.clone()).map_err(|error| wrong(&error))?;
                Some((TlsConnector::from(Arc::new(config)), name))
            }
            None => None,
        };
        Ok(Wire {
            host: address.host.clone(),
            port: address.port,
            authority: HeaderValue::try_from(address.authority()).map_err(|error| wrong(&error))?,
            tls,
            limits: limits.clone(),
            lanes: Semaphore::new(limits.lanes.max(1)),
            idle: Mutex::default(),
        })
    }

    /// One request and its whole answer. The time limit runs from when a lane is free.
    pub async fn exchange(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Answer, Error> {
        let Ok(_lane) = self.lanes.acquire().await else {
            return Err(Error::Broken("the client was closed".to_owned()));
        };
        let limit = self.limits.request_timeout;
        let slow = |_| Error::Slow { what: path.to_owned(), limit };
        timeout(limit, self.try_exchange(method, path, headers, body)).await.map_err(slow)?
    }

    async fn try_exchange(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Answer, Error> {
        let request = || {
            let mut request = Request::new(Full::new(body.clone()));
            *request.method_mut() = method.clone();
            *request.uri_mut() =
                path.parse().map_err(|_| Error::Input(format!("{path:?} does not fit into a request")))?;
            request.headers_mut().clone_from(headers);
            request.headers_mut().insert(HOST, self.authority.clone());
            Ok(request)
        };
        // A kept connection may have been closed by the other side meanwhile. Then the request was not read, or it is one
        // that may be read twice; a new connection gets it once more.
        if let Some(mut connection) = self.kept() {
            match connection.sender.try_send_request(request()?).await {
                Ok(answer) => return self.receive(connection, path, answer).await,
                Err(error) if error.message().is_none() && *method != Method::GET => {
                    return Err(lost(&error.into_error()));
                }
                Err(_) => {}
            }
        }
        let mut connection = self.dial().await?;
        let answer = connection.sender.send_request(request()?).await.map_err(|error| lost(&error))?;
        self.receive(connection, path, answer).await
    }

    async fn receive(
        &self,
        connection: Connection,
        path: &str,
        answer: http::Response<Incoming>,
    ) -> Result<Answer, Error> {
        let limit = self.limits.body_bytes_max;
        let too_large = || Error::TooLarge { what: format!("the answer of {path}"), limit: limit as u64 };
        let (head, mut body) = answer.into_parts();
        let length = head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > limit as u64) {
            return Err(too_large());
        }
        let mut whole = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|error| lost(&error))?.into_data() else { continue };
            if whole.len() + data.len() > limit {
                return Err(too_large());
            }
            whole.extend_from_slice(&data);
        }
        self.keep(connection);
        Ok(Answer { status: head.status, headers: head.headers, body: whole.freeze() })
    }

    async fn dial(&self) -> Result<Connection, Error> {
        let limit: Duration = self.limits.connect_timeout;
        let unreachable = |error: std::io::Error| Error::Unreachable(error.to_string());
        let connecting = async {
            let socket = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(unreachable)?;
            let _ = socket.set_nodelay(true);
            match &self.tls {
                None => handshake(socket).await,
                Some((connector, name)) => {
                    let secured = connector.connect(name.clone(), socket).await;
                    handshake(secured.map_err(|error| trust::refusal(&error))?).await
                }
            }
        };
        let late = |_| Error::Unreachable(format!("no connection within {limit:?}"));
        timeout(limit, connecting).await.map_err(late)?
    }

    fn kept(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|connection| !connection.sender.is_closed());
        idle.pop()
    }

    fn keep(&self, connection: Connection) {
        if !connection.sender.is_closed() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }
}

async fn handshake<S>(stream: S) -> Result<Connection, Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = http1::Builder::new();
    builder.max_header_size(HEAD_BYTES_MAX).max_buf_size(2 * HEAD_BYTES_MAX);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(|error| lost(&error))?;
    // Its error also reaches whoever waits for the answer.
    let driver = tokio::spawn(async move { drop(connection.await) }).abort_handle();
    Ok(Connection { sender, driver })
}

fn lost(error: &hyper::Error) -> Error {
    match error.is_parse() || error.is_parse_too_large() {
        true => Error::NotHttp(error.to_string()),
        false => Error::Broken(error.to_string()),
    }
}
