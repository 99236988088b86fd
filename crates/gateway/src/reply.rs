//! Answers to clients.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use pointsman_core::Usage;
use pointsman_exchange::Refusal;
use pointsman_protocol::ErrorShape;
use pointsman_telemetry::Outcome;

use crate::record::Record;
use crate::relay::Relay;

/// The body of an answer to a client.
#[derive(Debug)]
pub(crate) enum ReplyBody {
    /// All there is.
    Whole(Bytes),
    /// An engine's answer, passing through.
    Relay(Box<Relay>),
}

/// The answer cannot be brought to its end: the connection is to be broken off.
#[derive(Debug, thiserror::Error)]
#[error("the answer was broken off")]
pub(crate) struct BrokenOff;

impl ReplyBody {
    pub(crate) const EMPTY: Self = Self::Whole(Bytes::new());
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Relay(relay) => relay.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Relay(relay) => relay.is_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Relay(relay) => relay.size_hint(),
        }
    }
}

/// Answers with a refusal, which ends the request.
pub(crate) fn refuse(mut record: Record, refusal: &Refusal, shape: ErrorShape) -> Response<ReplyBody> {
    let answer = refusal.answer(shape);
    record.status = answer.status.as_u16();
    record.finish(Outcome::Rejected(refusal.reason()), Usage::default());
    let mut response = Response::new(ReplyBody::Whole(answer.body));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    response
}
