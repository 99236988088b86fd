//! HTTP responses with uvicorn's headers.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::Body;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use serde::Serialize;

use crate::error::{ApiError, ConnectionAborted};

/// A response body: complete, or a stream of events.
pub(crate) type ResponseBody = UnsyncBoxBody<Bytes, ConnectionAborted>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// 200 with a JSON body.
pub(crate) fn json(value: &impl Serialize) -> Response<ResponseBody> {
    json_bytes(to_json(value))
}

/// 200 with a JSON body that is serialized already.
pub(crate) fn json_bytes(body: Bytes) -> Response<ResponseBody> {
    complete(StatusCode::OK, Some(JSON), body)
}

/// 200 with a text that vLLM sends without a content type, such as the outcome of loading an adapter.
pub(crate) fn untyped(text: impl Into<Bytes>) -> Response<ResponseBody> {
    complete(StatusCode::OK, None, text.into())
}

/// 200 with a page in the Prometheus text format.
pub(crate) fn metrics(page: String) -> Response<ResponseBody> {
    let content_type = HeaderValue::from_static("text/plain; version=1.0.0; charset=utf-8");
    complete(StatusCode::OK, Some(content_type), page.into())
}

/// 200 with server-sent events.
pub(crate) fn event_stream<B>(events: B) -> Response<ResponseBody>
where
    B: Body<Data = Bytes, Error = ConnectionAborted> + Send + 'static,
{
    let content_type = HeaderValue::from_static("text/event-stream; charset=utf-8");
    build(StatusCode::OK, Some(content_type), events.boxed_unsync())
}

/// An error response.
pub(crate) fn error(error: &ApiError) -> Response<ResponseBody> {
    complete(error.status(), Some(JSON), to_json(&error.body()))
}

/// An error response of the web framework: unknown path or wrong method. `allow` lists the methods of the path.
pub(crate) fn framework_error(status: StatusCode, allow: Option<&'static str>) -> Response<ResponseBody> {
    let detail = serde_json::json!({"detail": status.canonical_reason().unwrap_or_default()});
    let mut response = complete(status, Some(JSON), to_json(&detail));
    if let Some(methods) = allow {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
    }
    response
}

/// Serializes a value. Types of this crate have string keys and no fallible serializer, so it does not fail.
pub(crate) fn to_json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}

fn complete(status: StatusCode, content_type: Option<HeaderValue>, body: Bytes) -> Response<ResponseBody> {
    build(status, content_type, Full::new(body).map_err(|never| match never {}).boxed_unsync())
}

fn build(
    status: StatusCode,
    content_type: Option<HeaderValue>,
    body: ResponseBody,
) -> Response<ResponseBody> {
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
