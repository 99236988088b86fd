//! One export request on its way to the collector, over gRPC or HTTP.

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use prost::Message as _;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::metadata::MetadataMap;
use tonic::{Code, Extensions, Status};
use tonic_prost::ProstCodec;

use super::error::OtlpError;
use super::options::{OtlpOptions, Protocol};
use super::otlp::{EXPORT_METHOD, ExportTraceServiceRequest, ExportTraceServiceResponse};
use super::tls;

/// Limit on the bytes of a collector's HTTP response.
const MAX_RESPONSE: usize = 64 << 10;

/// Why a request was not accepted.
#[derive(Debug)]
pub(super) enum ExportError {
    /// The collector or the connection to it is down; the request may be retried.
    Unavailable(String),
    /// The collector will not accept this request.
    Refused(String),
}

type Exported = Result<ExportTraceServiceResponse, ExportError>;

/// A client of one collector; connections are kept between requests.
#[derive(Debug)]
pub(super) struct Transport {
    client: Client<HttpsConnector<HttpConnector>, Body>,
    protocol: Protocol,
    endpoint: Uri,
    headers: HeaderMap,
}

impl Transport {
    pub(super) fn new(options: &OtlpOptions) -> Result<Self, OtlpError> {
        let config = match options.endpoint.scheme_str() {
            Some("https") => options.tls.client_config()?,
            Some(_) | None => tls::unused_config()?,
        };
        let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http();
        let (connector, http2_only) = match options.protocol {
            Protocol::Grpc => (connector.enable_http2().build(), true),
            Protocol::HttpProtobuf => (connector.enable_all_versions().build(), false),
        };
        let mut headers = options.headers.clone();
        let agent = HeaderValue::from_static(concat!("pointsman/", env!("CARGO_PKG_VERSION")));
        headers.insert(header::USER_AGENT, agent);
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).http2_only(http2_only).build(connector),
            protocol: options.protocol,
            endpoint: options.endpoint.clone(),
            headers,
        })
    }

    pub(super) async fn export(&self, request: &ExportTraceServiceRequest) -> Exported {
        match self.protocol {
            Protocol::Grpc => self.call(request).await,
            Protocol::HttpProtobuf => self.post(request).await,
        }
    }

    async fn call(&self, request: &ExportTraceServiceRequest) -> Exported {
        let metadata = MetadataMap::from_headers(self.headers.clone());
        let request = tonic::Request::from_parts(metadata, Extensions::default(), request.clone());
        let mut grpc = Grpc::with_origin(self.client.clone(), self.endpoint.clone());
        let called = grpc.unary(request, PathAndQuery::from_static(EXPORT_METHOD), ProstCodec::default());
        called.await.map(tonic::Response::into_inner).map_err(|status| {
            let reason = format!("{:?}: {}", status.code(), status.message());
            let error = if is_retryable(&status) { ExportError::Unavailable } else { ExportError::Refused };
            error(reason)
        })
    }

    async fn post(&self, request: &ExportTraceServiceRequest) -> Exported {
        let mut post = Request::new(Body::new(Full::new(Bytes::from(request.encode_to_vec()))));
        *post.method_mut() = Method::POST;
        *post.uri_mut() = self.endpoint.clone();
        *post.headers_mut() = self.headers.clone();
        let protobuf = HeaderValue::from_static("application/x-protobuf");
        post.headers_mut().insert(header::CONTENT_TYPE, protobuf);
        let response = self.client.request(post).await;
        let response = response.map_err(|error| ExportError::Unavailable(with_source(&error)))?;
        let status = response.status();
        // Read to the end, so that the connection can be used again.
        let body = Limited::new(response.into_body(), MAX_RESPONSE).collect().await;
        if status.is_success() {
            let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            return Ok(ExportTraceServiceResponse::decode(body).unwrap_or_default());
        }
        let reason = format!("status {status}");
        Err(match status.as_u16() {
            429 | 502 | 503 | 504 => ExportError::Unavailable(reason),
            _ => ExportError::Refused(reason),
        })
    }
}

/// Codes that OTLP/gRPC allows to retry
/// (<https://opentelemetry.io/docs/specs/otlp/#failures>), and failures of the connection, which tonic reports as
/// `Unknown` with a source.
fn is_retryable(status: &Status) -> bool {
    use Code::{Aborted, Cancelled, DataLoss, DeadlineExceeded, OutOfRange, Unavailable};
    let code = status.code();
    matches!(code, Cancelled | DeadlineExceeded | Aborted | OutOfRange | Unavailable | DataLoss)
        || code == Code::Unknown && std::error::Error::source(status).is_some()
}

/// The error with its innermost source, which says why a connection failed.
fn with_source(error: &dyn std::error::Error) -> String {
    let source = std::iter::successors(error.source(), |source| source.source()).last();
    source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}
