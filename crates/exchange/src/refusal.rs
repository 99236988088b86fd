//! Every way in which Pointsman itself says no, and what the client is told.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use pointsman_core::{FailureCause, Rejection};
use pointsman_protocol::{BodyError, ErrorBody, ErrorShape};

use crate::headers::{REASON, SHOULD_RETRY};

/// Why a request is not served. Closed: status, reason and metric label are each one exhaustive match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The body is not the JSON that this API takes.
    Body(BodyError),
    /// The API needs `model`, and the body has none.
    MissingModel,
    /// The body came in an encoding other than identity, and would have to be read.
    ContentEncoding,
    /// The body is longer than the limit, in bytes.
    BodyTooLarge {
        /// The limit.
        limit: u64,
    },
    /// The body ended before its announced length.
    BodyIncomplete,
    /// The body did not come in time.
    BodyTimeout,
    /// More headers or longer ones than are taken.
    HeadersTooLarge,
    /// No route matches.
    NoRoute,
    /// The route leads nowhere: its backends are missing or have no weight.
    NoBackend,
    /// The pool serves declared models only.
    UndeclaredModel,
    /// An engine's administration path that no route names exactly.
    Administration,
    /// A stored response that no engine is known to hold.
    UnknownResponse,
    /// The gateway holds as much as it may: bytes of bodies, or requests.
    Busy,
    /// The whole request's time budget is spent.
    RequestTimeout,
    /// The pool's answer.
    Pool(Rejection),
}

/// A refusal as HTTP.
#[derive(Clone, Debug)]
pub struct RefusalAnswer {
    /// The status.
    pub status: StatusCode,
    /// `content-type`, `x-pointsman-reason`, `x-should-retry` and, where it helps, `retry-after`.
    pub headers: HeaderMap,
    /// The error in the shape of the client's API.
    pub body: Bytes,
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        Self::Pool(rejection)
    }
}

impl Refusal {
    /// The HTTP status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Body(_) | Self::MissingModel | Self::BodyIncomplete => StatusCode::BAD_REQUEST,
            Self::ContentEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::NoRoute | Self::UndeclaredModel | Self::Administration | Self::UnknownResponse => {
                StatusCode::NOT_FOUND
            }
            Self::NoBackend => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Busy | Self::Pool(Rejection::Saturated { .. }) => StatusCode::TOO_MANY_REQUESTS,
            Self::RequestTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Pool(Rejection::NoReadyEndpoint | Rejection::EmptySubset) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Pool(Rejection::AttemptsFailed(cause)) => match cause {
                FailureCause::FirstByteTimeout | FailureCause::Stalled => StatusCode::GATEWAY_TIMEOUT,
                FailureCause::Connect
                | FailureCause::Tls
                | FailureCause::Refused
                | FailureCause::Lost
                | FailureCause::Unavailable
                | FailureCause::EngineError
                | FailureCause::Truncated
                | FailureCause::Garbage => StatusCode::BAD_GATEWAY,
            },
        }
    }

    /// The word in `x-pointsman-reason` and in metric labels.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Body(_) => "invalid_body",
            Self::MissingModel => "missing_model",
            Self::ContentEncoding => "content_encoding",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::BodyIncomplete => "body_incomplete",
            Self::BodyTimeout => "body_timeout",
            Self::HeadersTooLarge => "headers_too_large",
            Self::NoRoute => "no_route",
            Self::NoBackend => "no_backend",
            Self::UndeclaredModel => "undeclared_model",
            Self::Administration => "administration_path",
            Self::UnknownResponse => "unknown_response",
            Self::Busy => "busy",
            Self::RequestTimeout => "request_timeout",
            Self::Pool(Rejection::Saturated { .. }) => "saturated",
            Self::Pool(Rejection::NoReadyEndpoint) => "no_ready_endpoint",
            Self::Pool(Rejection::EmptySubset) => "empty_subset",
            Self::Pool(Rejection::AttemptsFailed(cause)) => cause.as_str(),
        }
    }

    /// A sentence for the person who reads it. Never any of the request's own text.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::Body(error) => error.to_string(),
            Self::MissingModel => {
                "the request body names no model; set \"model\" to one of /v1/models".into()
            }
            Self::ContentEncoding => {
                "request bodies are read as they come; send this one without content-encoding".into()
            }
            Self::BodyTooLarge { limit } => format!("the request body is longer than {limit} bytes"),
            Self::BodyIncomplete => "the request body ended before its announced length".into(),
            Self::BodyTimeout => "the request body did not arrive in time".into(),
            Self::HeadersTooLarge => "too many request headers, or too long ones".into(),
            Self::NoRoute => "no route matches this host, path, method and headers".into(),
            Self::NoBackend => "the route for this request has no backend".into(),
            Self::UndeclaredModel => {
                "this pool serves declared models only, and this model is not declared; see /v1/models".into()
            }
            Self::Administration => {
                "an engine's administration path is reachable only by a route that names it exactly".into()
            }
            Self::UnknownResponse => {
                "no engine is known to hold this stored response; it may have expired".into()
            }
            Self::Busy => "the gateway holds as many requests as it may; try again later".into(),
            Self::RequestTimeout => "the request ran out of the time its route allows".into(),
            Self::Pool(Rejection::Saturated { .. }) => {
                "all model servers of the pool are saturated, and this request's priority gives way".into()
            }
            Self::Pool(Rejection::NoReadyEndpoint) => "the pool has no ready endpoint".into(),
            Self::Pool(Rejection::EmptySubset) => {
                "no endpoint that this request is limited to is ready".into()
            }
            Self::Pool(Rejection::AttemptsFailed(cause)) => {
                format!("no model server could answer; the last attempt failed: {}", cause_text(*cause))
            }
        }
    }

    /// The refusal as an HTTP answer in the given API's shape.
    #[must_use]
    pub fn answer(&self, shape: ErrorShape) -> RefusalAnswer {
        let status = self.status();
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(REASON, HeaderValue::from_static(self.reason()));
        headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        if let Some(span) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(span.as_secs().max(1)));
        }
        RefusalAnswer { status, headers, body: self.error_body().body(shape) }
    }

    /// The refusal as an error object.
    fn error_body(&self) -> ErrorBody {
        let param = match self {
            Self::Body(error) => error.param(),
            Self::MissingModel | Self::UndeclaredModel => Some("model"),
            Self::ContentEncoding
            | Self::BodyTooLarge { .. }
            | Self::BodyIncomplete
            | Self::BodyTimeout
            | Self::HeadersTooLarge
            | Self::NoRoute
            | Self::NoBackend
            | Self::Administration
            | Self::UnknownResponse
            | Self::Busy
            | Self::RequestTimeout
            | Self::Pool(_) => None,
        };
        ErrorBody::new(self.status().as_u16(), self.reason(), self.message()).with_param(param)
    }

    const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Pool(Rejection::Saturated { retry_after }) => Some(*retry_after),
            Self::Busy => Some(Duration::from_secs(1)),
            Self::Body(_)
            | Self::MissingModel
            | Self::ContentEncoding
            | Self::BodyTooLarge { .. }
            | Self::BodyIncomplete
            | Self::BodyTimeout
            | Self::HeadersTooLarge
            | Self::NoRoute
            | Self::NoBackend
            | Self::UndeclaredModel
            | Self::Administration
            | Self::UnknownResponse
            | Self::RequestTimeout
            | Self::Pool(
                Rejection::NoReadyEndpoint | Rejection::EmptySubset | Rejection::AttemptsFailed(_),
            ) => None,
        }
    }
}

/// The cause in words.
pub(crate) const fn cause_text(cause: FailureCause) -> &'static str {
    match cause {
        FailureCause::Connect => "it took no connection",
        FailureCause::Tls => "the TLS handshake failed",
        FailureCause::Refused => "it refused the stream",
        FailureCause::Lost => "the connection was lost before the answer",
        FailureCause::FirstByteTimeout => "no answer came in time",
        FailureCause::Unavailable => "it answered that it is unavailable",
        FailureCause::EngineError => "it reported an error of its own",
        FailureCause::Truncated => "the answer broke off",
        FailureCause::Stalled => "the response stalled",
        FailureCause::Garbage => "the answer was no HTTP",
    }
}
