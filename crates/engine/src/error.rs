//! Errors as vLLM answers them, and connections that end without an answer.

use std::fmt::Display;

use http::StatusCode;
use serde::Serialize;
use thiserror::Error;

/// An injected fault ends the connection; there is no response.
#[derive(Clone, Copy, Debug, Error)]
#[error("an injected fault ends the connection")]
pub(crate) struct ConnectionAborted;

/// The outcome of a request without a successful response.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Aborted(#[from] ConnectionAborted),
}

/// The error types that vLLM distinguishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorType {
    /// The body does not have the form that the API defines.
    BadRequest,
    /// A value is out of range.
    BadRequestError,
    /// An adapter cannot be loaded or unloaded.
    InvalidUserInput,
    /// The model, adapter or stored response does not exist.
    NotFound,
    /// The body is larger than allowed.
    TooLarge,
    /// The engine failed.
    Internal(StatusCode),
}

impl ErrorType {
    fn name_and_status(self) -> (&'static str, StatusCode) {
        match self {
            Self::BadRequest => ("Bad Request", StatusCode::BAD_REQUEST),
            Self::BadRequestError => ("BadRequestError", StatusCode::BAD_REQUEST),
            Self::InvalidUserInput => ("InvalidUserInput", StatusCode::BAD_REQUEST),
            Self::NotFound => ("NotFoundError", StatusCode::NOT_FOUND),
            Self::TooLarge => ("Request Entity Too Large", StatusCode::PAYLOAD_TOO_LARGE),
            Self::Internal(status) => ("InternalServerError", status),
        }
    }
}

/// An error response. Its message may quote names and numbers of a request, never its prompt.
#[derive(Clone, Debug, Error)]
#[error("{message}")]
pub(crate) struct ApiError {
    pub(crate) kind: ErrorType,
    pub(crate) message: String,
    /// The field at fault.
    pub(crate) param: Option<String>,
}

/// The body of an error response, also the data of an error event.
#[derive(Serialize)]
pub(crate) struct ErrorBody<'a> {
    error: ErrorFields<'a>,
}

#[derive(Serialize)]
struct ErrorFields<'a> {
    message: &'a str,
    r#type: &'static str,
    param: Option<&'a str>,
    code: u16,
}

impl ApiError {
    pub(crate) fn new(kind: ErrorType, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), param: None }
    }

    pub(crate) fn with_param(kind: ErrorType, param: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), param: Some(param.into()) }
    }

    /// A value of a parameter that is out of range.
    pub(crate) fn parameter(name: &str, value: impl Display, message: impl Display) -> Self {
        let message = format!("{message} (parameter={name}, value={value})");
        Self::with_param(ErrorType::BadRequestError, name, message)
    }

    /// vLLM's error when its engine core has died.
    pub(crate) fn engine_dead(status: StatusCode) -> Self {
        let message = "EngineCore encountered an issue. See stack trace (above) for the root cause.";
        Self::new(ErrorType::Internal(status), message)
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.kind.name_and_status().1
    }

    pub(crate) fn body(&self) -> ErrorBody<'_> {
        let (r#type, status) = self.kind.name_and_status();
        let (message, param) = (&self.message, self.param.as_deref());
        ErrorBody { error: ErrorFields { message, r#type, param, code: status.as_u16() } }
    }
}
