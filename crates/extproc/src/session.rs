//! One stream of messages: one request and its response.

mod mode;
mod pool;
mod reply;
mod request;
mod response;

use std::sync::Arc;

use http::StatusCode;
use pointsman_core::{Completion, Rejection, RequestFacts, Usage};
use pointsman_exchange::{Answer, AnswerEnd, Limits, Refusal};
use pointsman_protocol::ErrorShape;
use pointsman_telemetry::Outcome;

use crate::address::{self, SubsetHint};
use crate::wire::{Event, ProcessingRequest, ProcessingResponse};

pub use mode::BodyMode;
pub use pool::{Guard, Pool};

use mode::Modes;
use request::{Asked, Held};

/// How sessions treat requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionOptions {
    /// Bounds on requests.
    pub limits: Limits,
    /// Whether objective headers are believed; the gateway in front is the peer, so by default they are.
    pub trust_request_headers: bool,
    /// Name one destination only, for gateways that read the header as a single address.
    pub single_destination: bool,
    /// Let requests to engines' administration paths through.
    pub administration: bool,
    /// How request bodies come where the gateway does not say.
    pub assumed_request_mode: BodyMode,
    /// How response bodies come where the gateway does not say.
    pub assumed_response_mode: BodyMode,
}

impl Default for SessionOptions {
    /// As proposal 004 wants gateways: full duplex both ways.
    fn default() -> Self {
        Self {
            limits: Limits { max_body_bytes: 32 << 20 },
            trust_request_headers: true,
            single_destination: false,
            administration: false,
            assumed_request_mode: BodyMode::FullDuplex,
            assumed_response_mode: BodyMode::FullDuplex,
        }
    }
}

/// What to do after a message.
#[derive(Debug)]
pub enum Next {
    /// Take the next message.
    Read,
    /// Ask the pool, and hand its answer to [`Session::placed`]. Messages may be taken meanwhile.
    Ask(Asking),
    /// Nobody waits for the pool's answer any more: withdraw the request, then take the next message.
    Withdraw,
    /// All is answered: end the stream.
    Over,
    /// Break the stream off; the gateway does what it is configured to do without a picker.
    Broken(OutOfOrder),
}

/// A question to the pool.
#[derive(Clone, Debug)]
pub struct Asking {
    /// What placement depends on.
    pub facts: RequestFacts,
    /// The public model, where the body names one.
    pub model: Option<Arc<str>>,
    /// The model that the engine is asked for.
    pub target: Option<Arc<str>>,
}

/// Messages that no gateway sends, or a mode that this picker does not speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutOfOrder {
    /// Request headers came twice.
    #[error("request headers came twice on one stream")]
    RequestHeadersRepeated,
    /// Response headers came twice.
    #[error("response headers came twice on one stream")]
    ResponseHeadersRepeated,
    /// A piece of the request's body came before its headers.
    #[error("a request body came before its headers; the filter must send request headers")]
    BodyBeforeHeaders,
    /// The filter is configured for a body mode that this picker does not speak.
    #[error("body send mode {0} is not supported; use FULL_DUPLEX_STREAMED or BUFFERED")]
    Mode(i32),
    /// Metadata that cannot be read may limit the choice of endpoints.
    #[error("the metadata of a head cannot be read")]
    Metadata,
    /// More messages came than a gateway has on its way while it waits.
    #[error("too many messages while the request waits for an endpoint")]
    Backlog,
}

/// What the session waits for from outside, each with its own patience.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// The next message may take as long as it likes.
    Unlimited,
    /// The request's body is on its way.
    Body,
    /// The pool holds the request.
    Pool,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// How it ended.
    pub outcome: Outcome,
    /// The status that the client was sent; 0 where none is known.
    pub status: u16,
    /// Token counts.
    pub usage: Usage,
}

/// One stream. Dropping it gives back what the request has reserved; [`Session::close`] also says how it ended.
#[derive(Debug)]
pub struct Session<P: Pool> {
    pool: P,
    options: SessionOptions,
    draw: u64,
    modes: Option<Modes>,
    request: RequestHalf,
    response: ResponseHalf,
    serving: Option<Serving<P::Guard>>,
    shape: ErrorShape,
    status: u16,
    request_bytes: u64,
    response_bytes: u64,
    first_token: bool,
    summary: Option<Summary>,
    concluded: bool,
}

/// Where the request is.
#[derive(Debug)]
enum RequestHalf {
    /// Its headers have not come.
    Expected,
    /// Its body is held until it is whole.
    Holding(Box<Held>),
    /// The pool was asked.
    Asked(Box<Asked>),
    /// The rest of its body passes as it comes.
    Passing,
    /// It is complete, or nobody's business any more.
    Ended,
}

/// Where the response is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ResponseHalf {
    Expected,
    Passing,
    Ended,
}

/// A request that an engine serves.
#[derive(Debug)]
struct Serving<G> {
    guard: G,
    answer: Answer,
}

impl<P: Pool> Session<P> {
    /// A session in front of `pool`. `draw` is the request's own random number.
    #[must_use]
    pub fn new(pool: P, options: SessionOptions, draw: u64) -> Self {
        Self {
            pool,
            options,
            draw,
            modes: None,
            request: RequestHalf::Expected,
            response: ResponseHalf::Expected,
            serving: None,
            shape: ErrorShape::OpenAi,
            status: 0,
            request_bytes: 0,
            response_bytes: 0,
            first_token: false,
            summary: None,
            concluded: false,
        }
    }

    /// Takes the next message and puts the answers that are due into `out`.
    pub fn message(&mut self, message: ProcessingRequest, out: &mut Vec<ProcessingResponse>) -> Next {
        if self.modes.is_none() {
            match Modes::of(message.protocol_config.as_ref(), &self.options) {
                Ok(modes) => self.modes = Some(modes),
                Err(mode) => return Next::Broken(OutOfOrder::Mode(mode)),
            }
        }
        if message.observability_mode {
            return Next::Read; // Nobody reads answers, so nothing that is decided could have an effect.
        }
        let metadata = match &message.request {
            Some(Event::RequestHeaders(_) | Event::ResponseHeaders(_)) => match message.metadata() {
                Ok(metadata) => metadata,
                Err(_) => return Next::Broken(OutOfOrder::Metadata),
            },
            Some(
                Event::RequestBody(_)
                | Event::RequestTrailers(_)
                | Event::ResponseBody(_)
                | Event::ResponseTrailers(_),
            )
            | None => None,
        };
        let Some(event) = message.request else { return Next::Read };
        if let RequestHalf::Asked(asked) = &mut self.request {
            return match event {
                Event::ResponseHeaders(_) | Event::ResponseBody(_) | Event::ResponseTrailers(_) => {
                    self.request = RequestHalf::Ended;
                    self.respond(event, None, out);
                    Next::Withdraw
                }
                Event::RequestHeaders(_) => Next::Broken(OutOfOrder::RequestHeadersRepeated),
                Event::RequestBody(_) | Event::RequestTrailers(_) => asked.keep(event),
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
                self.respond(event, served, out)
            }
        }
    }

    /// The pool's answer to [`Next::Ask`].
    pub fn placed(&mut self, answer: Result<P::Guard, Rejection>, out: &mut Vec<ProcessingResponse>) -> Next {
        match answer {
            Ok(guard) => self.dispatched(guard, out),
            Err(rejection) => self.refuse(&Refusal::Pool(rejection), out),
        }
    }

    /// Answers the client with a refusal, if the request still waits for an answer.
    pub fn refuse(&mut self, refusal: &Refusal, out: &mut Vec<ProcessingResponse>) -> Next {
        self.request = RequestHalf::Ended;
        self.response = ResponseHalf::Ended;
        out.push(reply::refusal(refusal, self.shape));
        self.status = refusal.status().as_u16();
        self.conclude(Outcome::Rejected(refusal.reason()), Usage::default());
        Next::Over
    }

    /// The stream is over, by the gateway's word or because it broke. Where the gateway sends no response bodies, that
    /// is how every response ends, and it cannot be told whether the client took all of it.
    pub fn close(&mut self) {
        let seen_no_body = self.modes().response == BodyMode::Absent;
        let end = if seen_no_body && self.response == ResponseHalf::Passing {
            AnswerEnd::Clean
        } else {
            AnswerEnd::ClientGone
        };
        self.finish(end);
        if !matches!(self.request, RequestHalf::Expected) {
            self.conclude(Outcome::Served(Completion::ClientGone), Usage::default());
        }
        self.request = RequestHalf::Ended;
        self.response = ResponseHalf::Ended;
    }

    /// What the session waits for.
    #[must_use]
    pub const fn patience(&self) -> Patience {
        match &self.request {
            RequestHalf::Holding(_) => Patience::Body,
            RequestHalf::Asked(_) => Patience::Pool,
            RequestHalf::Expected | RequestHalf::Passing | RequestHalf::Ended => Patience::Unlimited,
        }
    }

    /// Bytes of the request's body that are held now: those that came, or those that were announced.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        match &self.request {
            RequestHalf::Holding(held) => held.announced().max(self.request_bytes),
            RequestHalf::Asked(_) => self.request_bytes,
            RequestHalf::Expected | RequestHalf::Passing | RequestHalf::Ended => 0,
        }
    }

    /// Bytes of the request's body that came.
    #[must_use]
    pub const fn request_bytes(&self) -> u64 {
        self.request_bytes
    }

    /// Bytes of the response's body that came.
    #[must_use]
    pub const fn response_bytes(&self) -> u64 {
        self.response_bytes
    }

    /// Whether the first output token was seen.
    #[must_use]
    pub const fn first_token_seen(&self) -> bool {
        self.first_token
    }

    /// Whether a streamed answer is under way.
    #[must_use]
    pub fn is_streaming(&self) -> bool {
        self.serving.as_ref().is_some_and(|serving| serving.answer.is_stream())
    }

    /// What became of the request, once.
    pub const fn take_summary(&mut self) -> Option<Summary> {
        self.summary.take()
    }

    fn modes(&self) -> Modes {
        self.modes.unwrap_or_else(|| Modes::assumed(&self.options))
    }

    /// Ends the accounting of a request that an engine serves.
    fn finish(&mut self, end: AnswerEnd) {
        let Some(Serving { guard, answer }) = self.serving.take() else { return };
        let verdict = answer.end(end);
        if let Some(id) = &verdict.stored_response {
            self.pool.stored(id, guard.endpoint());
        }
        guard.finish(verdict.completion, verdict.usage);
        self.conclude(Outcome::Served(verdict.completion), verdict.usage);
    }

    /// The first conclusion stands.
    fn conclude(&mut self, outcome: Outcome, usage: Usage) {
        if !std::mem::replace(&mut self.concluded, true) {
            self.summary = Some(Summary { outcome, status: self.status, usage });
        }
    }
}

/// The status in a response's pseudo-header.
fn status(text: &[u8]) -> Option<StatusCode> {
    StatusCode::from_bytes(text).ok()
}
