//! Failures that engines report inside a response.

use crate::lexer::{JsonEvent, digits};

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
        JsonEvent::String(text) => digits(text),
        JsonEvent::ObjectStart | JsonEvent::Literal => None,
    };
    code.and_then(|code| u16::try_from(code).ok()).filter(|code| (400..600).contains(code))
}
