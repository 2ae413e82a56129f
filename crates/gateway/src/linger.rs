//! A socket that outlives its connection for a moment, so that a client reads our last answer.
//!
//! When we answer before we have read everything (413, 431), closing at once makes the kernel send a reset, and a client
//! that is still sending sees a broken connection in place of the answer. So after hyper is done we end our side, and
//! read and forget what still comes, for a bounded time (RFC 9112, section 9.6).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A client that is still sending gets so long to notice; 32 MiB at 100 Mbit/s take 3 s.
const LINGER_MAX: Duration = Duration::from_secs(5);

/// A client that sends nothing for so long has noticed, or is gone.
const IDLE_MAX: Duration = Duration::from_secs(1);

/// The socket in hyper's hands.
pub struct Lent(Arc<TcpStream>);

/// Our hold on it.
pub struct Kept(Arc<TcpStream>);

pub fn lend(socket: TcpStream) -> (Lent, Kept) {
    let socket = Arc::new(socket);
    (Lent(socket.clone()), Kept(socket))
}

impl Kept {
    /// Call when hyper has let go of the socket.
    pub async fn close(self) {
        let socket = &*self.0;
        if socket2::SockRef::from(socket).shutdown(std::net::Shutdown::Write).is_err() {
            return;
        }
        let mut scrap = [0; 8 << 10];
        let drain = async {
            loop {
                match tokio::time::timeout(IDLE_MAX, socket.readable()).await {
                    Ok(Ok(())) => {}
                    _ => return,
                }
                match socket.try_read(&mut scrap) {
                    Ok(0) => return,
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => return,
                }
            }
        };
        let _ = tokio::time::timeout(LINGER_MAX, drain).await;
    }
}

impl AsyncRead for Lent {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            match self.0.try_read(buf.initialize_unfilled()) {
                Ok(count) => {
                    buf.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Lent {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match self.0.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match self.0.try_write_vectored(slices) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(socket2::SockRef::from(&*self.0).shutdown(std::net::Shutdown::Write))
    }
}
