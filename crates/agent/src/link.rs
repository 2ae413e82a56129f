//! The agent's connection to its site: one, kept, opened again when it is gone.
//!
//! Every message may be sent twice: enrolment is idempotent under its key, a report under its number, a validation under its run.
//! That is why a request whose connection broke is sent once more on a fresh one without asking what became of the first.

use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::wire::{ANSWER_BYTES_MAX, Refused};

/// Connect, TLS, ask, be answered: a site that takes longer is not well, and the next report says the same again.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("{0} is not a site's address; write https://HOST:PORT")]
    Address(String),
    #[error("the site at {address} is not reached: {text}")]
    Connect { address: String, text: String },
    #[error("TLS with {address}: {text}")]
    Tls { address: String, text: String },
    #[error("the site did not answer within {} s", REQUEST_TIMEOUT.as_secs())]
    Timeout,
    #[error("the connection broke: {0}")]
    Broken(String),
    #[error("the site refused with {status}: {refused}")]
    Refused { status: StatusCode, refused: Refused },
    #[error("the site's answer is not one: {0}")]
    Answer(String),
}

impl LinkError {
    /// Whether the same may succeed later without anybody doing anything.
    pub fn again(&self) -> bool {
        match self {
            LinkError::Address(_) => false,
            LinkError::Refused { refused, .. } => refused.again,
            _ => true,
        }
    }

    /// The code with which the site refused.
    pub fn code(&self) -> Option<&str> {
        match self {
            LinkError::Refused { refused, .. } => Some(&refused.code),
            _ => None,
        }
    }
}

/// Where a site listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
    name: ServerName<'static>,
}

/// The port that a site's agents use unless the URL says another.
pub const PORT: u16 = 8_443;

impl Address {
    /// Reads `https://HOST[:PORT]`.
    pub fn parse(url: &str) -> Result<Address, LinkError> {
        let wrong = || LinkError::Address(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        if uri.scheme_str() != Some("https") || !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong());
        }
        let host = uri.host().ok_or_else(wrong)?.trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host.clone()).map_err(|_| wrong())?;
        Ok(Address { host, port: uri.port_u16().unwrap_or(PORT), name })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// One kept connection.
pub struct Link {
    address: Address,
    config: Arc<ClientConfig>,
    sender: Option<SendRequest<Full<Bytes>>>,
    /// How often it was opened.
    pub connects: u64,
}

impl Link {
    pub fn new(address: Address, config: Arc<ClientConfig>) -> Link {
        Link { address, config, sender: None, connects: 0 }
    }

    /// Another identity from now on.
    pub fn replace(&mut self, config: Arc<ClientConfig>) {
        self.config = config;
        self.sender = None;
    }

    /// Asks, and reads the answer.
    pub async fn post<Q: Serialize, A: DeserializeOwned>(&mut self, path: &str, message: &Q) -> Result<A, LinkError> {
        let body = serde_json::to_vec(message).map_err(|error| LinkError::Answer(error.to_string()))?;
        let (status, answer) = self.send(path, Bytes::from(body)).await?;
        if status == StatusCode::OK {
            return serde_json::from_slice(&answer).map_err(|error| LinkError::Answer(error.to_string()));
        }
        let refused = serde_json::from_slice(&answer).unwrap_or_else(|_| Refused {
            code: "not_a_site".into(),
            text: "what answers there is no site of Hoheit".into(),
            again: true,
        });
        Err(LinkError::Refused { status, refused })
    }

    /// As bytes. A kept connection may have died while nobody looked: then once more on a fresh one.
    pub async fn send(&mut self, path: &str, body: Bytes) -> Result<(StatusCode, Bytes), LinkError> {
        let kept = self.sender.is_some();
        let result = match tokio::time::timeout(REQUEST_TIMEOUT, self.once(path, body.clone())).await {
            Ok(Err(LinkError::Broken(_))) if kept => {
                self.sender = None;
                tokio::time::timeout(REQUEST_TIMEOUT, self.once(path, body)).await
            }
            other => other,
        };
        let result = result.unwrap_or(Err(LinkError::Timeout));
        if result.is_err() {
            self.sender = None;
        }
        result
    }

    async fn once(&mut self, path: &str, body: Bytes) -> Result<(StatusCode, Bytes), LinkError> {
        let broken = |error: hyper::Error| LinkError::Broken(error.to_string());
        let mut sender = match self.sender.take() {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        sender.ready().await.map_err(broken)?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(header::HOST, self.address.host.as_str())
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| LinkError::Broken(error.to_string()))?;
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let answer = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
            .collect()
            .await
            .map_err(|error| LinkError::Broken(error.to_string()))?
            .to_bytes();
        self.sender = Some(sender);
        Ok((status, answer))
    }

    async fn connect(&mut self) -> Result<SendRequest<Full<Bytes>>, LinkError> {
        self.connects += 1;
        let address = self.address.to_string();
        let socket = TcpStream::connect((self.address.host.as_str(), self.address.port))
            .await
            .map_err(|error| LinkError::Connect { address: address.clone(), text: error.to_string() })?;
        let _ = socket.set_nodelay(true);
        let socket = TlsConnector::from(self.config.clone())
            .connect(self.address.name.clone(), socket)
            .await
            .map_err(|error| LinkError::Tls { address, text: error.to_string() })?;
        let (sender, connection) =
            handshake(TokioIo::new(socket)).await.map_err(|error| LinkError::Broken(error.to_string()))?;
        // Ends when the sender is dropped or the site closes.
        tokio::spawn(connection);
        Ok(sender)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(Address::parse("https://site.example").map(|it| it.to_string()).unwrap(), "site.example:8443");
        assert_eq!(Address::parse("https://127.0.0.1:9/").map(|it| it.to_string()).unwrap(), "127.0.0.1:9");
        for bad in ["", "site", "http://site", "https://", "https://site/path", "https://site?x"] {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
    }
}
