//! Watching an engine's answer: what it says of tokens, and how it ended.

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use pointsman_core::{Completion, FailureCause, Rejection, Usage};
use pointsman_protocol::{
    Api, ErrorBody, ErrorShape, Grammar, SseScanner, StreamEnd, StreamFailure, UsageReader,
};

use crate::refusal::{Refusal, cause_text};

/// The answer of one attempt, watched as it passes. It never changes a byte.
#[derive(Debug)]
pub struct Answer {
    api: Option<Api>,
    grammar: Grammar,
    stores: bool,
    status: StatusCode,
    body: Body,
    output_tokens: u32,
}

/// How the body is read.
#[derive(Debug)]
enum Body {
    /// The head has not come.
    Unknown,
    /// Server-sent events.
    Events(Box<SseScanner>),
    /// One JSON object.
    Reply(Box<UsageReader>),
    /// Not read.
    Opaque,
}

/// What to do with an answer of which the head has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadVerdict {
    /// Pass it on.
    Relay,
    /// It is a failure of this kind; pass it on only where the attempt may not be repeated.
    Failure(FailureCause),
}

/// What one piece of the body added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkFacts {
    /// The first output token is in this piece.
    pub first_token: bool,
    /// Output tokens so far; one event counts as one token until `usage` tells better.
    pub output_tokens: u32,
    /// The engine reports a failure in this piece.
    pub failure: Option<FailureCause>,
}

/// How the transport of an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerEnd {
    /// By the protocol's own end mark.
    Clean,
    /// For this cause, short of it.
    Failed(FailureCause),
    /// The client went away first.
    ClientGone,
}

/// The outcome of an answer that was passed on.
#[derive(Debug)]
pub struct Verdict {
    /// How the request ended.
    pub completion: Completion,
    /// Its token counts.
    pub usage: Usage,
    /// One error event for the client, in its API's shape; the connection is to be broken off after it.
    pub last_event: Option<Bytes>,
    /// The connection must not end as if the answer were whole.
    pub break_off: bool,
    /// The id under which the engine stored the response.
    pub stored_response: Option<Box<str>>,
}

impl Answer {
    pub(crate) const fn new(api: Option<Api>, grammar: Grammar, stores: bool) -> Self {
        Self { api, grammar, stores, status: StatusCode::OK, body: Body::Unknown, output_tokens: 0 }
    }

    /// Takes the head.
    pub fn head(&mut self, status: StatusCode, headers: &HeaderMap) -> HeadVerdict {
        self.status = status;
        self.body = if self.api.is_none() {
            Body::Opaque
        } else if is_media_type(headers, b"text/event-stream") {
            Body::Events(Box::new(SseScanner::new(self.grammar)))
        } else if is_media_type(headers, b"application/json")
            && !headers.contains_key(header::CONTENT_ENCODING)
        {
            Body::Reply(Box::default())
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

    /// Whether the body is an event stream, whose pace is worth watching.
    #[must_use]
    pub const fn is_stream(&self) -> bool {
        matches!(self.body, Body::Events(_))
    }

    /// Takes the next piece of the body.
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
            Body::Reply(reader) => {
                reader.push(chunk);
                ChunkFacts::default()
            }
            Body::Unknown | Body::Opaque => ChunkFacts::default(),
        }
    }

    /// The answer has ended: what became of the request.
    #[must_use]
    pub fn end(mut self, end: AnswerEnd) -> Verdict {
        let (mut completion, usage, id) = self.read_end();
        match end {
            AnswerEnd::Clean => {}
            AnswerEnd::Failed(cause) => completion = Completion::Broken(cause),
            AnswerEnd::ClientGone => completion = Completion::ClientGone,
        }
        if self.status.is_server_error() && completion == Completion::Complete {
            completion = Completion::Broken(failure_of(self.status));
        }
        let cut_short = matches!(
            completion,
            Completion::Broken(
                FailureCause::Truncated
                    | FailureCause::Lost
                    | FailureCause::Stalled
                    | FailureCause::FirstByteTimeout
            )
        );
        let last_event = match (cut_short, &self.body, completion) {
            (true, Body::Events(_), Completion::Broken(cause)) => Some(self.error_event(cause)),
            _ => None,
        };
        let stored_response = id.filter(|_| self.stores && self.status.is_success());
        Verdict { completion, usage, last_event, break_off: cut_short, stored_response }
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
            Body::Reply(reader) => {
                let facts = reader.facts();
                let failure = facts.failure.filter(|_| self.status.is_success()).and_then(engine_failure);
                let half = !facts.complete && self.status.is_success();
                let failure = failure.or(half.then_some(FailureCause::Truncated));
                (broken(failure), usage(facts.usage, None), facts.id.map(Into::into))
            }
            Body::Unknown | Body::Opaque => (Completion::Complete, Usage::default(), None),
        }
    }

    fn error_event(&self, cause: FailureCause) -> Bytes {
        let status = Refusal::Pool(Rejection::AttemptsFailed(cause)).status().as_u16();
        let message = format!("the model server failed in the middle of its answer: {}", cause_text(cause));
        ErrorBody::new(status, cause.as_str(), message).event(ErrorShape::of(self.api))
    }
}

const fn failure_of(status: StatusCode) -> FailureCause {
    match status {
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => FailureCause::Unavailable,
        _ => FailureCause::EngineError,
    }
}

/// The failure that counts against the endpoint: an error that blames the request does not.
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

fn is_media_type(headers: &HeaderMap, essence: &[u8]) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| {
        let value = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        value.trim_ascii().eq_ignore_ascii_case(essence)
    })
}
