//! Streams of the stub engine.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::time::{Interval, MissedTickBehavior};

/// A token in vLLM's format: one event in one HTTP chunk.
const TOKEN: &str = concat!(
    r#"data: {"id":"chatcmpl-5f0c6a52d1f94e0bb7a3","object":"chat.completion.chunk","#,
    r#""created":1763715600,"model":"stub","choices":[{"index":0,"delta":{"content":" on"},"#,
    r#""logprobs":null,"finish_reason":null,"token_ids":null}]}"#,
    "\n\n",
);

/// The end of a stream: finish reason and `[DONE]`.
const END: &str = concat!(
    r#"data: {"id":"chatcmpl-5f0c6a52d1f94e0bb7a3","object":"chat.completion.chunk","#,
    r#""created":1763715600,"model":"stub","choices":[{"index":0,"delta":{},"#,
    r#""logprobs":null,"finish_reason":"stop","stop_reason":null}]}"#,
    "\n\ndata: [DONE]\n\n",
);

/// A stream of token events at a constant interval, then its end.
#[derive(Debug)]
pub(super) struct EventBody {
    left: Option<u32>,
    pace: Interval,
}

impl EventBody {
    pub(super) fn new(tokens: u32, interval: Duration) -> Self {
        // Tokio does not allow an interval of zero.
        let mut pace = tokio::time::interval(interval.max(Duration::from_nanos(1)));
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { left: Some(tokens), pace }
    }
}

impl Body for EventBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let text = match self.left {
            None => return Poll::Ready(None),
            Some(0) => {
                self.left = None;
                END
            }
            Some(left) => {
                ready!(self.pace.poll_tick(context));
                self.left = Some(left - 1);
                TOKEN
            }
        };
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(text.as_bytes())))))
    }
}
