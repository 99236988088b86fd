//! HTTP/2 to an engine: one shared connection.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::uri::{Authority, Scheme};
use http::{Request, Uri, Version, header};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use pointsman_core::FailureCause;
use pointsman_fleet::connect::EngineStream;

use super::answer::{AnswerBody, Answered};
use super::body::OutBody;
use super::failure::{Sent, cause};
use super::{MAX_HEAD_BYTES, SendError, Upstream};

/// What one stream may have on its way to us unread, in bytes.
const STREAM_WINDOW: u32 = 1 << 20;
/// The same for a whole connection.
const CONNECTION_WINDOW: u32 = 8 << 20;
/// A connection with open streams that is silent for this long is asked for a sign of life.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// How long the answer to that may take; an engine may be busy for seconds.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

pub(super) type Sender = SendRequest<OutBody>;

/// The shared connection of an endpoint.
#[derive(Debug, Default)]
pub(super) struct Shared {
    sender: Mutex<Option<Sender>>,
    /// Held by the one that connects.
    turn: tokio::sync::Mutex<()>,
}

impl Shared {
    /// The connection, where it is open.
    pub(super) fn get(&self) -> Option<Sender> {
        let mut sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        if sender.as_ref().is_some_and(SendRequest::is_closed) {
            *sender = None;
        }
        sender.clone()
    }

    pub(super) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Starts HTTP/2 on a socket and shares it from now on.
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

/// Sends a request and waits for the head of the answer.
pub(super) async fn send(
    home: &Arc<Upstream>,
    mut sender: Sender,
    mut request: Request<OutBody>,
) -> Result<Answered, Sent> {
    let host = to_h2(home, &mut request);
    match sender.try_send_request(request).await {
        Ok(response) => {
            let (head, incoming) = response.into_parts();
            Ok(Answered { head, body: AnswerBody::new(incoming, None, Arc::clone(home)) })
        }
        Err(mut error) => Err(match error.take_message() {
            Some(mut request) => {
                to_h1(&mut request, host);
                Sent::Unsent(Box::new(request))
            }
            None => Sent::Failed(cause(error.error())),
        }),
    }
}

/// Origin form and `host` to `:scheme` and `:authority`.
fn to_h2(home: &Upstream, request: &mut Request<OutBody>) -> Option<header::HeaderValue> {
    let host = request.headers_mut().remove(header::HOST);
    let named = host.as_ref().and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let authority = named.or_else(|| Authority::try_from(home.authority.as_bytes()).ok());
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(if home.secure { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority = authority;
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    *request.version_mut() = Version::HTTP_2;
    host
}

/// The way back, for another connection.
fn to_h1(request: &mut Request<OutBody>, host: Option<header::HeaderValue>) {
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = None;
    parts.authority = None;
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    *request.version_mut() = Version::HTTP_11;
    if let Some(host) = host {
        request.headers_mut().insert(header::HOST, host);
    }
}
