//! The HTTP/2 connection to an engine, shared by its requests.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::uri::{Authority, Scheme};
use http::{Request, Uri, Version, header};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use pointsman_core::FailureCause;
use pointsman_fleet::connect::EngineStream;

use super::failure::{SendFailure, cause};
use super::request_body::RequestBody;
use super::response::{UpstreamBody, UpstreamResponse};
use super::{MAX_HEAD_BYTES, SendError, Upstream};

/// Flow control window of a stream, in bytes.
const STREAM_WINDOW: u32 = 1 << 20;
/// Flow control window of a connection, in bytes.
const CONNECTION_WINDOW: u32 = 8 << 20;
/// Interval of keep-alive pings on a connection with open streams.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// Timeout of a keep-alive ping; an engine may be busy for seconds.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

pub(super) type Sender = SendRequest<RequestBody>;

/// The connection of an endpoint, opened at the first request.
#[derive(Debug, Default)]
pub(super) struct SharedConnection {
    sender: Mutex<Option<Sender>>,
    /// Held by the request that connects.
    pub(super) connecting: tokio::sync::Mutex<()>,
}

impl SharedConnection {
    /// The connection, if it is open.
    pub(super) fn get(&self) -> Option<Sender> {
        let mut sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        if sender.as_ref().is_some_and(SendRequest::is_closed) {
            *sender = None;
        }
        sender.clone()
    }

    /// Starts HTTP/2 on a socket and shares the connection.
    pub(super) async fn open(&self, socket: EngineStream) -> Result<Sender, SendError> {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .max_header_list_size(u32::try_from(MAX_HEAD_BYTES).unwrap_or(u32::MAX));
        let opened = builder.handshake(TokioIo::new(socket)).await;
        let (sender, connection) = opened.map_err(|_| FailureCause::Connect)?;
        tokio::spawn(async move { drop(connection.await) });
        *self.sender.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender.clone());
        Ok(sender)
    }
}

/// Sends a request and awaits the response head.
pub(super) async fn send(
    upstream: &Arc<Upstream>,
    mut sender: Sender,
    mut request: Request<RequestBody>,
) -> Result<UpstreamResponse, SendFailure> {
    let host = to_h2(upstream, &mut request);
    match sender.try_send_request(request).await {
        Ok(response) => {
            let (head, incoming) = response.into_parts();
            Ok(UpstreamResponse { head, body: UpstreamBody::new(incoming, None, Arc::clone(upstream)) })
        }
        Err(mut error) => Err(match error.take_message() {
            Some(mut request) => {
                to_h1(&mut request, host);
                SendFailure::Unsent(Box::new(request))
            }
            None => SendFailure::Failed(cause(error.error())),
        }),
    }
}

/// Replaces origin form and `host` by `:scheme` and `:authority`; returns the `host`.
fn to_h2(upstream: &Upstream, request: &mut Request<RequestBody>) -> Option<header::HeaderValue> {
    let host = request.headers_mut().remove(header::HOST);
    let named = host.as_ref().and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let authority = named.or_else(|| Authority::try_from(upstream.authority.as_bytes()).ok());
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(if upstream.secure { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority = authority;
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    *request.version_mut() = Version::HTTP_2;
    host
}

/// Reverts [`to_h2`], for another connection.
fn to_h1(request: &mut Request<RequestBody>, host: Option<header::HeaderValue>) {
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = None;
    parts.authority = None;
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    *request.version_mut() = Version::HTTP_11;
    if let Some(host) = host {
        request.headers_mut().insert(header::HOST, host);
    }
}
