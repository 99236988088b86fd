//! Answers to the gateway.

use bytes::{Buf as _, Bytes};
use http::HeaderName;
use pointsman_exchange::{MODEL_NAME, Refusal};
use pointsman_protocol::{ErrorShape, SplicedBody};

use crate::address::{DESTINATION, destination_metadata};
use crate::wire::{
    BodyMutation, BodyResponse, CommonResponse, HeaderMutation, HeaderValueOption, HeadersResponse,
    HttpStatus, ImmediateResponse, Mutation, ProcessingResponse, Reply, StreamedBodyResponse,
    TrailersResponse,
};

/// The longest piece of a body sent back at once, in bytes: Envoy takes no more than 64 KiB, with its frame.
const PIECE: usize = 62_000;

/// Which way a body goes.
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

/// "Go on" to a head.
pub(super) fn go_on_with_head(side: Side) -> ProcessingResponse {
    message(side.headers(HeadersResponse { response: None }))
}

/// "Go on" to a piece of a body.
pub(super) fn go_on_with_body(side: Side) -> ProcessingResponse {
    message(side.body(BodyResponse { response: Some(CommonResponse::default()) }))
}

/// "Go on" to trailers.
pub(super) fn go_on_with_trailers(side: Side) -> ProcessingResponse {
    message(side.trailers())
}

/// Where to send the request and what to change on it.
pub(super) struct Decision {
    /// `ip:port`, in order of preference, with commas.
    pub(super) destinations: String,
    /// Header fields that end here.
    pub(super) removed: Vec<HeaderName>,
    /// The body's length, where it has to be said anew.
    pub(super) content_length: Option<u64>,
}

impl Decision {
    /// The decision as the answer to a request's head.
    pub(super) fn on_head(self) -> ProcessingResponse {
        let metadata = destination_metadata(&self.destinations);
        let common = self.common(None);
        let reply = Reply::RequestHeaders(HeadersResponse { response: Some(common) });
        ProcessingResponse { response: Some(reply), dynamic_metadata: Some(metadata) }
    }

    /// The decision as the answer to a buffered body, which it may replace.
    pub(super) fn on_body(self, body: Option<Bytes>) -> ProcessingResponse {
        let metadata = destination_metadata(&self.destinations);
        let body = body.map(|body| BodyMutation { mutation: Some(Mutation::Body(body)) });
        let common = self.common(body);
        let reply = Reply::RequestBody(BodyResponse { response: Some(common) });
        ProcessingResponse { response: Some(reply), dynamic_metadata: Some(metadata) }
    }

    /// The route is cleared, so that rules which look at the destination see it; not where the route was chosen by the
    /// model's name, which is removed here and would be missed. A header is either set or removed, never both: setting
    /// replaces a client's copies.
    fn common(self, body_mutation: Option<BodyMutation>) -> CommonResponse {
        let mut set_headers = vec![HeaderValueOption::set(DESTINATION, self.destinations.into())];
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

/// A body in pieces that Envoy takes. `last` marks the end of the stream, which takes a piece even where there is no
/// byte left.
pub(super) fn pieces(
    body: impl IntoIterator<Item = Bytes>,
    side: Side,
    last: bool,
    out: &mut Vec<ProcessingResponse>,
) {
    let mut parts = body.into_iter().filter(|part| !part.is_empty()).peekable();
    let mut part = parts.next().unwrap_or_default();
    loop {
        let mut piece = part.split_to(part.len().min(PIECE));
        if part.is_empty() {
            piece = gather(piece, &mut part, &mut parts);
        }
        let over = part.is_empty() && parts.peek().is_none();
        if !piece.is_empty() || last {
            out.push(streamed(side, piece, last && over));
        }
        if over {
            return;
        }
        if part.is_empty() {
            part = parts.next().unwrap_or_default();
        }
    }
}

/// Fills a piece that its part could not fill, so that the few bytes of a model's name do not become a message.
fn gather(
    piece: Bytes,
    part: &mut Bytes,
    parts: &mut std::iter::Peekable<impl Iterator<Item = Bytes>>,
) -> Bytes {
    if piece.len() == PIECE || parts.peek().is_none() {
        return piece;
    }
    let mut filled = bytes::BytesMut::with_capacity(PIECE);
    filled.extend_from_slice(&piece);
    while filled.len() < PIECE {
        if part.is_empty() {
            let Some(next) = parts.next() else { break };
            *part = next;
        }
        let take = part.len().min(PIECE - filled.len());
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
    let answer = refusal.answer(shape);
    let set_headers = answer
        .headers
        .iter()
        .map(|(name, value)| HeaderValueOption::set(name.as_str(), Bytes::copy_from_slice(value.as_bytes())));
    message(Reply::Immediate(ImmediateResponse {
        status: Some(HttpStatus { code: answer.status.as_u16().into() }),
        headers: Some(HeaderMutation { set_headers: set_headers.collect(), remove_headers: Vec::new() }),
        body: answer.body,
        details: refusal.reason().to_owned(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(parts: &[usize], last: bool) -> Vec<(usize, bool)> {
        let mut out = Vec::new();
        pieces(parts.iter().map(|length| Bytes::from(vec![b'x'; *length])), Side::Request, last, &mut out);
        let piece = |response: &ProcessingResponse| {
            let Some(Reply::RequestBody(body)) = &response.response else { panic!("{response:?}") };
            let mutation = body.response.as_ref().unwrap().body_mutation.as_ref().unwrap();
            let Some(Mutation::Streamed(piece)) = &mutation.mutation else { panic!("{mutation:?}") };
            (piece.body.len(), piece.end_of_stream)
        };
        out.iter().map(piece).collect()
    }

    fn check(parts: &[usize], expected: &[(usize, bool)]) {
        assert_eq!(cut(parts, true), expected, "{parts:?}");
        let length: usize = cut(parts, false).iter().map(|(length, _)| length).sum();
        assert_eq!(length, parts.iter().sum::<usize>(), "{parts:?}");
        assert!(cut(parts, false).iter().all(|(_, end)| !end), "{parts:?}");
    }

    #[test]
    fn pieces_are_as_few_as_envoy_takes() {
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
    fn nothing_is_sent_for_nothing_where_trailers_end_it() {
        assert!(cut(&[0], false).is_empty());
    }
}
