//! The reasons for which Pointsman refuses a request, and the error that the client receives.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use pointsman_core::{FailureCause, Rejection};
use pointsman_protocol::{BodyError, ErrorBody, ErrorShape};

use crate::headers::{REASON, SHOULD_RETRY};

/// Why a request is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The body is not valid JSON for this API.
    Body(BodyError),
    /// The API requires `model` and the body has none.
    MissingModel,
    /// The body must be read, and its content-encoding is not decoded here or does not fit it.
    ContentEncoding,
    /// The body is longer than the limit.
    BodyTooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The body ended before its announced length.
    BodyIncomplete,
    /// The client paused within the body for longer than the timeout.
    BodyTimeout,
    /// The request has too many header fields.
    HeadersTooLarge,
    /// The request has several `host` fields, of which routing and the engine could take different ones.
    SeveralHosts,
    /// The method asks for a tunnel to another host.
    Method,
    /// No route matches.
    NoRoute,
    /// The route has no backend, or none with a weight above 0.
    NoBackend,
    /// The pool serves declared models only, and this model is not declared.
    UndeclaredModel,
    /// The path is an engine's administration path, and no route matches it exactly.
    Administration,
    /// No engine is known to hold the stored response.
    UnknownResponse,
    /// The limit of concurrent requests or of buffered body bytes is reached.
    Busy,
    /// The route's request timeout has passed.
    RequestTimeout,
    /// The scheduler rejected the request.
    Pool(Rejection),
}

/// A refusal as an HTTP response.
#[derive(Clone, Debug)]
pub struct RefusalResponse {
    /// The status.
    pub status: StatusCode,
    /// `content-type`, `x-pointsman-reason`, `x-should-retry: false` where a retry is of no use and, for a status of 429,
    /// `retry-after`.
    pub headers: HeaderMap,
    /// The error in the format of the client's API.
    pub body: Bytes,
}

impl std::error::Error for Refusal {}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message())
    }
}

impl Refusal {
    /// The HTTP status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Body(_) | Self::MissingModel | Self::BodyIncomplete | Self::SeveralHosts => {
                StatusCode::BAD_REQUEST
            }
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
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
                | FailureCause::StaleConnection
                | FailureCause::Unavailable
                | FailureCause::EngineError
                | FailureCause::Truncated
                | FailureCause::Garbage
                | FailureCause::Declined => StatusCode::BAD_GATEWAY,
            },
        }
    }

    /// The value of `x-pointsman-reason` and of the metric label `reason`.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Body(_) => "invalid_body",
            Self::MissingModel => "missing_model",
            Self::ContentEncoding => "content_encoding",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::BodyIncomplete => "body_incomplete",
            Self::BodyTimeout => "body_timeout",
            Self::SeveralHosts => "several_hosts",
            Self::Method => "method",
            Self::HeadersTooLarge => "headers_too_large",
            Self::NoRoute => "no_route",
            Self::NoBackend => "no_backend",
            Self::UndeclaredModel => "undeclared_model",
            Self::Administration => "administration_path",
            Self::UnknownResponse => "unknown_response",
            Self::Busy => "busy",
            Self::RequestTimeout => "request_timeout",
            Self::Pool(rejection) => rejection.as_str(),
        }
    }

    /// The error message. It never contains text of the request.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::Body(error) => error.to_string(),
            Self::MissingModel => {
                "the request body names no model; set \"model\" to one of /v1/models".into()
            }
            Self::ContentEncoding => {
                "the body is not valid in its content-encoding, or that is none of gzip and zstd".into()
            }
            Self::BodyTooLarge { limit } => format!("the request body is longer than {limit} bytes"),
            Self::BodyIncomplete => "the request body ended before its announced length".into(),
            Self::BodyTimeout => "the request body did not arrive within the timeout".into(),
            Self::HeadersTooLarge => "the request has too many header fields".into(),
            Self::SeveralHosts => "the request has more than one host header field".into(),
            Self::Method => "this method is not served here".into(),
            Self::NoRoute => "no route matches this host, path, method and headers".into(),
            Self::NoBackend => "the route for this request has no backend".into(),
            Self::UndeclaredModel => {
                "this pool serves declared models only, and this model is not declared; see /v1/models".into()
            }
            Self::Administration => {
                "an engine's administration path requires a route that matches it exactly".into()
            }
            Self::UnknownResponse => {
                "no engine is known to hold this stored response; it may have expired".into()
            }
            Self::Busy => {
                "the limit of concurrent requests or buffered bytes is reached; try again later".into()
            }
            Self::RequestTimeout => "the request exceeded the timeout of its route".into(),
            Self::Pool(Rejection::Saturated { .. }) => {
                "all engines of the pool are saturated, and this request is sheddable".into()
            }
            Self::Pool(Rejection::NoReadyEndpoint) => "the pool has no ready endpoint".into(),
            Self::Pool(Rejection::EmptySubset) => {
                "none of the endpoints that may serve this request is ready".into()
            }
            Self::Pool(Rejection::AttemptsFailed(cause)) => {
                format!("no attempt succeeded; the last one failed: {}", cause_text(*cause))
            }
        }
    }

    /// The refusal as an HTTP response, in the error format `shape`.
    #[must_use]
    pub fn response(&self, shape: ErrorShape) -> RefusalResponse {
        let status = self.status();
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(REASON, HeaderValue::from_static(self.reason()));
        if !self.may_pass_later() {
            headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        if let Some(delay) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(delay.as_secs().max(1)));
        }
        RefusalResponse { status, headers, body: self.error_body().body(shape) }
    }

    /// The refusal as the last event of a stream that has started, in the error format `shape`.
    #[must_use]
    pub fn event(&self, shape: ErrorShape) -> Bytes {
        self.error_body().event(shape)
    }

    fn error_body(&self) -> ErrorBody {
        let param = match self {
            Self::Body(error) => error.param(),
            Self::MissingModel | Self::UndeclaredModel => Some("model"),
            Self::ContentEncoding
            | Self::BodyTooLarge { .. }
            | Self::BodyIncomplete
            | Self::BodyTimeout
            | Self::HeadersTooLarge
            | Self::SeveralHosts
            | Self::Method
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

    /// Whether the same request may be served later, so that client libraries are left to retry as they do by default.
    const fn may_pass_later(&self) -> bool {
        match self {
            Self::Busy | Self::BodyTimeout | Self::RequestTimeout | Self::Pool(_) => true,
            Self::Body(_)
            | Self::MissingModel
            | Self::ContentEncoding
            | Self::BodyTooLarge { .. }
            | Self::BodyIncomplete
            | Self::HeadersTooLarge
            | Self::SeveralHosts
            | Self::Method
            | Self::NoRoute
            | Self::NoBackend
            | Self::UndeclaredModel
            | Self::Administration
            | Self::UnknownResponse => false,
        }
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
            | Self::SeveralHosts
            | Self::Method
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

/// A failure cause as the end of a sentence.
pub(crate) const fn cause_text(cause: FailureCause) -> &'static str {
    match cause {
        FailureCause::Connect => "the connection could not be opened",
        FailureCause::Tls => "the TLS handshake failed",
        FailureCause::Refused => "the stream was refused",
        FailureCause::Lost => "the connection was lost before the response",
        FailureCause::StaleConnection => "the connection was closed as the request was sent",
        FailureCause::FirstByteTimeout => "the first byte did not arrive within the timeout",
        FailureCause::Unavailable => "it responded that it is unavailable",
        FailureCause::EngineError => "it reported an error",
        FailureCause::Truncated => "the response was truncated",
        FailureCause::Stalled => "the response stalled",
        FailureCause::Garbage => "the response was not valid HTTP",
        FailureCause::Declined => "it declined the request",
    }
}
