//! A client's body on its way through: bounded in length and in patience.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

/// Why a client's body did not arrive.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(crate) enum ClientBodyError {
    /// It is longer than the limit.
    #[error("the request body is longer than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// No byte came for too long.
    #[error("the request body stopped coming")]
    Timeout,
    /// The connection broke, or the framing did.
    #[error("the request body broke off")]
    Broken,
}

/// A body that may not exceed `limit` bytes, nor pause for longer than `patience`.
///
/// Patience counts from when the body was asked for and had nothing to give, so a slow engine costs the client none
/// of it. The timer is only moved when it fires: a body that keeps coming costs no timer operation per piece.
#[derive(Debug)]
pub(crate) struct ClientBody<B> {
    inner: B,
    limit: u64,
    passed: u64,
    patience: Duration,
    waiting_since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<B> ClientBody<B> {
    pub(crate) fn new(inner: B, limit: u64, patience: Duration) -> Self {
        Self { inner, limit, passed: 0, patience, waiting_since: None, timer: None }
    }

    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = *self.waiting_since.get_or_insert_with(Instant::now) + self.patience;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for ClientBody<B> {
    type Data = Bytes;
    type Error = ClientBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ClientBodyError>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        if polled.is_ready() {
            this.waiting_since = None;
        }
        match polled {
            Poll::Pending => match this.poll_patience(cx) {
                Poll::Ready(()) => Poll::Ready(Some(Err(ClientBodyError::Timeout))),
                Poll::Pending => Poll::Pending,
            },
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    this.passed += data.len() as u64;
                    if this.passed > this.limit {
                        return Poll::Ready(Some(Err(ClientBodyError::TooLarge { limit: this.limit })));
                    }
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(_))) => Poll::Ready(Some(Err(ClientBodyError::Broken))),
            Poll::Ready(None) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    type Piece = Result<Frame<Bytes>, Infallible>;

    /// A piece of three bytes after each of the pauses, which are in seconds.
    fn pieces(pauses: &'static [u64]) -> impl Body<Data = Bytes, Error = Infallible> + Unpin {
        let stream = stream::unfold(pauses, |pauses| async move {
            let (pause, rest) = pauses.split_first()?;
            tokio::time::sleep(Duration::from_secs(*pause)).await;
            Some((Piece::Ok(Frame::data(Bytes::from_static(b"abc"))), rest))
        });
        StreamBody::new(Box::pin(stream))
    }

    const LIMIT: u64 = 9;
    const PATIENCE: Duration = Duration::from_secs(30);

    // Time stands still in these tests but for the pauses themselves.
    #[tokio::test(start_paused = true)]
    async fn a_body_may_take_long_but_not_pause_for_long() {
        let slow = ClientBody::new(pieces(&[29, 29, 29]), LIMIT, PATIENCE);
        assert_eq!(slow.collect().await.unwrap().to_bytes(), "abcabcabc");
        let stuck = ClientBody::new(pieces(&[0, 31]), LIMIT, PATIENCE);
        assert!(matches!(stuck.collect().await, Err(ClientBodyError::Timeout)));
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_nobody_asks_is_not_the_clients() {
        let mut body = ClientBody::new(pieces(&[1, 20]), LIMIT, PATIENCE);
        assert!(body.frame().await.unwrap().is_ok());
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(body.frame().await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn a_body_stops_at_its_limit() {
        let mut long = ClientBody::new(pieces(&[0, 0, 0, 0]), LIMIT, PATIENCE);
        for _ in 0..3 {
            assert!(long.frame().await.unwrap().is_ok());
        }
        let error = long.frame().await.unwrap().unwrap_err();
        assert!(matches!(error, ClientBodyError::TooLarge { limit: LIMIT }));
    }
}
