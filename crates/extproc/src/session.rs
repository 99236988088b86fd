//! One stream of ext_proc messages: a request and its response.

mod mode;
mod origin;
mod pool;
mod reply;
mod request;
mod response;

use std::sync::Arc;

use pointsman_core::{Completion, EndpointId, Rejection, Usage};
use pointsman_exchange::{EngineRequest, EngineResponse, Limits, Refusal, ResponseEnd, RestScanner};
use pointsman_protocol::ErrorShape;
use pointsman_telemetry::Outcome;

use crate::address::{self, SubsetHint};
use crate::wire::{Event, ProcessingRequest, ProcessingResponse};

pub use mode::BodyMode;
pub use origin::DataPlane;
pub use pool::{Guard, Pool};

use mode::Modes;
use origin::{Delivery, Origin};
use request::{HeldBody, PendingPlacement};

/// The attribute by which Envoy says how a response came about.
const CODE_DETAILS: &str = "response.code_details";
/// The reason of a request that the gateway answered itself after it was placed.
const GATEWAY_RESPONSE: &str = "gateway_response";

/// Treatment of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionOptions {
    /// Limits on requests.
    pub limits: Limits,
    /// Whether objective headers are trusted; by default they are, since the gateway in front is the peer.
    pub trust_request_headers: bool,
    /// How many destinations are named.
    pub destinations: Destinations,
    /// Whether engines' administration paths are allowed.
    pub administration: bool,
    /// Mode of request bodies if the gateway does not declare one.
    pub assumed_request_mode: BodyMode,
    /// Mode of response bodies if the gateway does not declare one.
    pub assumed_response_mode: BodyMode,
}

impl Default for SessionOptions {
    /// Full duplex both ways, as proposal 004 requires of gateways.
    fn default() -> Self {
        Self {
            limits: Limits { max_body_bytes: 32 << 20 },
            trust_request_headers: true,
            destinations: Destinations::default(),
            administration: false,
            assumed_request_mode: BodyMode::FullDuplex,
            assumed_response_mode: BodyMode::FullDuplex,
        }
    }
}

/// How many destinations a request is given: the best endpoint, or with its fallbacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Destinations {
    /// The best only, until the gateway has reported an endpoint that served: then a list.
    #[default]
    AsShown,
    /// The best only.
    One,
    /// Always a list.
    List,
}

/// The caller's next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Read the next message.
    Read,
    /// Place [`Session::waiting_request`] and pass the result to [`Session::placed`]. Messages may be read meanwhile.
    Place,
    /// Withdraw the request that is being placed, then read the next message.
    Withdraw,
    /// End the stream: everything has been answered.
    End,
    /// Abort the stream with an error. The gateway then fails open or closed, as it is configured.
    Abort(ProtocolViolation),
}

/// A message that is invalid in the stream's state, or a mode that is not supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolViolation {
    /// Request headers were received twice.
    #[error("request headers received twice")]
    RequestHeadersRepeated,
    /// Response headers were received twice.
    #[error("response headers received twice")]
    ResponseHeadersRepeated,
    /// A request body was received before the headers.
    #[error("request body received before its headers; the filter must send request headers")]
    BodyBeforeHeaders,
    /// The filter is configured for an unsupported body mode.
    #[error("body send mode {0} is not supported; use FULL_DUPLEX_STREAMED or BUFFERED")]
    Mode(i32),
    /// The metadata, which may limit the choice of endpoints, cannot be decoded.
    #[error("the metadata cannot be decoded")]
    Metadata,
    /// More messages were received during placement than a gateway sends without waiting.
    #[error("too many messages while the request waits for its placement")]
    Backlog,
}

/// The event that a session waits for. Each has its own timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitingFor {
    /// Any message, without a timeout.
    Message,
    /// The rest of the request's body.
    Body,
    /// The placement of the request.
    Placement,
}

/// The outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Its completion or refusal.
    pub outcome: Outcome,
    /// The endpoint that served the request, if one did.
    pub endpoint: Option<EndpointId>,
    /// The status that the client received; 0 if it is unknown.
    pub status: u16,
    /// Token counts.
    pub usage: Usage,
    /// Bytes of the request's body that arrived.
    pub request_bytes: u64,
    /// Bytes of the response's body that arrived.
    pub response_bytes: u64,
}

/// The state machine of one stream. Dropping it releases the load reserved for the request; [`Session::close`] reports
/// its outcome too.
#[derive(Debug)]
pub struct Session<P: Pool> {
    pool: P,
    options: SessionOptions,
    plane: Arc<DataPlane>,
    modes: Option<Modes>,
    request: RequestHalf,
    response: ResponseHalf,
    serving: Option<Serving<P::Guard>>,
    shape: ErrorShape,
    status: u16,
    /// Bytes of the body that are held for the placement, decoded.
    held_bytes: u64,
    request_bytes: u64,
    response_bytes: u64,
    first_token: bool,
    summary: Option<Summary>,
    concluded: bool,
}

/// State of the request.
#[derive(Debug)]
enum RequestHalf {
    /// The headers have not arrived.
    Expected,
    /// The body is buffered until it is complete.
    Buffering(Box<HeldBody>),
    /// The request waits for its placement.
    Placing(Box<PendingPlacement>),
    /// The rest of the body streams through, and is read where the pool's rules apply to it.
    Passing(Option<RestScanner>),
    /// The request is complete, or no longer relevant.
    Ended,
}

/// State of the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ResponseHalf {
    Expected,
    Passing,
    Ended,
}

/// A request at its engine.
#[derive(Debug)]
struct Serving<G> {
    guard: G,
    response: EngineResponse,
    origin: Origin,
}

impl<P: Pool> Session<P> {
    /// A session for a stream whose request is for `pool`, from a gateway that has shown `plane` of itself.
    #[must_use]
    pub const fn new(pool: P, options: SessionOptions, plane: Arc<DataPlane>) -> Self {
        Self {
            pool,
            options,
            plane,
            modes: None,
            request: RequestHalf::Expected,
            response: ResponseHalf::Expected,
            serving: None,
            shape: ErrorShape::OpenAi,
            status: 0,
            held_bytes: 0,
            request_bytes: 0,
            response_bytes: 0,
            first_token: false,
            summary: None,
            concluded: false,
        }
    }

    /// Whether the pool is still to be asked for an endpoint.
    #[must_use]
    pub const fn awaits_body(&self) -> bool {
        matches!(self.request, RequestHalf::Buffering(_))
    }

    /// Replaces the pool, whose configuration changed.
    pub fn set_pool(&mut self, pool: P) {
        self.pool = pool;
    }

    /// Processes the next message and appends the responses to `out`.
    pub fn message(&mut self, message: ProcessingRequest, out: &mut Vec<ProcessingResponse>) -> Next {
        if self.modes.is_none() {
            match Modes::of(message.protocol_config.as_ref(), &self.options) {
                Ok(modes) => self.modes = Some(modes),
                Err(mode) => return Next::Abort(ProtocolViolation::Mode(mode)),
            }
        }
        if message.observability_mode {
            return Next::Read; // The gateway ignores responses, so no decision would have an effect.
        }
        let metadata = match &message.request {
            Some(Event::RequestHeaders(_) | Event::ResponseHeaders(_)) => match message.metadata() {
                Ok(metadata) => metadata,
                Err(_) => return Next::Abort(ProtocolViolation::Metadata),
            },
            Some(
                Event::RequestBody(_)
                | Event::RequestTrailers(_)
                | Event::ResponseBody(_)
                | Event::ResponseTrailers(_),
            )
            | None => None,
        };
        let code_details = message.attribute(CODE_DETAILS).map(str::to_owned);
        let Some(event) = message.request else { return Next::Read };
        if let RequestHalf::Placing(pending) = &mut self.request {
            return match event {
                Event::ResponseHeaders(_) | Event::ResponseBody(_) | Event::ResponseTrailers(_) => {
                    self.request = RequestHalf::Ended;
                    self.respond(event, Delivery::default(), out);
                    Next::Withdraw
                }
                Event::RequestHeaders(_) => Next::Abort(ProtocolViolation::RequestHeadersRepeated),
                Event::RequestBody(_) | Event::RequestTrailers(_) => pending.queue(event),
            };
        }
        match event {
            Event::RequestHeaders(headers) => {
                let hint = metadata.as_ref().and_then(SubsetHint::read);
                self.request_headers(headers, hint, out)
            }
            Event::RequestBody(body) => self.request_body(body, out),
            Event::RequestTrailers(_) => self.request_trailers(out),
            Event::ResponseHeaders(_) | Event::ResponseBody(_) | Event::ResponseTrailers(_) => {
                let served = metadata.as_ref().and_then(address::served);
                self.respond(event, Delivery { served, code_details: code_details.as_deref() }, out)
            }
        }
    }

    /// The request to place, from [`Next::Place`] until [`Session::placed`].
    #[must_use]
    pub const fn waiting_request(&self) -> Option<&EngineRequest> {
        match &self.request {
            RequestHalf::Placing(pending) => Some(&pending.request),
            RequestHalf::Expected
            | RequestHalf::Buffering(_)
            | RequestHalf::Passing(_)
            | RequestHalf::Ended => None,
        }
    }

    /// Processes the result of the placement.
    pub fn placed(&mut self, result: Result<P::Guard, Rejection>, out: &mut Vec<ProcessingResponse>) -> Next {
        match result {
            Ok(guard) => self.dispatched(guard, out),
            Err(rejection) => self.refuse(&Refusal::Pool(rejection), out),
        }
    }

    /// Answers the client with a refusal, and ends the stream.
    pub fn refuse(&mut self, refusal: &Refusal, out: &mut Vec<ProcessingResponse>) -> Next {
        self.request = RequestHalf::Ended;
        self.response = ResponseHalf::Ended;
        out.push(reply::refusal(refusal, self.shape));
        self.status = refusal.status().as_u16();
        self.conclude(Outcome::Rejected(refusal.reason()), None, Usage::default());
        Next::End
    }

    /// The gateway ended the stream or aborted it. If the gateway sends no response bodies, every response ends so, and a
    /// client that disconnected cannot be told from one that read everything.
    pub fn close(&mut self) {
        let unseen_body = self.modes().response == BodyMode::Absent;
        let end = if unseen_body && self.response == ResponseHalf::Passing {
            ResponseEnd::Clean
        } else {
            ResponseEnd::ClientGone
        };
        self.finish(end);
        if !matches!(self.request, RequestHalf::Expected) {
            self.conclude(Outcome::Served(Completion::ClientGone), None, Usage::default());
        }
        self.request = RequestHalf::Ended;
        self.response = ResponseHalf::Ended;
    }

    /// The event that the session waits for.
    #[must_use]
    pub const fn waiting_for(&self) -> WaitingFor {
        match &self.request {
            RequestHalf::Buffering(_) => WaitingFor::Body,
            RequestHalf::Placing(_) => WaitingFor::Placement,
            RequestHalf::Expected | RequestHalf::Passing(_) | RequestHalf::Ended => WaitingFor::Message,
        }
    }

    /// Bytes that buffering the request's body takes: those that arrived. What is announced only takes nothing.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        match &self.request {
            RequestHalf::Buffering(_) => self.request_bytes,
            RequestHalf::Placing(_) => self.request_bytes.max(self.held_bytes),
            RequestHalf::Expected | RequestHalf::Passing(_) | RequestHalf::Ended => 0,
        }
    }

    /// Whether the first output token has arrived.
    #[must_use]
    pub const fn first_token_seen(&self) -> bool {
        self.first_token
    }

    /// Whether a streamed response is in progress.
    #[must_use]
    pub fn is_streaming(&self) -> bool {
        self.serving.as_ref().is_some_and(|serving| serving.response.is_stream())
    }

    /// The request's outcome, once.
    pub const fn take_summary(&mut self) -> Option<Summary> {
        self.summary.take()
    }

    fn modes(&self) -> Modes {
        self.modes.unwrap_or_else(|| Modes::assumed(&self.options))
    }

    /// Ends the accounting of a request at its engine.
    fn finish(&mut self, end: ResponseEnd) {
        let Some(Serving { guard, response, origin }) = self.serving.take() else { return };
        let (verdict, endpoint) = (response.end(end), guard.endpoint());
        if origin != Origin::Engine {
            guard.unserved();
            let outcome = match origin {
                Origin::Gateway => Outcome::Rejected(GATEWAY_RESPONSE),
                Origin::Engine | Origin::Unknown => Outcome::Served(verdict.completion),
            };
            return self.conclude(outcome, None, Usage::default());
        }
        if let Some(id) = &verdict.stored_response {
            self.pool.remember_response(id, endpoint);
        }
        guard.finish(verdict.completion, verdict.usage);
        self.conclude(Outcome::Served(verdict.completion), Some(endpoint), verdict.usage);
    }

    /// Sets the request's outcome. Later calls have no effect.
    fn conclude(&mut self, outcome: Outcome, endpoint: Option<EndpointId>, usage: Usage) {
        if !std::mem::replace(&mut self.concluded, true) {
            let Self { status, request_bytes, response_bytes, .. } = *self;
            let summary = Summary { outcome, endpoint, status, usage, request_bytes, response_bytes };
            self.summary = Some(summary);
        }
    }
}
