//! A socket with the two manners that hyper lacks: it does not wait for ever for a client that has stopped reading, and
//! it outlives its connection for a moment, so that a client reads our last answer.
//!
//! While a write waits, hyper asks no body for more: no timeout of a relay runs, and a client that keeps its connection
//! and reads nothing would hold a replica, its money and its place until we shut down. So a write that cannot go on for
//! the stall timeout is an error; hyper then drops the body, the engine is cancelled and the receipt says `aborted`.
//!
//! When we answer before we have read everything (413, 431), closing at once makes the kernel send a reset, and a client
//! that is still sending sees a broken connection in place of the answer. So after hyper is done we end our side, and
//! read and forget what still comes, for a bounded time (RFC 9112, section 9.6).

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// A client that is still sending gets so long to notice; 32 MiB at 100 Mbit/s take 3 s.
const LINGER_MAX: Duration = Duration::from_secs(5);

/// A client that sends nothing for so long has noticed, or is gone.
const IDLE_MAX: Duration = Duration::from_secs(1);

/// The socket in hyper's hands.
pub struct Lent {
    socket: Arc<TcpStream>,
    stall_timeout: Duration,
    /// Set while a write waits.
    stall: Option<Pin<Box<Sleep>>>,
}

/// Our hold on it.
pub struct Kept(Arc<TcpStream>);

pub fn lend(socket: TcpStream, stall_timeout: Duration) -> (Lent, Kept) {
    let socket = Arc::new(socket);
    (Lent { socket: socket.clone(), stall_timeout, stall: None }, Kept(socket))
}

impl Lent {
    /// Writes as soon as the socket takes something, or fails when it has taken nothing for too long.
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        send: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        while self.socket.poll_write_ready(cx)?.is_ready() {
            match send(&self.socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => {
                    self.stall = None;
                    return Poll::Ready(done);
                }
            }
        }
        let timeout = self.stall_timeout;
        let stall = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        ready!(stall.as_mut().poll(cx));
        // What waits in the kernel would wait on for a client that is not reading: it goes with a reset.
        let _ = socket2::SockRef::from(&*self.socket).set_linger(Some(Duration::ZERO));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")))
    }
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
            ready!(self.socket.poll_read_ready(cx))?;
            match self.socket.try_read_buf(buf) {
                Ok(read) => {
                    // What was there is read: say so, or the next call asks the kernel only to hear that nothing is there.
                    if read > 0 && buf.remaining() > 0 {
                        let nothing = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
                        let _ = self.socket.try_io(Interest::READABLE, nothing);
                    }
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
        self.get_mut().poll_send(cx, |socket| socket.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_send(cx, |socket| socket.try_write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(socket2::SockRef::from(&*self.socket).shutdown(std::net::Shutdown::Write))
    }
}
