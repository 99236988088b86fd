//! The request half of a session.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use pointsman_core::Rejection;
use pointsman_exchange::{EngineRequest, Refusal, RequestHead, RequestReader, control_header, read_header};

use crate::address::SubsetHint;
use crate::wire::{Event, HttpBody, HttpHeaders, ProcessingResponse};

use super::origin::Origin;
use super::reply::{self, Destination, Side};
use super::{BodyMode, Destinations, Guard, Next, Pool, ProtocolViolation, RequestHalf, Serving, Session};

/// Maximum number of messages that are queued while the request waits for its placement.
const MAX_QUEUED: usize = 256;
/// Maximum number of request header fields.
const MAX_HEADERS: usize = 1_000;

/// A request whose body is buffered.
#[derive(Debug)]
pub(super) struct HeldBody {
    pub(super) reader: RequestReader,
    path: String,
    removed: Vec<HeaderName>,
    hint: Option<SubsetHint>,
}

/// A request that waits for its placement.
#[derive(Debug)]
pub(super) struct PendingPlacement {
    pub(super) request: EngineRequest,
    removed: Vec<HeaderName>,
    reply_to: ReplyTo,
    queued: Vec<Event>,
}

impl PendingPlacement {
    /// Queues a message until the placement.
    pub(super) fn queue(&mut self, event: Event) -> Next {
        if self.queued.len() >= MAX_QUEUED {
            return Next::Abort(ProtocolViolation::Backlog);
        }
        self.queued.push(event);
        Next::Read
    }
}

/// The messages that wait for a response with the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReplyTo {
    /// The headers of a request without a body.
    HeadersOnly,
    /// The headers of a request whose body is not read.
    HeadersBeforeBody,
    /// The headers and the body, buffered in full duplex mode.
    HeadersAndBody,
    /// The headers and the start of the body, whose rest streams through in full duplex mode.
    HeadersAndStart,
    /// The headers, the body and the trailers.
    HeadersBodyAndTrailers,
    /// The body, which the gateway buffers.
    Body,
}

/// A request's headers, decoded.
#[derive(Default)]
struct RequestHeaders {
    method: Method,
    path: String,
    /// The header fields that [`RequestReader`] reads.
    headers: HeaderMap,
    /// The control headers among all fields, which are removed.
    removed: Vec<HeaderName>,
}

impl<P: Pool> Session<P> {
    pub(super) fn request_headers(
        &mut self,
        message: HttpHeaders,
        hint: Option<SubsetHint>,
        out: &mut Vec<ProcessingResponse>,
    ) -> Next {
        if !matches!(self.request, RequestHalf::Expected) {
            return Next::Abort(ProtocolViolation::RequestHeadersRepeated);
        }
        let has_body = !message.end_of_stream;
        let Some(headers) = decode(message) else { return self.refuse(&Refusal::HeadersTooLarge, out) };
        let reader = match self.begin(&headers, has_body) {
            Ok(reader) => reader,
            Err(refusal) => return self.refuse(&refusal, out),
        };
        self.shape = reader.error_shape();
        let held = HeldBody { path: headers.path, removed: headers.removed, reader, hint };
        if !held.reader.needs_body() {
            let reply_to = if has_body { ReplyTo::HeadersBeforeBody } else { ReplyTo::HeadersOnly };
            return self.place(held, reply_to, out);
        }
        self.request = RequestHalf::Buffering(Box::new(held));
        match self.modes().request {
            BodyMode::FullDuplex => {}
            BodyMode::Buffered | BodyMode::BufferedPartial | BodyMode::Streamed | BodyMode::Absent => {
                out.push(reply::continue_headers(Side::Request)); // The gateway sends the body only after this.
            }
        }
        Next::Read
    }

    fn begin(&self, headers: &RequestHeaders, has_body: bool) -> Result<RequestReader, Refusal> {
        let RequestHeaders { method, path, headers, .. } = headers;
        let trusted = self.options.trust_request_headers;
        let head = RequestHead { method, path, headers, has_body, trusted };
        let reader = RequestReader::begin(&head, self.options.limits)?;
        let unread = has_body && !self.modes().request.can_buffer();
        Ok(if unread { reader.without_body() } else { reader })
    }

    pub(super) fn request_body(&mut self, message: HttpBody, out: &mut Vec<ProcessingResponse>) -> Next {
        self.request_bytes = self.request_bytes.saturating_add(message.body.len() as u64);
        let mode = self.modes().request;
        match std::mem::replace(&mut self.request, RequestHalf::Ended) {
            RequestHalf::Expected => Next::Abort(ProtocolViolation::BodyBeforeHeaders),
            RequestHalf::Buffering(held) => self.buffer(held, message, out),
            RequestHalf::Passing(mut rest) => {
                if let Some(Err(error)) = rest.as_mut().map(|rest| rest.push(&message.body)) {
                    self.serving = None;
                    return self.refuse(&Refusal::Body(error), out);
                }
                if !message.end_of_stream {
                    self.request = RequestHalf::Passing(rest);
                }
                pass(mode, Side::Request, message, out);
                Next::Read
            }
            // Messages during the placement are queued, so this one comes after the end of the request.
            RequestHalf::Placing(_) | RequestHalf::Ended => {
                if mode != BodyMode::FullDuplex {
                    out.push(reply::continue_body(Side::Request));
                }
                Next::Read
            }
        }
    }

    fn buffer(
        &mut self,
        mut held: Box<HeldBody>,
        message: HttpBody,
        out: &mut Vec<ProcessingResponse>,
    ) -> Next {
        if let Err(refusal) = held.reader.body_chunk(message.body) {
            return self.refuse(&refusal, out);
        }
        if message.end_of_stream {
            held.reader.body_ended();
        }
        match self.modes().request {
            // The body is one message, without the end of stream if trailers follow.
            BodyMode::Buffered => {
                held.reader.body_ended();
                self.place(*held, ReplyTo::Body, out)
            }
            BodyMode::BufferedPartial if !message.end_of_stream => {
                let limit = self.request_bytes;
                self.refuse(&Refusal::BodyTooLarge { limit }, out)
            }
            BodyMode::BufferedPartial => self.place(*held, ReplyTo::Body, out),
            BodyMode::FullDuplex | BodyMode::Streamed | BodyMode::Absent if message.end_of_stream => {
                self.place(*held, ReplyTo::HeadersAndBody, out)
            }
            BodyMode::FullDuplex | BodyMode::Streamed | BodyMode::Absent if !held.reader.needs_body() => {
                self.place(*held, ReplyTo::HeadersAndStart, out)
            }
            BodyMode::FullDuplex | BodyMode::Streamed | BodyMode::Absent => {
                self.request = RequestHalf::Buffering(held);
                Next::Read
            }
        }
    }

    pub(super) fn request_trailers(&mut self, out: &mut Vec<ProcessingResponse>) -> Next {
        match std::mem::replace(&mut self.request, RequestHalf::Ended) {
            RequestHalf::Buffering(mut held) => {
                held.reader.body_ended();
                self.place(*held, ReplyTo::HeadersBodyAndTrailers, out)
            }
            RequestHalf::Expected => Next::Abort(ProtocolViolation::BodyBeforeHeaders),
            RequestHalf::Passing(_) | RequestHalf::Ended | RequestHalf::Placing(_) => {
                out.push(reply::continue_trailers(Side::Request));
                Next::Read
            }
        }
    }

    /// Resolves the request, whose body is complete or will not be read, and has it placed.
    fn place(&mut self, held: HeldBody, reply_to: ReplyTo, out: &mut Vec<ProcessingResponse>) -> Next {
        let HeldBody { reader, path, mut removed, hint } = held;
        let administration = self.options.administration;
        let resolved = reader.finish(|_| Ok(()));
        if let Ok(request) = &resolved {
            self.held_bytes = request.held_bytes();
        }
        let resolved = resolved.and_then(|request| self.pool.resolve(request, administration, &path));
        let mut request = match resolved {
            Ok(request) => request,
            Err(refusal) => return self.refuse(&refusal, out),
        };
        let sees_tokens = self.modes().response.is_streamed();
        let facts = &mut request.placement;
        facts.observes_tokens &= sees_tokens;
        if let Some(hint) = hint {
            let listed = self.pool.subset(&hint);
            let subset = match &facts.subset {
                None => listed,
                Some(holders) => holders.iter().filter(|id| listed.contains(id)).copied().collect(),
            };
            if subset.is_empty() {
                return self.refuse(&Refusal::Pool(Rejection::EmptySubset), out);
            }
            facts.subset = Some(subset);
        }
        if request.decoded() {
            removed.push(header::CONTENT_ENCODING);
        }
        let pending = PendingPlacement { request, removed, reply_to, queued: Vec::new() };
        self.request = RequestHalf::Placing(Box::new(pending));
        Next::Place
    }

    /// Sends the gateway the destination, then processes the queued messages.
    pub(super) fn dispatched(&mut self, guard: P::Guard, out: &mut Vec<ProcessingResponse>) -> Next {
        if !matches!(self.request, RequestHalf::Placing(_)) {
            return Next::Read; // The request was withdrawn; dropping the guard releases its load.
        }
        let RequestHalf::Placing(pending) = std::mem::replace(&mut self.request, RequestHalf::Ended) else {
            return Next::Read;
        };
        let PendingPlacement { mut request, removed, reply_to, queued } = *pending;
        let mut addresses = guard.destinations();
        let lists = match self.options.destinations {
            Destinations::AsShown => self.plane.reads_lists(),
            Destinations::One => false,
            Destinations::List => true,
        };
        addresses.truncate(if lists { addresses.len() } else { 1 });
        let path = request.path().map(str::to_owned);
        let destination = Destination { addresses: addresses.join(","), removed, path, content_length: None };
        if matches!(reply_to, ReplyTo::HeadersBeforeBody | ReplyTo::HeadersAndStart) {
            self.request = RequestHalf::Passing(request.take_rest());
        }
        reply_with(destination, &request, reply_to, out);
        self.serving = Some(Serving { guard, response: request.response(), origin: Origin::Engine });
        for event in queued {
            let next = match event {
                Event::RequestBody(body) => self.request_body(body, out),
                Event::RequestTrailers(_) => self.request_trailers(out),
                Event::RequestHeaders(_)
                | Event::ResponseHeaders(_)
                | Event::ResponseBody(_)
                | Event::ResponseTrailers(_) => Next::Read,
            };
            if !matches!(next, Next::Read) {
                return next;
            }
        }
        Next::Read
    }
}

/// Responds to the waiting messages with the destination, and sends back the body in full duplex mode.
fn reply_with(
    mut destination: Destination,
    request: &EngineRequest,
    reply_to: ReplyTo,
    out: &mut Vec<ProcessingResponse>,
) {
    let body = request.body();
    match reply_to {
        ReplyTo::HeadersOnly | ReplyTo::HeadersBeforeBody => out.push(destination.for_headers()),
        ReplyTo::HeadersAndBody | ReplyTo::HeadersAndStart | ReplyTo::HeadersBodyAndTrailers => {
            out.push(destination.for_headers());
            let parts = body.map(|body| body.parts.clone()).unwrap_or_default();
            reply::chunks(parts, Side::Request, reply_to == ReplyTo::HeadersAndBody, out);
            if reply_to == ReplyTo::HeadersBodyAndTrailers {
                out.push(reply::continue_trailers(Side::Request));
            }
        }
        ReplyTo::Body => {
            let changed = body.filter(|_| request.changes_body());
            destination.content_length = changed.map(|body| body.content_length());
            out.push(destination.for_body(changed.map(reply::joined)));
        }
    }
}

/// Passes on a chunk of a body that is not buffered.
pub(super) fn pass(mode: BodyMode, side: Side, message: HttpBody, out: &mut Vec<ProcessingResponse>) {
    match mode {
        BodyMode::FullDuplex => reply::chunks([message.body], side, message.end_of_stream, out),
        BodyMode::Absent | BodyMode::Streamed | BodyMode::Buffered | BodyMode::BufferedPartial => {
            out.push(reply::continue_body(side));
        }
    }
}

/// Decodes a request's headers; `None` if there are too many fields.
fn decode(message: HttpHeaders) -> Option<RequestHeaders> {
    let fields = message.headers.map(|map| map.headers).unwrap_or_default();
    if fields.len() > MAX_HEADERS {
        return None;
    }
    let mut decoded = RequestHeaders::default();
    for field in fields {
        match field.key.as_str() {
            ":method" => decoded.method = Method::from_bytes(field.bytes()).unwrap_or(Method::GET),
            ":path" => decoded.path = String::from_utf8_lossy(field.bytes()).into_owned(),
            pseudo if pseudo.starts_with(':') => {}
            name => {
                let control = control_header(name).filter(|control| !decoded.removed.contains(control));
                decoded.removed.extend(control);
                let value = || HeaderValue::from_maybe_shared(field.bytes().clone()).ok();
                if let Some((name, value)) = read_header(name).and_then(|name| Some((name, value()?))) {
                    decoded.headers.append(name, value);
                }
            }
        }
    }
    Some(decoded)
}
