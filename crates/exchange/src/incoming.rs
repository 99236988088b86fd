//! A request whose body is still on its way.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, header};
use pointsman_protocol::{Api, BodyFacts, ErrorShape, Route};

use crate::headers;
use crate::refusal::Refusal;
use crate::request::{Request, Unread};

/// The head of a request, as a door got it.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path; a query may follow and is not looked at.
    pub path: &'a str,
    /// The headers, unchanged; of those that [`read_header`](crate::read_header) does not know, none is looked at.
    pub headers: &'a HeaderMap,
    /// Whether a body follows, of whatever length.
    pub has_body: bool,
    /// Whether the peer's control headers are believed.
    pub trusted: bool,
}

/// Bounds on a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest body, in bytes, held or not.
    pub max_body_bytes: u64,
}

/// A request of which the head is known. The door feeds it the body where [`Incoming::holds_body`] says so, and ends
/// with [`Incoming::finish`].
#[derive(Debug)]
pub struct Incoming {
    route: Route,
    objective: Option<String>,
    length: Option<u64>,
    has_body: bool,
    limits: Limits,
    body: HeldBody,
}

/// The bytes held so far. One chunk is kept as it came; more are gathered in one buffer.
enum HeldBody {
    Empty,
    One(Bytes),
    Many(BytesMut),
}

impl std::fmt::Debug for HeldBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HeldBody({} bytes)", self.len())
    }
}

impl Incoming {
    /// Classifies a request by its head.
    ///
    /// # Errors
    /// The announced length is over the limit, or a body that must be read is encoded.
    pub fn begin(head: &Head<'_>, limits: Limits) -> Result<Self, Refusal> {
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
        Ok(Self { route, objective, length, has_body: head.has_body, limits, body: HeldBody::Empty })
    }

    /// The same request for a door that is not given its body: the model stays unknown, and load alone decides.
    #[must_use]
    pub fn without_body(self) -> Self {
        let route = if self.holds_body() { Route::Unknown } else { self.route };
        Self { route, ..self }
    }

    /// Whether the body is held whole before an endpoint is chosen; else it streams through.
    #[must_use]
    pub const fn holds_body(&self) -> bool {
        matches!(self.route, Route::Inference(_))
    }

    /// The bytes that holding this body will take, where the client announced them.
    #[must_use]
    pub const fn announced_length(&self) -> Option<u64> {
        self.length
    }

    /// The shape that errors of this request's API have.
    #[must_use]
    pub fn error_shape(&self) -> ErrorShape {
        ErrorShape::of(self.route.api())
    }

    /// Takes the next piece of a held body.
    ///
    /// # Errors
    /// The body is over the limit.
    pub fn body_chunk(&mut self, chunk: Bytes) -> Result<(), Refusal> {
        let total = self.body.len() as u64 + chunk.len() as u64;
        if total > self.limits.max_body_bytes {
            return Err(Refusal::BodyTooLarge { limit: self.limits.max_body_bytes });
        }
        let expected = self.length.and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
        self.body.push(chunk, expected);
        Ok(())
    }

    /// The head is complete, and the body too where it is held: reads what routing needs to know.
    ///
    /// # Errors
    /// The body is not what its API takes, or names no model where that is required.
    pub fn finish(self) -> Result<Request, Refusal> {
        let Some(api) = self.route.api() else {
            let content =
                if self.has_body { Unread::Stream { length: self.length } } else { Unread::Nothing };
            return Ok(Request::unread(self.route, self.objective, content));
        };
        let body = self.body.into_bytes();
        let facts = BodyFacts::scan(&body)?;
        if facts.model.is_none() && api.requires_model() {
            return Err(Refusal::MissingModel);
        }
        Ok(Request::held(api, self.objective, body, facts))
    }
}

impl HeldBody {
    fn len(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::One(bytes) => bytes.len(),
            Self::Many(buffer) => buffer.len(),
        }
    }

    fn push(&mut self, chunk: Bytes, expected: usize) {
        if chunk.is_empty() {
            return;
        }
        *self = match std::mem::replace(self, Self::Empty) {
            Self::Empty => Self::One(chunk),
            Self::One(first) => {
                let mut buffer = BytesMut::with_capacity(expected.max(first.len() + chunk.len()));
                buffer.extend_from_slice(&first);
                buffer.extend_from_slice(&chunk);
                Self::Many(buffer)
            }
            Self::Many(mut buffer) => {
                buffer.extend_from_slice(&chunk);
                Self::Many(buffer)
            }
        };
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::Empty => Bytes::new(),
            Self::One(bytes) => bytes,
            Self::Many(buffer) => buffer.freeze(),
        }
    }
}

/// A missing content type counts as JSON, as engines take it; any other type is the engine's to judge.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return true };
    let essence = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
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
