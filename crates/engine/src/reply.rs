//! What the server answers with: whole bodies, event streams, and errors in vLLM's shape.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use thiserror::Error;

use crate::stream::EventStream;

/// The connection is to be broken off; there is no answer.
#[derive(Clone, Copy, Debug, Error)]
#[error("the connection is broken off on order")]
pub(crate) struct Broken;

/// A response body.
pub(crate) enum Reply {
    /// Known in full.
    Whole(Option<Bytes>),
    /// Server-sent events as the engine produces them.
    Events(Box<EventStream>),
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            Self::Whole(body) => Poll::Ready(body.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Events(stream) => stream.poll_event(context).map(|event| Some(event?.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_none(),
            Self::Events(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => SizeHint::with_exact(body.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Events(_) => SizeHint::default(),
        }
    }
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream; charset=utf-8");
const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=1.0.0; charset=utf-8");

fn response(status: StatusCode, content_type: Option<HeaderValue>, body: Reply) -> Response<Reply> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::SERVER, HeaderValue::from_static("uvicorn"));
    if let Some(content_type) = content_type {
        headers.insert(header::CONTENT_TYPE, content_type);
    }
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    response
}

/// 200 with a JSON text.
pub(crate) fn json(text: String) -> Response<Reply> {
    response(StatusCode::OK, Some(JSON), Reply::Whole(Some(text.into())))
}

/// 200 with a text that vLLM sends without a content type: an adapter loaded or unloaded, or nothing at all.
pub(crate) fn plain(text: String) -> Response<Reply> {
    let body = (!text.is_empty()).then(|| text.into());
    response(StatusCode::OK, None, Reply::Whole(body))
}

/// 200 with a metrics page.
pub(crate) fn metrics(page: String) -> Response<Reply> {
    response(StatusCode::OK, Some(METRICS), Reply::Whole(Some(page.into())))
}

/// 200 with a stream of events.
pub(crate) fn events(stream: EventStream) -> Response<Reply> {
    response(StatusCode::OK, Some(EVENTS), Reply::Events(Box::new(stream)))
}

/// Any other answer of the web framework itself: unknown path, wrong method.
pub(crate) fn detail(status: StatusCode, allow: Option<&'static str>) -> Response<Reply> {
    let text = format!(r#"{{"detail":"{}"}}"#, status.canonical_reason().unwrap_or_default());
    let mut response = response(status, Some(JSON), Reply::Whole(Some(text.into())));
    if let Some(methods) = allow {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
    }
    response
}

/// The types of error that vLLM tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorType {
    /// The request's form is wrong.
    BadRequest,
    /// A value is out of range.
    BadRequestError,
    /// An adapter request that makes no sense.
    InvalidUserInput,
    /// No such model, adapter or response.
    NotFound,
    /// The body is larger than allowed.
    TooLarge,
    /// The engine failed.
    Internal(StatusCode),
}

impl ErrorType {
    fn name(self) -> &'static str {
        match self {
            Self::BadRequest => "Bad Request",
            Self::BadRequestError => "BadRequestError",
            Self::InvalidUserInput => "InvalidUserInput",
            Self::NotFound => "NotFoundError",
            Self::TooLarge => "Request Entity Too Large",
            Self::Internal(_) => "InternalServerError",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::BadRequest | Self::BadRequestError | Self::InvalidUserInput => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Internal(status) => status,
        }
    }
}

/// An error answer. Its message may quote names and numbers of a request, never its prompt.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    pub(crate) kind: ErrorType,
    pub(crate) message: String,
    pub(crate) param: Option<String>,
}

impl ApiError {
    pub(crate) fn new(kind: ErrorType, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), param: None }
    }

    pub(crate) fn about(kind: ErrorType, param: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), param: Some(param.into()) }
    }

    /// `{"error":{"message","type","param","code"}}`, the code numeric.
    pub(crate) fn json(&self) -> String {
        let message = quoted(&self.message);
        let param = self.param.as_deref().map_or_else(|| "null".to_owned(), quoted);
        let (kind, code) = (self.kind.name(), self.kind.status().as_u16());
        format!(r#"{{"error":{{"message":{message},"type":"{kind}","param":{param},"code":{code}}}}}"#)
    }

    pub(crate) fn into_response(self) -> Response<Reply> {
        response(self.kind.status(), Some(JSON), Reply::Whole(Some(self.json().into())))
    }
}

/// A string as JSON.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
