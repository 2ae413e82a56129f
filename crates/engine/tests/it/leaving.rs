//! Connections that say nothing or too little.

use crate::client::{patient, serve};
use crate::tiny;
use engine::Options;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

async fn say(options: Options, what: &[u8]) -> String {
    let dir = tempfile::tempdir().unwrap();
    tiny::scripted(dir.path(), false);
    let served = serve(dir.path(), options).await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(what).await.unwrap();
    let mut answer = String::new();
    patient(stream.read_to_string(&mut answer)).await.unwrap();
    served.stop().await;
    answer
}

#[tokio::test]
async fn half_a_head_ends_after_its_time() {
    let options = Options { head_timeout: Duration::from_millis(20), ..Options::default() };
    let answer = say(options, b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n").await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn half_a_body_ends_after_its_time() {
    let options = Options { body_timeout: Duration::from_millis(20), ..Options::default() };
    let head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 100\r\n\r\n{";
    let answer = say(options, head).await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("body_timeout"), "{answer}");
}
