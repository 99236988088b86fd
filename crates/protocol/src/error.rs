//! Failures of ours in the shape that the client's library expects.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::api::{Api, Grammar};

/// What a failure says to the client, in no API's shape yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorBody {
    /// The HTTP status.
    pub status: u16,
    /// OpenAI's `type`: `invalid_request_error`, `rate_limit_error`, …
    pub kind: &'static str,
    /// A word for programs.
    pub code: &'static str,
    /// A sentence for people; never content of a request.
    pub message: String,
    /// The field at fault.
    pub param: Option<&'static str>,
}

/// The families of error shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorShape {
    /// `{"error": {"message", "type", "param", "code"}}`, also for APIs that define no shape.
    OpenAi,
    /// OpenAI's responses: the same as a body; as an event `{"type": "error", "code", "message", "param"}`.
    Responses,
    /// `{"type": "error", "error": {"type", "message"}}`.
    Anthropic,
}

impl ErrorShape {
    /// The shape for an API; `None` is a path that is no inference API.
    #[must_use]
    pub fn of(api: Option<Api>) -> Self {
        match api {
            Some(Api::Messages | Api::CountTokens) => Self::Anthropic,
            Some(Api::Responses) => Self::Responses,
            Some(
                Api::Completions
                | Api::ChatCompletions
                | Api::Embeddings
                | Api::Score
                | Api::Rerank
                | Api::Pooling
                | Api::Classify
                | Api::Tokenize
                | Api::Detokenize
                | Api::Generate
                | Api::Render,
            )
            | None => Self::OpenAi,
        }
    }

    /// The shape for a stream's grammar.
    #[must_use]
    pub fn of_stream(grammar: Grammar) -> Self {
        match grammar {
            Grammar::Messages => Self::Anthropic,
            Grammar::Responses => Self::Responses,
            Grammar::Completions | Grammar::ChatCompletions | Grammar::Generate | Grammar::Unknown => {
                Self::OpenAi
            }
        }
    }
}

/// OpenAI's `type` for an HTTP status of ours.
#[must_use]
pub fn openai_kind(status: u16) -> &'static str {
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

/// Anthropic's `error.type` for an HTTP status (their API's list of errors).
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
    /// An error whose `type` follows from its status.
    #[must_use]
    pub fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind: openai_kind(status), code, message: message.into(), param: None }
    }

    /// The same, naming the field at fault.
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

    /// The last event of a stream that has begun. What broke may have broken inside a line, so it starts
    /// with a blank one, which ends an unfinished event and means nothing otherwise. `[DONE]` never follows.
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
            "type": self.kind,
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
