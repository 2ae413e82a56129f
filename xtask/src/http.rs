//! One GET or POST over a plain loopback socket: all that xtask needs of HTTP, so it depends on no client.

use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// Far longer than a local server needs to answer, short enough to notice that it hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// Status and body. The server is asked to close, so the body ends with the connection.
pub fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    exchange(address, &format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"))
}

/// The same for JSON that is sent under a bearer token.
pub fn post(address: SocketAddr, path: &str, token: &str, json: &str) -> Result<(u16, String)> {
    send(address, path, &format!("authorization: Bearer {token}\r\ncontent-type: application/json"), json)
}

/// A form, as OAuth's token endpoint takes it.
pub fn form(address: SocketAddr, path: &str, form: &str) -> Result<(u16, String)> {
    send(address, path, "content-type: application/x-www-form-urlencoded", form)
}

/// A GET under a bearer token.
pub fn get_as(address: SocketAddr, path: &str, token: &str) -> Result<(u16, String)> {
    let head = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    exchange(address, &format!("{head}authorization: Bearer {token}\r\n\r\n"))
}

fn send(address: SocketAddr, path: &str, headers: &str, body: &str) -> Result<(u16, String)> {
    let head = format!("POST {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}\r\n");
    exchange(address, &format!("{head}content-length: {}\r\n\r\n{body}", body.len()))
}

fn exchange(address: SocketAddr, request: &str) -> Result<(u16, String)> {
    let mut socket = TcpStream::connect_timeout(&address, PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes)?;
    let text = String::from_utf8(bytes).context("the answer is not text")?;
    let (head, body) = text.split_once("\r\n\r\n").context("the answer has no head")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("the answer has no status")?;
    if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        return Ok((status, dechunk(body)?));
    }
    Ok((status, body.to_owned()))
}

fn dechunk(mut rest: &str) -> Result<String> {
    let mut body = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n").context("a chunk has no size")?;
        let size = usize::from_str_radix(size.trim(), 16).context("a chunk's size is no number")?;
        if size == 0 {
            return Ok(body);
        }
        match (after.get(..size), after.get(size + 2..)) {
            (Some(chunk), Some(next)) => (body.push_str(chunk), rest = next).0,
            _ => bail!("a chunk is cut short"),
        }
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
