//! The byte stream of a connection to an engine, from which an answer that waits is read before a failed write counts.
//!
//! An engine, or a proxy before it, may answer on the head of a request, for example with 413, and close the connection while
//! the body is still coming. Writing then fails, but the answer is there.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A byte stream that discards what is written after a write has failed, so that only reading shows the end.
#[derive(Debug)]
pub(super) struct EngineIo<S> {
    stream: S,
    is_write_closed: bool,
}

impl<S> EngineIo<S> {
    pub(super) const fn new(stream: S) -> Self {
        Self { stream, is_write_closed: false }
    }

    /// Replaces a failure to write by the number of bytes that are discarded.
    fn or_discarded<T>(&mut self, polled: Poll<io::Result<T>>, discarded: T) -> Poll<io::Result<T>> {
        if matches!(polled, Poll::Ready(Err(_))) {
            self.is_write_closed = true;
            return Poll::Ready(Ok(discarded));
        }
        polled
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for EngineIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if polled.is_pending() && self.is_write_closed {
            // Nothing waits to be read, and nothing more can come.
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for EngineIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_write_closed {
            return Poll::Ready(Ok(bytes.len()));
        }
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.or_discarded(polled, bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = || slices.iter().map(|slice| slice.len()).sum();
        if self.is_write_closed {
            return Poll::Ready(Ok(length()));
        }
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.or_discarded(polled, length())
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_write_closed {
            return Poll::Ready(Ok(()));
        }
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.or_discarded(polled, ())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_write_closed {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn an_answer_that_waits_is_read_after_a_write_failed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let engine = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_exact(&mut [0; 4]).await.unwrap();
            stream.write_all(b"HTTP/1.1 413").await.unwrap();
            // Closing with unread bytes resets the connection.
        };
        let client = async {
            let mut io = EngineIo::new(TcpStream::connect(address).await.unwrap());
            io.write_all(&[0; 100]).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            for _ in 0..10 {
                io.write_all(&[0; 100_000]).await.unwrap();
            }
            io.flush().await.unwrap();
            let mut answer = [0; 12];
            io.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"HTTP/1.1 413");
            assert_eq!(io.read(&mut answer).await.unwrap_or(0), 0, "then the connection has ended");
        };
        tokio::join!(engine, client);
    }
}
