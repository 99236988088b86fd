//! Failures that engines report inside a response.

use crate::lexer::{JsonEvent, Key, digits};

/// The report of an engine that a generation failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StreamFailure {
    /// An `error` object or event.
    Error {
        /// The error's code, where it is an HTTP status from 400 to 599.
        code: Option<u16>,
    },
    /// A choice ended with the reason `abort`.
    Aborted,
    /// A `response.failed` event, or a response with the status `failed`.
    ResponseFailed,
}

impl StreamFailure {
    /// Whether the cause is the request, so that the failure says nothing about the engine's health.
    #[must_use]
    pub fn blames_request(self) -> bool {
        match self {
            Self::Error { code } => code.is_some_and(|code| code < 500),
            Self::Aborted | Self::ResponseFailed => false,
        }
    }
}

/// The HTTP status in an error's `code`, which engines write as a number or a string; `None` for other codes.
pub(crate) fn error_status(code: JsonEvent<'_>) -> Option<u16> {
    let code = match code {
        JsonEvent::Number(value) => value,
        JsonEvent::String(text) => return digits(text).and_then(status).or_else(|| named_status(text)),
        JsonEvent::ObjectStart | JsonEvent::Literal => None,
    };
    code.and_then(status)
}

fn status(code: u64) -> Option<u16> {
    u16::try_from(code).ok().filter(|code| (400..600).contains(code))
}

/// The HTTP status of an error's `type`, or of a `code` in words, where that is one of the client's errors. Anthropic's errors have
/// a type and no code; those of OpenAI's responses have a code in words.
pub(crate) fn named_status(name: &[u8]) -> Option<u16> {
    Some(match name {
        b"invalid_request_error"
        | b"BadRequestError"
        | b"invalid_prompt"
        | b"context_length_exceeded"
        | b"exceed_context_size_error" => 400,
        b"authentication_error" => 401,
        b"permission_error" => 403,
        b"not_found_error" | b"NotFoundError" | b"model_not_found" => 404,
        b"request_too_large" => 413,
        b"rate_limit_error" | b"rate_limit_exceeded" => 429,
        _ => return None,
    })
}

/// Whether a value at or below `error` reports one. Some servers have the field in every answer, and leave it empty.
pub(crate) const fn tells_of_error(path_below: &[Key], value: JsonEvent<'_>) -> bool {
    match value {
        JsonEvent::String(text) => !text.is_empty(),
        JsonEvent::Number(number) => !matches!(number, Some(0)) && !path_below.is_empty(),
        JsonEvent::ObjectStart | JsonEvent::Literal => false,
    }
}
