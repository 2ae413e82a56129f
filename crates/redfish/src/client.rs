//! One BMC as a conversation partner: requests with credentials, answers as JSON or as a reason why not. What is asked stands
//! in the files named after it.

use crate::address::{Address, Credentials, Login};
use crate::error::Error;
use crate::field::clean;
use crate::limits::{LINE_CHARS_MAX, Limits, REDIRECTS_MAX};
use crate::path::Path;
use crate::wire::{Answer, Wire};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::Mutex;

/// A client of one BMC. Cheap to clone; clones share connections, session and lanes.
#[derive(Clone)]
pub struct Client(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    wire: Wire,
    authority: String,
    credentials: Credentials,
    pub(crate) limits: Limits,
    session: Mutex<Option<Session>>,
}

/// A login that the BMC remembers.
#[derive(Clone)]
struct Session {
    token: HeaderValue,
    /// Where it is ended.
    path: Option<Path>,
}

const AUTH_TOKEN: HeaderName = HeaderName::from_static("x-auth-token");

/// What came back, with a body that is JSON or empty.
pub(crate) struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
    pub bytes: u64,
}

impl Client {
    /// Nothing is sent yet.
    pub fn new(address: &Address, limits: Limits) -> Result<Client, Error> {
        Ok(Client(Arc::new(Inner {
            wire: Wire::new(address, &limits)?,
            authority: address.authority(),
            credentials: address.credentials.clone(),
            limits,
            session: Mutex::new(None),
        })))
    }

    /// Ends the session, if there is one. Whoever forgets leaves one of a few sessions taken until the BMC times it out.
    pub async fn close(&self) {
        let session = self.0.session.lock().await.take();
        if let Some(Session { token, path: Some(path) }) = session {
            let mut headers = self.headers();
            headers.insert(AUTH_TOKEN, token);
            let _ = self.0.wire.exchange(&Method::DELETE, path.as_str(), &headers, Bytes::new()).await;
        }
    }

    /// A path that the resource at `from` names.
    pub(crate) fn path(&self, text: &str, from: &str) -> Result<Path, Error> {
        Path::new(text, from, &self.0.authority)
    }

    /// What the link `field` of a resource points to, if it is there: `{"Systems": {"@odata.id": "/redfish/v1/Systems"}}`.
    pub(crate) fn link(&self, resource: &Value, field: &str, from: &Path) -> Result<Option<Path>, Error> {
        match &resource[field] {
            Value::Null => Ok(None),
            link => self.reference(link, field, from).map(Some),
        }
    }

    /// `{"@odata.id": "/redfish/v1/Systems"}`.
    pub(crate) fn reference(&self, link: &Value, field: &str, from: &Path) -> Result<Path, Error> {
        match &link["@odata.id"] {
            Value::String(text) => self.path(text, from.as_str()),
            _ => Err(Error::Shape { path: from.to_string(), field: field.to_owned(), wanted: "a link" }),
        }
    }

    pub(crate) async fn get(&self, path: &Path) -> Result<Reply, Error> {
        let mut path = path.clone();
        for _ in 0..=REDIRECTS_MAX {
            let answer = self.authorized(&Method::GET, &path, &Bytes::new()).await?;
            if !answer.status.is_redirection() {
                return reply(&path, answer);
            }
            path = self.path(location(&answer).unwrap_or_default(), path.as_str())?;
        }
        Err(Error::Redirect { path: path.to_string(), to: "yet another place".to_owned() })
    }

    /// POST or PATCH. Redirects are not followed: the BMC may have done it already.
    pub(crate) async fn send(&self, method: &Method, path: &Path, body: &Value) -> Result<Reply, Error> {
        let body = Bytes::from(body.to_string());
        let answer = self.authorized(method, path, &body).await?;
        if answer.status.is_redirection() {
            let to = clean(location(&answer).unwrap_or_default(), LINE_CHARS_MAX);
            return Err(Error::Redirect { path: path.to_string(), to });
        }
        reply(path, answer)
    }

    /// POST to an action. An error that leaves open whether it was done is [`Error::Unsure`].
    pub(crate) async fn act(&self, target: &Path, body: &Value) -> Result<Reply, Error> {
        self.send(&Method::POST, target, body).await.map_err(Error::of_deed)
    }

    async fn authorized(&self, method: &Method, path: &Path, body: &Bytes) -> Result<Answer, Error> {
        let mut headers = self.headers();
        if !body.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if self.0.credentials.login == Login::Basic {
            headers.insert(AUTHORIZATION, self.0.credentials.basic()?);
            let answer = self.0.wire.exchange(method, path.as_str(), &headers, body.clone()).await?;
            return admitted(path, answer);
        }
        // A session ends by itself when it is idle; then there is one new login, and no more.
        let (token, fresh) = self.token(None).await?;
        headers.insert(AUTH_TOKEN, token.clone());
        let answer = self.0.wire.exchange(method, path.as_str(), &headers, body.clone()).await?;
        if answer.status != StatusCode::UNAUTHORIZED || fresh {
            return admitted(path, answer);
        }
        let (token, _) = self.token(Some(&token)).await?;
        headers.insert(AUTH_TOKEN, token);
        admitted(path, self.0.wire.exchange(method, path.as_str(), &headers, body.clone()).await?)
    }

    /// The session's token, and whether it was got just now. `stale` is one that the BMC refused.
    async fn token(&self, stale: Option<&HeaderValue>) -> Result<(HeaderValue, bool), Error> {
        let mut session = self.0.session.lock().await;
        if let Some(session) = session.as_ref()
            && Some(&session.token) != stale
        {
            return Ok((session.token.clone(), false));
        }
        *session = None;
        let path = Path::new("/redfish/v1/SessionService/Sessions", Path::ROOT, &self.0.authority)?;
        let Credentials { user, password, .. } = &self.0.credentials;
        let mut headers = self.headers();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let body = json!({ "UserName": user, "Password": password.as_str() }).to_string();
        let answer = self.0.wire.exchange(&Method::POST, path.as_str(), &headers, Bytes::from(body)).await?;
        let mut token = admitted(&path, answer).and_then(|answer| {
            let place = location(&answer).and_then(|place| self.path(place, path.as_str()).ok());
            let reply = reply(&path, answer)?;
            let missing = || Error::Shape {
                path: path.to_string(),
                field: "X-Auth-Token".to_owned(),
                wanted: "a token in a header",
            };
            let token = reply.headers.get(AUTH_TOKEN).cloned().ok_or_else(missing)?;
            Ok(Session { token, path: place })
        })?;
        token.token.set_sensitive(true);
        *session = Some(token.clone());
        Ok((token.token, true))
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("hoheit/", env!("CARGO_PKG_VERSION"))));
        headers.insert(HeaderName::from_static("odata-version"), HeaderValue::from_static("4.0"));
        headers
    }
}

fn location(answer: &Answer) -> Option<&str> {
    answer.headers.get(LOCATION)?.to_str().ok()
}

fn admitted(path: &Path, answer: Answer) -> Result<Answer, Error> {
    match answer.status {
        StatusCode::UNAUTHORIZED => Err(Error::Unauthorized { path: path.to_string() }),
        _ => Ok(answer),
    }
}

fn reply(path: &Path, answer: Answer) -> Result<Reply, Error> {
    let Answer { status, headers, body } = answer;
    let bytes = body.len() as u64;
    if !status.is_success() {
        let body = serde_json::from_slice(&body).unwrap_or_default();
        return Err(Error::Status { path: path.to_string(), status, message: message(&body) });
    }
    if body.iter().all(u8::is_ascii_whitespace) && status != StatusCode::OK {
        return Ok(Reply { status, headers, body: Value::Null, bytes });
    }
    // serde_json stops at 128 levels by itself.
    let body = serde_json::from_slice(&body)
        .map_err(|error| Error::NotJson { path: path.to_string(), why: error.to_string() })?;
    Ok(Reply { status, headers, body, bytes })
}

/// What an error's body says, in Redfish's form.
fn message(body: &Value) -> String {
    let error = &body["error"];
    let extended = &error["@Message.ExtendedInfo"][0]["Message"];
    let text = extended.as_str().or_else(|| error["message"].as_str());
    clean(text.unwrap_or_default(), LINE_CHARS_MAX)
}
