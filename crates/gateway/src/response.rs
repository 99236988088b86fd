//! Responses to clients.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use pointsman_door::RequestContext;
use pointsman_exchange::{Refusal, RefusalResponse};
use pointsman_protocol::ErrorShape;

use crate::relay::{Aborted, Relay};

/// The body of a response to a client.
#[derive(Debug)]
pub(crate) enum ResponseBody {
    /// The gateway's own, of which this is what remains to be sent.
    Full(Bytes),
    /// An engine's.
    Relay(Box<Relay>),
}

impl ResponseBody {
    pub(crate) const EMPTY: Self = Self::Full(Bytes::new());
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        match self.get_mut() {
            Self::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Relay(relay) => relay.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_empty(),
            Self::Relay(relay) => relay.is_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Relay(relay) => relay.size_hint(),
        }
    }
}

/// Ends the request with a refusal.
pub(crate) fn refuse(
    mut context: RequestContext,
    refusal: &Refusal,
    shape: ErrorShape,
) -> Response<ResponseBody> {
    context.refuse(refusal);
    let RefusalResponse { status, headers, body } = refusal.response(shape);
    let mut response = Response::new(ResponseBody::Full(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
