//! Responses to clients.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use pointsman_config::route::Filter;
use pointsman_door::RequestContext;
use pointsman_exchange::{Refusal, RefusalResponse};
use pointsman_protocol::ErrorShape;

use crate::connection::ConnectionRequest;
use crate::reader_watch::WatchedRelay;
use crate::relay::Aborted;
use crate::template::response_headers;

/// The body of a response to a client.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    source: Source,
    /// Counts the request as one of its connection until the response was read.
    _request: Option<ConnectionRequest>,
}

#[derive(Debug)]
enum Source {
    /// The gateway itself, with what remains to be sent.
    Gateway(Bytes),
    Engine(WatchedRelay),
}

impl ResponseBody {
    pub(crate) const fn full(bytes: Bytes) -> Self {
        Self { source: Source::Gateway(bytes), _request: None }
    }

    pub(crate) const fn relay(relay: WatchedRelay) -> Self {
        Self { source: Source::Engine(relay), _request: None }
    }

    /// The same body, of this request.
    pub(crate) fn of(self, request: ConnectionRequest) -> Self {
        Self { _request: Some(request), ..self }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        match &mut self.get_mut().source {
            Source::Gateway(bytes) if bytes.is_empty() => Poll::Ready(None),
            Source::Gateway(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Source::Engine(relay) => relay.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Gateway(bytes) => bytes.is_empty(),
            Source::Engine(relay) => relay.is_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Gateway(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Engine(relay) => relay.size_hint(),
        }
    }
}

/// Ends the request with a refusal. `filters` are those of its route, as far as one is known.
pub(crate) fn refuse(
    mut context: RequestContext,
    refusal: &Refusal,
    shape: ErrorShape,
    filters: &[Filter],
) -> Response<ResponseBody> {
    context.refuse(refusal);
    let RefusalResponse { status, mut headers, body } = refusal.response(shape);
    response_headers(&mut headers, &context, filters);
    let mut response = Response::new(ResponseBody::full(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
