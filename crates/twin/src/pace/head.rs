//! The little HTTP/1.1 that the paced engine and its client need: where a message's head ends and how long its body is.

/// Bytes of a head; routers add some headers, none adds 16 kB.
pub const HEAD_BYTES_MAX: usize = 16_384;

/// A head that has arrived whole.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    /// Bytes up to and including the empty line.
    pub length: usize,
    /// The first line.
    pub first: String,
    pub content_length: Option<usize>,
    /// The other side closes after this message.
    pub close: bool,
}

/// The head at the beginning of these bytes, once it is whole.
pub fn read(bytes: &[u8]) -> Option<Head> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let text = String::from_utf8_lossy(&bytes[..end]);
    let mut lines = text.split("\r\n");
    let first = lines.next().unwrap_or_default().to_owned();
    let mut head = Head { length: end + 4, close: first.contains("HTTP/1.0"), first, content_length: None };
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            head.content_length = value.trim().parse().ok();
        } else if name.eq_ignore_ascii_case("connection") {
            head.close |= value.trim().eq_ignore_ascii_case("close");
        }
    }
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads() {
        assert_eq!(read(b"GET / HTTP/1.1\r\nhost: a\r\n"), None);
        let head = read(b"POST /v1 HTTP/1.1\r\nContent-Length: 12\r\nConnection: Close\r\n\r\nabc").expect("whole");
        assert_eq!(head.first, "POST /v1 HTTP/1.1");
        assert_eq!((head.length, head.content_length, head.close), (60, Some(12), true));
        let head = read(b"HTTP/1.0 200 OK\r\n\r\n").expect("whole");
        assert_eq!((head.content_length, head.close), (None, true));
    }
}
