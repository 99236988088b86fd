//! HTTP/2 connections to an engine, each shared by as many requests as the engine allows.

use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

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

/// Interval at which a new connection is asked for the engine's settings.
const SETTINGS_POLL: Duration = Duration::from_millis(1);
/// Maximum number of connections to one endpoint. Beyond them, requests wait for a stream of the connection with the fewest.
const MAX_CONNECTIONS: usize = 64;
/// The limit of streams before the engine has stated its own: one that no engine states.
const UNSTATED: usize = 0x7fff_fffe;

/// The connections of an endpoint. The first that has a stream left is used, so that surplus connections expire.
#[derive(Debug, Default)]
pub(super) struct SharedConnections {
    open: Mutex<Vec<SharedConnection>>,
    /// Held by the request that connects.
    pub(super) connecting: tokio::sync::Mutex<()>,
    last_failure: Mutex<Option<ConnectFailure>>,
}

/// An attempt to connect that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ConnectFailure {
    pub(super) cause: FailureCause,
    number: u64,
}

#[derive(Debug)]
struct SharedConnection {
    sender: SendRequest<RequestBody>,
    streams: Arc<Streams>,
    last_used: Instant,
}

/// The streams of a connection.
#[derive(Debug)]
struct Streams {
    open: AtomicUsize,
    /// The engine's `SETTINGS_MAX_CONCURRENT_STREAMS`.
    limit: AtomicUsize,
}

/// A stream of a connection, from the request to the end of the response.
#[derive(Debug)]
pub(super) struct StreamSlot(Arc<Streams>);

/// A connection with a stream for one request.
pub(super) struct Sender {
    sender: SendRequest<RequestBody>,
    slot: StreamSlot,
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl SharedConnection {
    fn has_room(&self) -> bool {
        // An engine may state 0 for a while; a connection that serves nothing is no reason for others.
        let limit = self.streams.limit.load(Ordering::Relaxed).max(1);
        self.streams.open.load(Ordering::Relaxed) < limit
    }

    fn take(&mut self) -> Sender {
        self.last_used = Instant::now();
        self.streams.open.fetch_add(1, Ordering::Relaxed);
        Sender { sender: self.sender.clone(), slot: StreamSlot(Arc::clone(&self.streams)) }
    }
}

impl SharedConnections {
    /// A stream of an open connection; `None` if a new connection is to be opened.
    pub(super) fn get(&self) -> Option<Sender> {
        let mut open = self.open();
        open.retain(|connection| !connection.sender.is_closed());
        if let Some(connection) = open.iter_mut().find(|connection| connection.has_room()) {
            return Some(connection.take());
        }
        if open.len() < MAX_CONNECTIONS {
            return None;
        }
        let load = |connection: &&mut SharedConnection| connection.streams.open.load(Ordering::Relaxed);
        open.iter_mut().min_by_key(load).map(SharedConnection::take)
    }

    pub(super) fn last_failure(&self) -> Option<ConnectFailure> {
        *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that connecting failed.
    pub(super) fn failed(&self, cause: FailureCause) {
        let mut last = self.last_failure.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(ConnectFailure { cause, number: last.map_or(0, |last| last.number + 1) });
    }

    /// Starts HTTP/2 on a socket within `timeout`, and shares the connection. Waits for the engine's settings, which limit
    /// the streams.
    pub(super) async fn open_on(&self, socket: EngineStream, timeout: Duration) -> Result<Sender, SendError> {
        let started = tokio::time::timeout(timeout, start(socket)).await;
        let mut connection = started.map_err(|_| FailureCause::Connect)??;
        let sender = connection.take();
        self.open().push(connection);
        Ok(sender)
    }

    /// Closes connections, except for the first, that were unused for longer than `keep_alive`.
    pub(super) fn trim(&self, keep_alive: Duration) {
        let mut first = true;
        self.open().retain(|connection| {
            let is_used = connection.streams.open.load(Ordering::Relaxed) > 0;
            std::mem::take(&mut first) || is_used || connection.last_used.elapsed() < keep_alive
        });
    }

    /// Gives no connection to further requests. Those in flight go on.
    pub(super) fn retire(&self) {
        let retired = std::mem::take(&mut *self.open());
        drop(retired);
    }

    fn open(&self) -> MutexGuard<'_, Vec<SharedConnection>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts HTTP/2 on a socket, and drives the connection by a task.
async fn start(socket: EngineStream) -> Result<SharedConnection, SendError> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_max_send_streams(UNSTATED)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_header_list_size(u32::try_from(MAX_HEAD_BYTES).unwrap_or(u32::MAX));
    let opened = builder.handshake(TokioIo::new(socket)).await;
    let (sender, mut connection) = opened.map_err(|_| FailureCause::Connect)?;
    // hyper does not tell when the settings arrive.
    while connection.current_max_send_streams() == UNSTATED {
        if poll_fn(|cx| Poll::Ready(Pin::new(&mut connection).poll(cx).is_ready())).await {
            return Err(FailureCause::Connect.into());
        }
        tokio::time::sleep(SETTINGS_POLL).await;
    }
    let limit = AtomicUsize::new(connection.current_max_send_streams());
    let streams = Arc::new(Streams { open: AtomicUsize::new(0), limit });
    let stated = Arc::clone(&streams);
    tokio::spawn(poll_fn(move |cx| {
        // Each request wakes this task.
        stated.limit.store(connection.current_max_send_streams(), Ordering::Relaxed);
        Pin::new(&mut connection).poll(cx).map(drop)
    }));
    Ok(SharedConnection { sender, streams, last_used: Instant::now() })
}

/// Sends a request and awaits the response head.
pub(super) async fn send(
    upstream: &Arc<Upstream>,
    Sender { mut sender, slot }: Sender,
    mut request: Request<RequestBody>,
) -> Result<UpstreamResponse, SendFailure> {
    let host = to_h2(upstream, &mut request);
    match sender.try_send_request(request).await {
        Ok(response) => {
            let (head, incoming) = response.into_parts();
            Ok(UpstreamResponse { head, body: UpstreamBody::of_stream(incoming, slot, Arc::clone(upstream)) })
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
