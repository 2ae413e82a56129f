//! The connection, with two doors that HTTP has not: a reset instead of a close, and bytes instead of an answer.

use bytes::Bytes;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// How the connection ends when hyper lets go of it.
#[derive(Clone, Default)]
pub(crate) struct Farewell {
    reset: Arc<AtomicBool>,
    garbage: Arc<Mutex<Option<Bytes>>>,
}

impl Farewell {
    /// Close with RST: what a crashed process or a proxy's refusal looks like.
    pub fn reset(&self) {
        self.reset.store(true, Ordering::Relaxed);
    }

    /// Write these bytes, then close.
    pub fn garbage(&self, bytes: Bytes) {
        *self.garbage.lock().unwrap_or_else(PoisonError::into_inner) = Some(bytes);
    }
}

pub(crate) struct Socket {
    stream: TcpStream,
    farewell: Farewell,
}

impl Socket {
    pub fn new(stream: TcpStream, farewell: Farewell) -> Socket {
        Socket { stream, farewell }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Both are best effort: the peer may be gone, and then there is nobody to treat badly.
        if let Some(bytes) = self.farewell.garbage.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _written = self.stream.try_write(&bytes);
        }
        if self.farewell.reset.load(Ordering::Relaxed) {
            let _set = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
