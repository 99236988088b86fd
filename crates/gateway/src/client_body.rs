//! A client's request body, limited in length and in the time that it may take.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pointsman_config::ClientTimeouts;
use pointsman_exchange::Refusal;
use tokio::time::{Instant, Sleep};

/// A body that may not exceed `limit` bytes, nor pause or take in total for longer than the client's timeouts; it fails with
/// the refusal for that, and as incomplete if the connection is lost or the framing is invalid.
///
/// A pause begins when the body is polled and has no data, so the time that a slow engine takes does not count. The timer
/// is reset only when it fires, so that a steady body costs no timer operation per frame.
#[derive(Debug)]
pub(crate) struct ClientBody<B> {
    inner: B,
    limit: u64,
    passed: u64,
    /// Maximum length of a pause.
    idle: Duration,
    /// What is left of the total time.
    left: Duration,
    waiting_since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<B> ClientBody<B> {
    pub(crate) fn new(inner: B, limit: u64, timeouts: &ClientTimeouts) -> Self {
        let (idle, left) = (timeouts.body_idle, timeouts.body);
        Self { inner, limit, passed: 0, idle, left, waiting_since: None, timer: None }
    }

    /// Ends the pause, if there is one.
    fn resumed(&mut self) {
        if let Some(since) = self.waiting_since.take() {
            self.left = self.left.saturating_sub(since.elapsed());
        }
    }

    fn poll_timeout(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = *self.waiting_since.get_or_insert_with(Instant::now) + self.idle.min(self.left);
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
    type Error = Refusal;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Refusal>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        if polled.is_ready() {
            this.resumed();
        }
        match polled {
            Poll::Pending => match this.poll_timeout(cx) {
                Poll::Ready(()) => Poll::Ready(Some(Err(Refusal::BodyTimeout))),
                Poll::Pending => Poll::Pending,
            },
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    this.passed += data.len() as u64;
                    if this.passed > this.limit {
                        return Poll::Ready(Some(Err(Refusal::BodyTooLarge { limit: this.limit })));
                    }
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(_))) => Poll::Ready(Some(Err(Refusal::BodyIncomplete))),
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

    type FrameResult = Result<Frame<Bytes>, Infallible>;

    /// A body of three bytes after each of the pauses, which are in seconds.
    fn body_with(pauses: &'static [u64]) -> impl Body<Data = Bytes, Error = Infallible> + Unpin {
        let stream = stream::unfold(pauses, |pauses| async move {
            let (pause, rest) = pauses.split_first()?;
            tokio::time::sleep(Duration::from_secs(*pause)).await;
            Some((FrameResult::Ok(Frame::data(Bytes::from_static(b"abc"))), rest))
        });
        StreamBody::new(Box::pin(stream))
    }

    const LIMIT: u64 = 9;

    fn client_body(
        pauses: &'static [u64],
    ) -> ClientBody<impl Body<Data = Bytes, Error = Infallible> + Unpin> {
        ClientBody::new(body_with(pauses), LIMIT, &ClientTimeouts::default())
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_may_be_slow_but_not_pause_for_longer_than_the_timeout() {
        let slow = client_body(&[29, 29, 29]);
        assert_eq!(slow.collect().await.unwrap().to_bytes(), "abcabcabc");
        let stuck = client_body(&[0, 31]);
        assert!(matches!(stuck.collect().await, Err(Refusal::BodyTimeout)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_drip_is_limited_in_total() {
        let timeouts = ClientTimeouts { body: Duration::from_secs(50), ..ClientTimeouts::default() };
        let start = Instant::now();
        let drip = ClientBody::new(body_with(&[20, 20, 20]), LIMIT, &timeouts);
        assert!(matches!(drip.collect().await, Err(Refusal::BodyTimeout)));
        assert_eq!(start.elapsed().as_secs(), 50);
    }

    #[tokio::test(start_paused = true)]
    async fn time_between_polls_does_not_count_as_a_pause() {
        let mut body = client_body(&[1, 20]);
        assert!(body.frame().await.unwrap().is_ok());
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(body.frame().await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn a_body_over_its_limit_fails() {
        let mut long = client_body(&[0, 0, 0, 0]);
        for _ in 0..3 {
            assert!(long.frame().await.unwrap().is_ok());
        }
        let error = long.frame().await.unwrap().unwrap_err();
        assert!(matches!(error, Refusal::BodyTooLarge { limit: LIMIT }));
    }
}
