//! Error responses in the shape that the client's API defines.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::api::Api;

/// The content of an error response, independent of an API's shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorBody {
    /// The HTTP status.
    pub status: u16,
    /// A machine-readable reason.
    pub code: &'static str,
    /// A message for people, without content of the request.
    pub message: String,
    /// The field that caused the error.
    pub param: Option<&'static str>,
}

/// The error shapes of the APIs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorShape {
    /// `{"error": {"message", "type", "param", "code"}}`; also used for APIs without a shape of their own.
    OpenAi,
    /// OpenAI's responses: the same as a body, and `{"type": "error", "code", "message", "param"}` as an event.
    Responses,
    /// `{"type": "error", "error": {"type", "message"}}`.
    Anthropic,
}

impl ErrorShape {
    /// The shape of an API; `None` is a path outside the inference APIs.
    #[must_use]
    pub fn of(api: Option<Api>) -> Self {
        match api {
            Some(Api::Messages | Api::CountTokens) => Self::Anthropic,
            Some(Api::Responses) => Self::Responses,
            Some(_) | None => Self::OpenAi,
        }
    }
}

/// OpenAI's `type` of an HTTP status.
fn openai_kind(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        503 => "service_unavailable",
        504 => "timeout_error",
        _ => "server_error",
    }
}

/// Anthropic's `error.type` of an HTTP status, from the list of errors in their API reference.
fn anthropic_kind(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        503 | 529 => "overloaded_error",
        504 => "timeout_error",
        _ => "api_error",
    }
}

impl ErrorBody {
    /// An error; its status gives the `type`.
    #[must_use]
    pub fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), param: None }
    }

    /// Sets the field that caused the error.
    #[must_use]
    pub fn with_param(mut self, param: Option<&'static str>) -> Self {
        self.param = param;
        self
    }

    /// A JSON response body (`application/json`).
    #[must_use]
    pub fn body(&self, shape: ErrorShape) -> Bytes {
        let value = match shape {
            ErrorShape::OpenAi | ErrorShape::Responses => self.openai(),
            ErrorShape::Anthropic => self.anthropic(),
        };
        Bytes::from(value.to_string())
    }

    /// The last event of a stream that has begun. It starts with a blank line, because the stream may have broken off
    /// within a line: the blank line ends an unfinished event and is ignored otherwise. `[DONE]` does not follow.
    #[must_use]
    pub fn event(&self, shape: ErrorShape) -> Bytes {
        let text = match shape {
            ErrorShape::OpenAi => format!("\n\ndata: {}\n\n", self.openai()),
            ErrorShape::Responses => {
                let value = json!({
                    "type": "error",
                    "code": self.code,
                    "message": self.message,
                    "param": self.param,
                });
                format!("\n\nevent: error\ndata: {value}\n\n")
            }
            ErrorShape::Anthropic => format!("\n\nevent: error\ndata: {}\n\n", self.anthropic()),
        };
        Bytes::from(text)
    }

    fn openai(&self) -> Value {
        json!({"error": {
            "message": self.message,
            "type": openai_kind(self.status),
            "param": self.param,
            "code": self.code,
        }})
    }

    fn anthropic(&self) -> Value {
        json!({"type": "error", "error": {
            "type": anthropic_kind(self.status),
            "message": self.message,
        }})
    }
}
