//! Tells a client that has ended its half of the connection and waits for its response from one that has left.
//!
//! Both look alike: TCP says in both cases that nothing more will come. nginx and Envoy take both for gone, hyper too. But
//! `nc -N`, BusyBox's wget and some health checkers end their half with the request. An interim response is ignored by a
//! client that waits (RFC 9110, section 15.2), and resets the connection of one that has left, which every later write shows.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::AsyncWrite;
use tokio::time::{Instant, Sleep};

const INTERIM: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// Pauses before the interim responses; the last one repeats. Most responses have begun by the first.
const PAUSES: [Duration; 3] = [CHECK, Duration::from_secs(1), Duration::from_secs(10)];
/// Interval at which it is checked whether the connection was reset, and whether the response has ended.
const CHECK: Duration = Duration::from_millis(100);

/// A client whose half of the connection has ended.
#[derive(Debug)]
pub(crate) struct HalfClosed {
    /// Interim responses so far.
    sent: usize,
    next_interim: Instant,
    timer: Pin<Box<Sleep>>,
}

impl HalfClosed {
    pub(crate) fn new() -> Self {
        let first = Instant::now() + PAUSES[0];
        Self { sent: 0, next_interim: first, timer: Box::pin(tokio::time::sleep_until(first)) }
    }

    /// Ready when the client has left. `is_answered` says that the response has begun, which resets the connection as well.
    pub(crate) fn poll_gone<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        is_answered: bool,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            // Writes nothing, and fails if the connection was reset.
            if matches!(Pin::new(&mut *stream).poll_write(cx, &[]), Poll::Ready(Err(_))) {
                return Poll::Ready(());
            }
            let now = Instant::now();
            if !is_answered && now >= self.next_interim {
                let written = Pin::new(&mut *stream).poll_write(cx, INTERIM);
                if !matches!(written, Poll::Ready(Ok(length)) if length == INTERIM.len()) {
                    return Poll::Ready(());
                }
                self.sent += 1;
                self.next_interim = now + PAUSES[self.sent.min(PAUSES.len() - 1)];
            }
            self.timer.as_mut().reset(now + CHECK);
        }
    }
}
