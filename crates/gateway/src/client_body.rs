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
