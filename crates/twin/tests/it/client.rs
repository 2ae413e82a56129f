//! A client that shows the bytes: one connection per request, nothing hidden.

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use twin::engine::ScriptedEngine;

/// Sends a request; the answer's head.
pub async fn post(engine: &ScriptedEngine, path: &str, body: &Value) -> Result<Response<Incoming>, String> {
    let socket = TcpStream::connect(engine.address()).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post(path)
        .header(header::HOST, "twin")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body.to_string())))
        .unwrap();
    sender.send_request(request).await.map_err(|error| error.to_string())
}

/// Everything that arrives, and whether the body ended in good order.
pub async fn drain(answer: Response<Incoming>) -> (Vec<u8>, bool) {
    let mut body = answer.into_body();
    let mut bytes = Vec::new();
    loop {
        match body.frame().await {
            None => return (bytes, true),
            Some(Err(_)) => return (bytes, false),
            Some(Ok(frame)) => bytes.extend_from_slice(frame.data_ref().unwrap()),
        }
    }
}

/// The data of each whole event.
pub fn events(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n");
    let whole = text.rfind("\n\n").map_or("", |end| &text[..end]);
    whole.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).map(str::to_owned).collect()
}
