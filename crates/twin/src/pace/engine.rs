//! The engine: whatever is asked for with POST is answered with a stream of tokens at a steady beat; a GET is answered as
//! routers expect it from something healthy that serves one model.
//!
//! A beat is kept from the start of the answer, not from token to token, so a late token does not delay the rest. The
//! time in a token is read right before it is written. It ends the connection of whoever does not speak HTTP.

use super::head::{self, HEAD_BYTES_MAX};
use super::{DIGITS, MARK, now_ns};
use std::io::Write as _;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep_until};

/// What each answer is.
#[derive(Debug, Clone, Copy)]
pub struct Beat {
    pub tokens: u32,
    pub every: Duration,
}

/// Bodies that are read and thrown away: a prompt of 48 kB, and room.
const BODY_BYTES_MAX: usize = 4 << 20;

const MODELS: &str = r#"{"object":"list","data":[{"id":"bench","object":"model","owned_by":"bench"}]}"#;

/// Answers until the future is dropped.
pub async fn serve(listener: TcpListener, beat: Beat) -> std::io::Result<()> {
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        tokio::spawn(async move {
            // Whoever closes early has seen enough.
            let _ended = connection(socket, beat).await;
        });
    }
}

async fn connection(mut socket: TcpStream, beat: Beat) -> std::io::Result<()> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES_MAX);
    loop {
        let head = loop {
            if let Some(head) = head::read(&bytes) {
                break head;
            }
            if bytes.len() > HEAD_BYTES_MAX || socket.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
        };
        let whole = head.length + head.content_length.unwrap_or(0);
        if whole > BODY_BYTES_MAX {
            return Ok(());
        }
        while bytes.len() < whole {
            if socket.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
        }
        bytes.drain(..whole);
        match head.first.starts_with("POST ") {
            true => stream(&mut socket, beat).await?,
            false => plain(&mut socket, MODELS).await?,
        }
        if head.close {
            return Ok(());
        }
    }
}

async fn plain(socket: &mut TcpStream, body: &str) -> std::io::Result<()> {
    let length = body.len();
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}");
    socket.write_all(answer.as_bytes()).await
}

async fn stream(socket: &mut TcpStream, beat: Beat) -> std::io::Result<()> {
    let begin = Instant::now();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n\
                transfer-encoding: chunked\r\n\r\n";
    let mut bytes = Vec::with_capacity(1_024);
    bytes.extend_from_slice(head.as_bytes());
    for token in 1..=beat.tokens {
        sleep_until(begin + beat.every * token).await;
        token_event(&mut bytes);
        socket.write_all(&bytes).await?;
        bytes.clear();
    }
    let tokens = beat.tokens;
    let usage =
        format!(r#""usage":{{"prompt_tokens":121,"completion_tokens":{tokens},"total_tokens":{}}}"#, 121 + tokens);
    event(&mut bytes, r#""choices":[{"index":0,"delta":{},"finish_reason":"stop"}]"#);
    event(&mut bytes, &format!(r#""choices":[],{usage}"#));
    bytes.extend_from_slice(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n");
    socket.write_all(&bytes).await
}

/// One chunk of transfer encoding with one event: the token's text is the time.
fn token_event(into: &mut Vec<u8>) {
    let now = now_ns();
    let mark = std::str::from_utf8(MARK).unwrap_or_default();
    event(
        into,
        &format!(r#""choices":[{{"index":0,"delta":{{"content":{mark}{now:0DIGITS$} "}},"finish_reason":null}}]"#),
    );
}

fn event(into: &mut Vec<u8>, rest: &str) {
    let before =
        r#"data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1795000000,"model":"bench","#;
    // Writing to a Vec cannot fail.
    let _written = write!(into, "{:x}\r\n{before}{rest}}}\n\n\r\n", before.len() + rest.len() + 3);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_chunk_of_json() {
        let mut bytes = Vec::new();
        token_event(&mut bytes);
        let text = String::from_utf8(bytes).expect("text");
        let (size, rest) = text.split_once("\r\n").expect("a size");
        let size = usize::from_str_radix(size, 16).expect("hex");
        assert_eq!(rest.len(), size + 2);
        let json = rest[..size].strip_prefix("data: ").expect("an event").trim_end();
        let value: serde_json::Value = serde_json::from_str(json).expect("json");
        let content = value["choices"][0]["delta"]["content"].as_str().expect("content");
        assert_eq!(content.len(), 2 + DIGITS + 1);
    }
}
