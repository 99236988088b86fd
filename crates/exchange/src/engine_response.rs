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
}

/// Reader of the response body, by its content-type.
#[derive(Debug)]
enum Body {
    /// The response head has not arrived.
    Pending,
    /// Server-sent events.
    Events(Box<SseScanner>),
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
}

/// Facts learned from one chunk of the response body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkFacts {
    /// The chunk contains the first output token.
    pub first_token: bool,
    /// Output tokens so far. Each event with text counts as one token until `usage` reports the number.
    pub output_tokens: u32,
    /// The chunk contains an error that the engine reports.
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
        Self { api, format, stores, status: StatusCode::OK, body: Body::Pending, output_tokens: 0 }
    }

    /// Reads the response head.
    pub fn head(&mut self, status: StatusCode, headers: &HeaderMap) -> HeadVerdict {
        self.status = status;
        let is = |wanted: &[u8]| media_type(headers).is_some_and(|found| found.eq_ignore_ascii_case(wanted));
        self.body = if self.api.is_none() {
            Body::Opaque
        } else if is(b"text/event-stream") {
            Body::Events(Box::new(SseScanner::new(self.format)))
        } else if is(b"application/json") && !headers.contains_key(header::CONTENT_ENCODING) {
            Body::Json(Box::default())
        } else {
            Body::Opaque
        };
        match status {
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => {
                HeadVerdict::Failure(FailureCause::Unavailable)
            }
            _ => HeadVerdict::Relay,
        }
    }

    /// Whether the body is an event stream.
    #[must_use]
    pub const fn is_stream(&self) -> bool {
        matches!(self.body, Body::Events(_))
    }

    /// Reads the next chunk of the body.
    pub fn chunk(&mut self, chunk: &[u8]) -> ChunkFacts {
        match &mut self.body {
            Body::Events(scanner) => {
                let facts = scanner.push(chunk);
                self.output_tokens = self.output_tokens.saturating_add(facts.token_events);
                ChunkFacts {
                    first_token: facts.first_token,
                    output_tokens: self.output_tokens,
                    failure: facts.failure.and_then(engine_failure),
                }
            }
            Body::Json(reader) => {
                reader.push(chunk);
                ChunkFacts::default()
            }
            Body::Pending | Body::Opaque => ChunkFacts::default(),
        }
    }

    /// Ends the response and returns the request's outcome.
    #[must_use]
    pub fn end(mut self, end: ResponseEnd) -> Verdict {
        let (mut completion, usage, id) = self.read_end();
        match end {
            ResponseEnd::Clean => {}
            ResponseEnd::Failed(cause) => completion = Completion::Broken(cause),
            ResponseEnd::ClientGone => completion = Completion::ClientGone,
        }
        if self.status.is_server_error() && completion == Completion::Complete {
            completion = Completion::Broken(failure_of(self.status));
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
        match &mut self.body {
            Body::Events(scanner) => {
                let (facts, end) = scanner.finish();
                let tokens = self.output_tokens.saturating_add(facts.token_events);
                let completion = match end {
                    StreamEnd::Complete => Completion::Complete,
                    StreamEnd::Failed(failure) => broken(engine_failure(failure)),
                    StreamEnd::Truncated => Completion::Broken(FailureCause::Truncated),
                };
                (completion, usage(scanner.usage(), Some(tokens)), scanner.response_id().map(Into::into))
            }
            Body::Json(reader) => {
                let facts = reader.facts();
                let failure = facts.failure.filter(|_| self.status.is_success()).and_then(engine_failure);
                let truncated = !facts.complete && self.status.is_success();
                let failure = failure.or(truncated.then_some(FailureCause::Truncated));
                (broken(failure), usage(facts.usage, None), facts.id.map(Into::into))
            }
            Body::Pending | Body::Opaque => (Completion::Complete, Usage::default(), None),
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

/// The failure cause of an error in the body; `None` if the error blames the request.
fn engine_failure(failure: StreamFailure) -> Option<FailureCause> {
    (!failure.blames_request()).then_some(FailureCause::EngineError)
}

fn broken(cause: Option<FailureCause>) -> Completion {
    cause.map_or(Completion::Complete, Completion::Broken)
}

fn usage(reported: Option<pointsman_protocol::Usage>, counted: Option<u32>) -> Usage {
    let Some(reported) = reported else {
        return Usage { output_tokens: counted.filter(|tokens| *tokens > 0), ..Usage::default() };
    };
    let narrow = |tokens: u64| u32::try_from(tokens).unwrap_or(u32::MAX);
    Usage {
        prompt_tokens: Some(narrow(reported.prompt_tokens)),
        cached_tokens: reported.cached_tokens.map(narrow),
        output_tokens: Some(narrow(reported.completion_tokens)),
    }
}
