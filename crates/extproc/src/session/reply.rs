//! Responses to the gateway.

use bytes::{Buf as _, Bytes};
use http::HeaderName;
use pointsman_exchange::{MODEL_NAME, Refusal, RefusalResponse};
use pointsman_protocol::{ErrorShape, SplicedBody};

use crate::address::{DESTINATION, destination_metadata};
use crate::wire::{
    BodyMutation, BodyResponse, CommonResponse, HeaderMutation, HeaderValueOption, HeadersResponse,
    HttpStatus, ImmediateResponse, Mutation, ProcessingResponse, Reply, StreamedBodyResponse,
    TrailersResponse,
};

/// Maximum length of a body chunk in bytes: Envoy accepts 64 KiB, framing included.
const MAX_CHUNK: usize = 62_000;

/// The direction of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Request,
    Response,
}

impl Side {
    const fn headers(self, response: HeadersResponse) -> Reply {
        match self {
            Self::Request => Reply::RequestHeaders(response),
            Self::Response => Reply::ResponseHeaders(response),
        }
    }

    const fn body(self, response: BodyResponse) -> Reply {
        match self {
            Self::Request => Reply::RequestBody(response),
            Self::Response => Reply::ResponseBody(response),
        }
    }

    const fn trailers(self) -> Reply {
        match self {
            Self::Request => Reply::RequestTrailers(TrailersResponse {}),
            Self::Response => Reply::ResponseTrailers(TrailersResponse {}),
        }
    }
}

fn message(reply: Reply) -> ProcessingResponse {
    ProcessingResponse { response: Some(reply), dynamic_metadata: None }
}

/// `CONTINUE` for headers.
pub(super) fn continue_headers(side: Side) -> ProcessingResponse {
    message(side.headers(HeadersResponse { response: None }))
}

/// `CONTINUE` for a body chunk.
pub(super) fn continue_body(side: Side) -> ProcessingResponse {
    message(side.body(BodyResponse { response: Some(CommonResponse::default()) }))
}

/// `CONTINUE` for trailers.
pub(super) fn continue_trailers(side: Side) -> ProcessingResponse {
    message(side.trailers())
}

/// The destination of a request, and the changes to it.
pub(super) struct Destination {
    /// `ip:port` in order of preference, separated by commas.
    pub(super) addresses: String,
    /// Header fields to remove.
    pub(super) removed: Vec<HeaderName>,
    /// The new path and query, if the model in them changes.
    pub(super) path: Option<String>,
    /// The new content-length, if the body changes.
    pub(super) content_length: Option<u64>,
}

impl Destination {
    /// The response to the request's headers.
    pub(super) fn for_headers(self) -> ProcessingResponse {
        let metadata = destination_metadata(&self.addresses);
        let common = self.common(None);
        let reply = Reply::RequestHeaders(HeadersResponse { response: Some(common) });
        ProcessingResponse { response: Some(reply), dynamic_metadata: Some(metadata) }
    }

    /// The response to a buffered body, which it may replace.
    pub(super) fn for_body(self, body: Option<Bytes>) -> ProcessingResponse {
        let metadata = destination_metadata(&self.addresses);
        let body = body.map(|body| BodyMutation { mutation: Some(Mutation::Body(body)) });
        let common = self.common(body);
        let reply = Reply::RequestBody(BodyResponse { response: Some(common) });
        ProcessingResponse { response: Some(reply), dynamic_metadata: Some(metadata) }
    }

    /// Clears the route cache so that routes can match on the destination, unless the model name header, which a route may
    /// have matched on, is removed. A header is either set, which replaces a client's copies, or removed.
    fn common(self, body_mutation: Option<BodyMutation>) -> CommonResponse {
        let mut set_headers = vec![HeaderValueOption::set(DESTINATION, self.addresses.into())];
        if let Some(path) = self.path {
            set_headers.push(HeaderValueOption::set(":path", path.into()));
        }
        if let Some(length) = self.content_length {
            set_headers.push(HeaderValueOption::set("content-length", length.to_string().into()));
        }
        let clear_route_cache = !self.removed.contains(&MODEL_NAME);
        let removed = self.removed.iter().map(HeaderName::as_str).filter(|name| *name != DESTINATION);
        let remove_headers = removed.map(str::to_owned).collect();
        CommonResponse {
            header_mutation: Some(HeaderMutation { set_headers, remove_headers }),
            body_mutation,
            clear_route_cache,
        }
    }
}

/// Appends a body as chunks that Envoy accepts. `last` marks the end of the stream, which needs a chunk even if it is
/// empty.
pub(super) fn chunks(
    body: impl IntoIterator<Item = Bytes>,
    side: Side,
    last: bool,
    out: &mut Vec<ProcessingResponse>,
) {
    let mut parts = body.into_iter().filter(|part| !part.is_empty()).peekable();
    let mut part = parts.next().unwrap_or_default();
    loop {
        let mut chunk = part.split_to(part.len().min(MAX_CHUNK));
        if part.is_empty() {
            chunk = gather(chunk, &mut part, &mut parts);
        }
        let over = part.is_empty() && parts.peek().is_none();
        if !chunk.is_empty() || last {
            out.push(streamed(side, chunk, last && over));
        }
        if over {
            return;
        }
        if part.is_empty() {
            part = parts.next().unwrap_or_default();
        }
    }
}

/// Fills a chunk from the parts that follow, so that the few bytes of a model's name do not become a message.
fn gather(
    chunk: Bytes,
    part: &mut Bytes,
    parts: &mut std::iter::Peekable<impl Iterator<Item = Bytes>>,
) -> Bytes {
    if chunk.len() == MAX_CHUNK || parts.peek().is_none() {
        return chunk;
    }
    let mut filled = bytes::BytesMut::with_capacity(MAX_CHUNK);
    filled.extend_from_slice(&chunk);
    while filled.len() < MAX_CHUNK {
        if part.is_empty() {
            let Some(next) = parts.next() else { break };
            *part = next;
        }
        let take = part.len().min(MAX_CHUNK - filled.len());
        filled.extend_from_slice(&part.split_to(take));
    }
    filled.freeze()
}

fn streamed(side: Side, body: Bytes, end_of_stream: bool) -> ProcessingResponse {
    let mutation = Mutation::Streamed(StreamedBodyResponse { body, end_of_stream });
    let body_mutation = Some(BodyMutation { mutation: Some(mutation) });
    let common = CommonResponse { body_mutation, ..CommonResponse::default() };
    message(side.body(BodyResponse { response: Some(common) }))
}

/// A spliced body as one.
pub(super) fn joined(body: &SplicedBody) -> Bytes {
    let [first, second, third] = body.parts.clone();
    let mut chain = first.chain(second).chain(third);
    chain.copy_to_bytes(chain.remaining())
}

/// A refusal as the answer to the client.
pub(super) fn refusal(refusal: &Refusal, shape: ErrorShape) -> ProcessingResponse {
    let RefusalResponse { status, headers, body } = refusal.response(shape);
    let set_headers = headers
        .iter()
        .map(|(name, value)| HeaderValueOption::set(name.as_str(), Bytes::copy_from_slice(value.as_bytes())));
    message(Reply::Immediate(ImmediateResponse {
        status: Some(HttpStatus { code: status.as_u16().into() }),
        headers: Some(HeaderMutation { set_headers: set_headers.collect(), remove_headers: Vec::new() }),
        body,
        details: refusal.reason().to_owned(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(parts: &[usize], last: bool) -> Vec<(usize, bool)> {
        let mut out = Vec::new();
        chunks(parts.iter().map(|length| Bytes::from(vec![b'x'; *length])), Side::Request, last, &mut out);
        let chunk = |response: &ProcessingResponse| {
            let Some(Reply::RequestBody(body)) = &response.response else { panic!("{response:?}") };
            let mutation = body.response.as_ref().unwrap().body_mutation.as_ref().unwrap();
            let Some(Mutation::Streamed(chunk)) = &mutation.mutation else { panic!("{mutation:?}") };
            (chunk.body.len(), chunk.end_of_stream)
        };
        out.iter().map(chunk).collect()
    }

    fn check(parts: &[usize], expected: &[(usize, bool)]) {
        assert_eq!(cut(parts, true), expected, "{parts:?}");
        let length: usize = cut(parts, false).iter().map(|(length, _)| length).sum();
        assert_eq!(length, parts.iter().sum::<usize>(), "{parts:?}");
        assert!(cut(parts, false).iter().all(|(_, end)| !end), "{parts:?}");
    }

    #[test]
    fn chunks_are_as_large_as_envoy_accepts() {
        check(&[], &[(0, true)]);
        check(&[0], &[(0, true)]);
        check(&[1], &[(1, true)]);
        check(&[62_000], &[(62_000, true)]);
        check(&[62_001], &[(62_000, false), (1, true)]);
        check(&[10, 5, 20], &[(35, true)]);
        check(&[62_000, 5, 0], &[(62_000, false), (5, true)]);
        check(&[10, 5, 124_000], &[(62_000, false), (62_000, false), (15, true)]);
        check(&[100_000, 5, 100_000], &[(62_000, false), (62_000, false), (62_000, false), (14_005, true)]);
    }

    #[test]
    fn an_empty_body_before_trailers_needs_no_chunk() {
        assert!(cut(&[0], false).is_empty());
    }
}
