//! Reads a request: its head first, then the body where it has to be known before placement.

use bytes::Bytes;
use http::{HeaderMap, Method, header};
use pointsman_protocol::{Api, BodyFacts, ErrorShape, Route};

use crate::body::{BodyBuffer, UnreadBody};
use crate::headers;
use crate::parsed_request::ParsedRequest;
use crate::refusal::Refusal;

/// The head of a request as its door received it.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path; a query behind it is ignored.
    pub path: &'a str,
    /// The client's headers. Only those that [`read_header`](crate::read_header) knows are read.
    pub headers: &'a HeaderMap,
    /// Whether a body follows, however long.
    pub has_body: bool,
    /// Whether the peer's control headers are trusted.
    pub trusted: bool,
}

/// Limits on a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum length of a body in bytes, buffered or not.
    pub max_body_bytes: u64,
}

/// A request whose head has been read. The door feeds it the body if [`RequestReader::buffers_body`] says so, and ends
/// with [`RequestReader::finish`].
#[derive(Debug)]
pub struct RequestReader {
    route: Route,
    objective: Option<String>,
    length: Option<u64>,
    has_body: bool,
    limits: Limits,
    body: BodyBuffer,
}

impl RequestReader {
    /// Classifies a request by its head.
    ///
    /// # Errors
    /// The content-length is over the limit, or a body that must be read has a content-encoding.
    pub fn begin(head: &RequestHead<'_>, limits: Limits) -> Result<Self, Refusal> {
        let mut route = Api::of(head.method.as_str(), head.path);
        if matches!(route, Route::Inference(_)) && !is_json(head.headers) {
            route = Route::Unknown;
        }
        let length = content_length(head.headers);
        if length.is_some_and(|length| length > limits.max_body_bytes) {
            return Err(Refusal::BodyTooLarge { limit: limits.max_body_bytes });
        }
        if matches!(route, Route::Inference(_)) && is_encoded(head.headers) {
            return Err(Refusal::ContentEncoding);
        }
        let objective = head.trusted.then(|| headers::objective(head.headers)).flatten().map(str::to_owned);
        Ok(Self { route, objective, length, has_body: head.has_body, limits, body: BodyBuffer::Empty })
    }

    /// The same request for a door that does not receive its body: the model stays unknown and placement depends on
    /// load alone.
    #[must_use]
    pub fn without_body(self) -> Self {
        let route = if self.buffers_body() { Route::Unknown } else { self.route };
        Self { route, ..self }
    }

    /// Whether the whole body is read before an endpoint is chosen; otherwise it streams through.
    #[must_use]
    pub const fn buffers_body(&self) -> bool {
        matches!(self.route, Route::Inference(_))
    }

    /// The client's content-length in bytes.
    #[must_use]
    pub const fn content_length(&self) -> Option<u64> {
        self.length
    }

    /// The error format of this request's API.
    #[must_use]
    pub fn error_shape(&self) -> ErrorShape {
        ErrorShape::of(self.route.api())
    }

    /// Appends a chunk of a buffered body.
    ///
    /// # Errors
    /// The body exceeds the limit.
    pub fn body_chunk(&mut self, chunk: Bytes) -> Result<(), Refusal> {
        let total = self.body.len() as u64 + chunk.len() as u64;
        if total > self.limits.max_body_bytes {
            return Err(Refusal::BodyTooLarge { limit: self.limits.max_body_bytes });
        }
        let expected = self.length.and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
        self.body.push(chunk, expected);
        Ok(())
    }

    /// Ends the body and extracts the facts that routing depends on.
    ///
    /// # Errors
    /// The body is invalid for its API, or names no model where the API requires one.
    pub fn finish(self) -> Result<ParsedRequest, Refusal> {
        let Some(api) = self.route.api() else {
            let body =
                if self.has_body { UnreadBody::Stream { length: self.length } } else { UnreadBody::None };
            return Ok(ParsedRequest::unread(self.route, self.objective, body));
        };
        let body = self.body.into_bytes();
        let facts = BodyFacts::scan_as(api, &body).map_err(Refusal::Body)?;
        if facts.model.is_none() && api.requires_model() {
            return Err(Refusal::MissingModel);
        }
        Ok(ParsedRequest::buffered(api, self.objective, body, facts))
    }
}

/// A missing content-type counts as JSON, as it does for engines; other types are left to the engine.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(essence) = headers::media_type(headers) else { return true };
    essence.eq_ignore_ascii_case(b"application/json")
        || essence.len() > 5 && essence[essence.len() - 5..].eq_ignore_ascii_case(b"+json")
}

fn is_encoded(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .any(|value| !value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity"))
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}
