//! A served engine and a client for it: one connection per request, so that dropping the answer is leaving.

use bytes::Bytes;
use engine::{Engine, Options};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Nothing here takes a second; this ends a test that hangs, before hyper's own 30 s for a head would.
const PATIENCE: Duration = Duration::from_secs(25);

pub struct Served {
    pub address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<std::io::Result<()>>,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A request under way. Dropping it closes the connection.
pub struct Open {
    pub status: StatusCode,
    pub headers: HeaderMap,
    body: Incoming,
    rest: String,
    connection: JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

pub async fn patient<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("in time")
}

/// Serves the model under the name `tiny`.
pub async fn serve(path: &Path, options: Options) -> Served {
    let options = Options { name: Some("tiny".into()), threads: Some(1), ..options };
    let engine = Engine::load(path, options).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let serving = tokio::spawn(engine.serve(listener, async move { drop(stopped.await) }));
    Served { address, stop, serving }
}

impl Served {
    pub async fn stop(self) {
        let _ = self.stop.send(());
        patient(self.serving).await.unwrap().unwrap();
    }

    pub async fn open(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Open {
        open(self.address, method, path, body.into()).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.open(Method::GET, path, "").await.whole().await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.open(Method::POST, path, body.to_string()).await.whole().await
    }

    pub async fn chat(&self, body: Value) -> Answer {
        self.post("/v1/chat/completions", &body).await
    }

    pub async fn stream(&self, body: &Value) -> Open {
        let open = self.open(Method::POST, "/v1/chat/completions", body.to_string()).await;
        assert_eq!(open.status, StatusCode::OK);
        open
    }

    pub async fn count(&self, name: &str) -> u64 {
        self.get("/v1/engine/status").await.json()[name].as_u64().unwrap()
    }

    /// Asks again and again until a number is there.
    pub async fn until(&self, name: &str, value: u64) {
        patient(async { while self.count(name).await != value {} }).await;
    }
}

pub async fn open(address: SocketAddr, method: Method, path: &str, body: Bytes) -> Open {
    patient(async {
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(async move { drop(connection.await) });
        let request =
            Request::builder().method(method).uri(path).header("host", "engine").body(Full::new(body)).unwrap();
        let (head, body) = sender.send_request(request).await.unwrap().into_parts();
        Open { status: head.status, headers: head.headers, body, rest: String::new(), connection }
    })
    .await
}

impl Open {
    pub async fn whole(mut self) -> Answer {
        let body = patient((&mut self.body).collect()).await.unwrap().to_bytes();
        Answer { status: self.status, headers: self.headers.clone(), body }
    }

    /// The data of the next event, `None` at the end.
    pub async fn event(&mut self) -> Option<String> {
        loop {
            if let Some((event, rest)) = self.rest.split_once("\n\n") {
                let event = event.strip_prefix("data: ").expect("an event").to_owned();
                self.rest = rest.to_owned();
                return Some(event);
            }
            let frame = patient(self.body.frame()).await?.unwrap();
            self.rest.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
        }
    }

    /// Reads until the server cuts the answer off.
    pub async fn cut(mut self) {
        while let Some(Ok(_)) = patient(self.body.frame()).await {}
    }

    /// All chunks, with the `[DONE]` that must follow them.
    pub async fn chunks(mut self) -> Vec<Value> {
        let mut all = Vec::new();
        while let Some(event) = self.event().await {
            if event == "[DONE]" {
                assert_eq!(self.event().await, None);
                return all;
            }
            all.push(serde_json::from_str(&event).unwrap());
        }
        panic!("no [DONE] after {all:?}");
    }
}

/// The text of a chat answer.
pub fn said(answer: &Answer) -> String {
    assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.body);
    answer.json()["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
}
