//! Observes an engine's response as it passes: output tokens, usage, failures and the end.

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use pointsman_core::{Completion, FailureCause, Rejection, Usage};
use pointsman_protocol::{
    Api, ErrorBody, ErrorShape, JsonScanner, SseScanner, StreamEnd, StreamFailure, StreamFormat,
};

use crate::headers::media_type;
use crate::refusal::{Refusal, cause_text};

/// Observer of one attempt's response. It changes no byte.
#[derive(Debug)]
pub struct EngineResponse {
    api: Option<Api>,
    format: StreamFormat,
    stores: bool,
    status: StatusCode,
    body: Body,
    output_tokens: u32,
    /// Bytes of the body so far.
    bytes: u64,
}

/// The most output tokens that are believed per byte of the response. A token has a byte at least, but reasoning that the
/// client did not ask to see counts too.
const TOKENS_PER_BYTE: u64 = 64;

/// Reader of the response body, by its content-type.
#[derive(Debug)]
enum Body {
    /// The response head has not arrived.
    Pending,
    /// Server-sent events.
    Events(Box<SseScanner>),
    /// Server-sent events in a content-encoding, which are passed and not judged.
    EncodedEvents {
        /// Whether a part of them has come.
        started: bool,
    },
    /// One JSON object.
    Json(Box<JsonScanner>),
    /// Not read.
    Opaque,
}

/// Judgement of a response head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadVerdict {
    /// Pass it on.
    Relay,
    /// The attempt failed for this cause; pass the response on only if the attempt may not be retried.
    Failure(FailureCause),
    /// An error for which the request may be to blame. Pass it on unless another endpoint is to be asked.
    Doubtful(FailureCause),
}

/// Facts learned from one chunk of the response body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkFacts {
    /// The chunk contains the first output token, or is the first of an encoded event stream.
    pub first_token: bool,
    /// Output tokens so far. Each event with text counts as one token until `usage` reports the number.
    pub output_tokens: u32,
    /// The chunk contains an error that the engine reports: [`FailureCause::Declined`] where it blames the request.
    pub failure: Option<FailureCause>,
}

/// End of a response's transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseEnd {
    /// The transport signalled the end of the body.
    Clean,
    /// The transport failed before that, for this cause.
    Failed(FailureCause),
    /// The client disconnected before that.
    ClientGone,
}

/// The outcome of a response that was passed on.
#[derive(Debug)]
pub struct Verdict {
    /// The request's completion.
    pub completion: Completion,
    /// Its token counts.
    pub usage: Usage,
    /// An error event to send to the client, in its API's format, before the connection is aborted.
    pub error_event: Option<Bytes>,
    /// Whether the connection must be aborted, since a normal end would make the response look complete.
    pub abort: bool,
    /// The id under which the engine stored the response.
    pub stored_response: Option<Box<str>>,
}

impl EngineResponse {
    pub(crate) const fn new(api: Option<Api>, format: StreamFormat, stores: bool) -> Self {
        Self { api, format, stores, status: StatusCode::OK, body: Body::Pending, output_tokens: 0, bytes: 0 }
    }

    /// Reads the response head.
    pub fn head(&mut self, status: StatusCode, headers: &HeaderMap) -> HeadVerdict {
        self.status = status;
        let is = |wanted: &[u8]| media_type(headers).is_some_and(|found| found.eq_ignore_ascii_case(wanted));
        let encoded = headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity");
        self.body = if self.api.is_none() {
            Body::Opaque
        } else if is(b"text/event-stream") {
            // An error response is no stream, whatever it says of itself.
            match (status.is_success(), encoded) {
                (true, false) => Body::Events(Box::new(SseScanner::new(self.format))),
                (true, true) => Body::EncodedEvents { started: false },
                (false, _) => Body::Opaque,
            }
        } else if is(b"application/json") && !encoded {
            Body::Json(Box::default())
        } else {
            Body::Opaque
        };
        match status {
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => {
                HeadVerdict::Failure(FailureCause::Unavailable)
            }
            _ if status.is_client_error() => HeadVerdict::Doubtful(FailureCause::Declined),
            _ if status.is_server_error() => HeadVerdict::Doubtful(FailureCause::EngineError),
            _ => HeadVerdict::Relay,
        }
    }

    /// Whether the body is an event stream.
    #[must_use]
    pub const fn is_stream(&self) -> bool {
        matches!(self.body, Body::Events(_) | Body::EncodedEvents { .. })
    }

    /// Whether the body is an event stream to which an event may be added: it can be read, and its end mark has not passed.
    #[must_use]
    pub fn takes_events(&self) -> bool {
        matches!(&self.body, Body::Events(scanner) if !scanner.is_over())
    }

    /// Whether a comment may be added to the body here.
    #[must_use]
    pub fn takes_comments(&self) -> bool {
        matches!(&self.body, Body::Events(scanner) if !scanner.is_over() && scanner.is_between_events())
    }

    /// Whether the body is an event stream whose output has not begun.
    #[must_use]
    pub fn awaits_output(&self) -> bool {
        match &self.body {
            Body::Events(scanner) => {
                self.format != StreamFormat::Unknown && !scanner.has_token() && !scanner.is_over()
            }
            Body::EncodedEvents { started } => !started,
            Body::Pending | Body::Json(_) | Body::Opaque => false,
        }
    }

    /// Whether a body without a byte is none: the call has an answer, and the engine said that this is it.
    #[must_use]
    pub fn owes_content(&self) -> bool {
        let has_format = match &self.body {
            Body::Events(_) => self.format != StreamFormat::Unknown,
            Body::Json(_) | Body::EncodedEvents { .. } => true,
            Body::Pending | Body::Opaque => false,
        };
        has_format && self.status.is_success()
    }

    /// Whether the end mark of an event stream has passed. What happens after it does not matter.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(&self.body, Body::Events(scanner) if scanner.is_over())
    }

    /// Reads the next chunk of the body.
    pub fn chunk(&mut self, chunk: &[u8]) -> ChunkFacts {
        self.bytes = self.bytes.saturating_add(chunk.len() as u64);
        match &mut self.body {
            Body::Events(scanner) => {
                let facts = scanner.push(chunk);
                self.output_tokens = self.output_tokens.saturating_add(facts.token_events);
                ChunkFacts {
                    first_token: facts.first_token,
                    output_tokens: self.output_tokens,
                    failure: facts.failure.map(engine_failure),
                }
            }
            Body::Json(reader) => {
                reader.push(chunk);
                ChunkFacts::default()
            }
            Body::EncodedEvents { started } => {
                let first_token = !chunk.is_empty() && !std::mem::replace(started, true);
                ChunkFacts { first_token, ..ChunkFacts::default() }
            }
            Body::Pending | Body::Opaque => ChunkFacts::default(),
        }
    }

    /// Ends the response and returns the request's outcome.
    #[must_use]
    pub fn end(mut self, end: ResponseEnd) -> Verdict {
        let (mut completion, usage, id) = self.read_end();
        // Clients that have read the end mark may disconnect at once, and engines may not end the transport well. A WebSocket
        // ends when either side closes it.
        let over = self.is_over() || self.status == StatusCode::SWITCHING_PROTOCOLS;
        match end {
            ResponseEnd::Failed(cause) if !over => completion = Completion::Broken(cause),
            ResponseEnd::ClientGone if !over => completion = Completion::ClientGone,
            ResponseEnd::Clean | ResponseEnd::Failed(_) | ResponseEnd::ClientGone => {}
        }
        if self.status.is_server_error() && completion == Completion::Complete {
            completion = Completion::Broken(failure_of(self.status));
        }
        if self.status.is_client_error() && completion == Completion::Complete {
            completion = Completion::Declined;
        }
        let truncated = matches!(
            completion,
            Completion::Broken(
                FailureCause::Truncated
                    | FailureCause::Lost
                    | FailureCause::Stalled
                    | FailureCause::FirstByteTimeout
            )
        );
        let error_event = match (truncated, &self.body, completion) {
            (true, Body::Events(_), Completion::Broken(cause)) => Some(self.error_event(cause)),
            _ => None,
        };
        let stored_response = id.filter(|_| self.stores && self.status.is_success());
        Verdict { completion, usage, error_event, abort: truncated, stored_response }
    }

    fn read_end(&mut self) -> (Completion, Usage, Option<Box<str>>) {
        let most = self.bytes.saturating_mul(TOKENS_PER_BYTE);
        match &mut self.body {
            Body::Events(scanner) => {
                let (facts, end) = scanner.finish();
                let tokens = self.output_tokens.saturating_add(facts.token_events);
                let completion = match end {
                    StreamEnd::Complete => Completion::Complete,
                    StreamEnd::Failed(failure) => completion_of(Some(engine_failure(failure))),
                    StreamEnd::Truncated => Completion::Broken(FailureCause::Truncated),
                };
                (
                    completion,
                    usage(scanner.usage(), Some(tokens), most),
                    scanner.response_id().map(Into::into),
                )
            }
            Body::Json(reader) => {
                let facts = reader.facts();
                let failure = facts.failure.filter(|_| self.status.is_success()).map(engine_failure);
                let truncated = !facts.complete && self.status.is_success();
                let failure = failure.or(truncated.then_some(FailureCause::Truncated));
                (completion_of(failure), usage(facts.usage, None, most), facts.id.map(Into::into))
            }
            Body::Pending | Body::EncodedEvents { .. } | Body::Opaque => {
                (Completion::Complete, Usage::default(), None)
            }
        }
    }

    fn error_event(&self, cause: FailureCause) -> Bytes {
        let status = Refusal::Pool(Rejection::AttemptsFailed(cause)).status().as_u16();
        let message = format!("the engine failed during its response: {}", cause_text(cause));
        ErrorBody::new(status, cause.as_str(), message).event(ErrorShape::of(self.api))
    }
}

const fn failure_of(status: StatusCode) -> FailureCause {
    match status {
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => FailureCause::Unavailable,
        _ => FailureCause::EngineError,
    }
}

/// The failure cause of an error in the body.
fn engine_failure(failure: StreamFailure) -> FailureCause {
    if failure.blames_request() { FailureCause::Declined } else { FailureCause::EngineError }
}

fn completion_of(cause: Option<FailureCause>) -> Completion {
    match cause {
        None => Completion::Complete,
        Some(FailureCause::Declined) => Completion::Declined,
        Some(cause) => Completion::Broken(cause),
    }
}

/// The reported token counts, of which at most `most` output tokens are believed, else the counted ones.
fn usage(reported: Option<pointsman_protocol::Usage>, counted: Option<u32>, most: u64) -> Usage {
    let Some(reported) = reported else {
        return Usage { output_tokens: counted.filter(|tokens| *tokens > 0), ..Usage::default() };
    };
    let narrow = |tokens: u64| u32::try_from(tokens).unwrap_or(u32::MAX);
    Usage {
        prompt_tokens: Some(narrow(reported.prompt_tokens)),
        cached_tokens: reported.cached_tokens.map(narrow),
        output_tokens: Some(narrow(reported.completion_tokens.min(most))),
    }
}
