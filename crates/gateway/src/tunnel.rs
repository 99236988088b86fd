//! WebSockets: bytes are copied both ways until either side closes, or neither says anything for the pool's idle limit.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version, header, request};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use pointsman_core::{Completion, Usage};
use pointsman_door::RequestContext;
use pointsman_exchange::{asks_for_tunnel, strip_hop_by_hop};
use pointsman_telemetry::Outcome;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};
use tokio::time::{Instant, sleep_until, timeout};

use crate::attempt::{SelectedResponse, StartedResponse};
use crate::connection::ConnectionRequest;
use crate::response::ResponseBody;
use crate::shared::Shared;
use crate::template::REQUEST_ID_NAME;

/// The only protocol of a tunnel: through any other, requests would pass unread.
pub(crate) const PROTOCOL: HeaderValue = HeaderValue::from_static("websocket");

/// Bytes that are read at once in one direction.
const PIECE: usize = 8 << 10;
/// How long one side may go on after the other has closed: a WebSocket has no use for half of a connection.
const AFTER_CLOSE: Duration = Duration::from_secs(5);

/// Whether the client asks for a WebSocket.
pub(crate) fn is_requested(head: &request::Parts) -> bool {
    let listed = head.headers.get_all(header::CONNECTION).iter().any(|value| {
        let names = value.to_str().unwrap_or_default();
        names.split(',').any(|name| name.trim().eq_ignore_ascii_case("upgrade"))
    });
    listed && head.version == Version::HTTP_11 && head.method == Method::GET && asks_for_tunnel(&head.headers)
}

/// Whether an engine's `101 Switching Protocols` opens a WebSocket.
pub(crate) fn is_accepted(headers: &HeaderMap) -> bool {
    headers
        .get(header::UPGRADE)
        .is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Answers the client with `101 Switching Protocols` and starts the tunnel. The load stays reserved until it ends.
pub(crate) fn open(
    shared: &Shared,
    selected: SelectedResponse,
    client: OnUpgrade,
    mut context: RequestContext,
    request: ConnectionRequest,
) -> Response<ResponseBody> {
    let SelectedResponse { placed, response: StartedResponse { mut head, endpoint, .. } } = selected;
    let engine = head.extensions.remove::<OnUpgrade>();
    context.set_status(StatusCode::SWITCHING_PROTOCOLS.as_u16());
    let id = context.request_id().cloned();
    let abort = shared.abort.clone();
    let idle = endpoint.timeouts.idle_limit;
    shared.tasks.spawn(async move {
        let tunnel = async {
            let (client, engine) = tokio::try_join!(client, engine?).ok()?;
            copy(TokioIo::new(client), TokioIo::new(engine), idle).await.ok()
        };
        let completion = match abort.run_until_cancelled(tunnel).await {
            Some(Some(_)) => Completion::Complete,
            // Either side may have closed it, so it does not count against the engine.
            Some(None) | None => Completion::ClientGone,
        };
        if let Some(placed) = placed {
            placed.finish(completion, Usage::default());
        }
        context.finish(Outcome::Served(completion), Usage::default());
        drop(request);
    });
    strip_hop_by_hop(&mut head.headers);
    if let Some(id) = id {
        head.headers.insert(REQUEST_ID_NAME, id);
    }
    head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    head.headers.insert(header::UPGRADE, PROTOCOL);
    let mut response = Response::new(ResponseBody::full(Bytes::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = head.headers;
    response
}

/// Copies bytes both ways until a side has closed and the other had [`AFTER_CLOSE`] to follow.
///
/// # Errors
/// Either connection is lost, or no byte was passed for `idle`.
async fn copy(
    client: impl AsyncRead + AsyncWrite,
    engine: impl AsyncRead + AsyncWrite,
    idle: Duration,
) -> io::Result<()> {
    let (from_client, to_client) = split(client);
    let (from_engine, to_engine) = split(engine);
    let passed = Passed { start: Instant::now(), last: AtomicU64::new(0) };
    let mut up = std::pin::pin!(pass(from_client, to_engine, &passed));
    let mut down = std::pin::pin!(pass(from_engine, to_client, &passed));
    let silence = async {
        while passed.last().elapsed() < idle {
            sleep_until(passed.last() + idle).await;
        }
    };
    tokio::select! {
        closed = up.as_mut() => {
            closed?;
            timeout(AFTER_CLOSE, down).await.unwrap_or(Ok(()))
        }
        closed = down.as_mut() => {
            closed?;
            timeout(AFTER_CLOSE, up).await.unwrap_or(Ok(()))
        }
        () = silence => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// When a byte was passed last, in either direction.
struct Passed {
    start: Instant,
    /// Milliseconds since the start.
    last: AtomicU64,
}

impl Passed {
    fn now(&self) {
        let after = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(after, Ordering::Relaxed);
    }

    fn last(&self) -> Instant {
        self.start + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }
}

/// Passes bytes on until the reader ends, and notes when.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    passed: &Passed,
) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let length = from.read(&mut piece).await?;
        let Some(bytes) = piece.get(..length).filter(|bytes| !bytes.is_empty()) else {
            return to.shutdown().await;
        };
        to.write_all(bytes).await?;
        to.flush().await?;
        passed.now();
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};
    use tokio::task::JoinHandle;

    use super::*;

    const IDLE: Duration = Duration::from_secs(300);

    /// The client's and the engine's ends of a tunnel, and its result with the seconds that it took.
    fn tunnel() -> (DuplexStream, DuplexStream, JoinHandle<(bool, u64)>) {
        let (client, near_client) = duplex(64);
        let (engine, near_engine) = duplex(64);
        let copied = async move {
            let start = Instant::now();
            (copy(near_client, near_engine, IDLE).await.is_ok(), start.elapsed().as_secs())
        };
        (client, engine, tokio::spawn(copied))
    }

    #[tokio::test(start_paused = true)]
    async fn a_tunnel_in_which_nobody_speaks_ends_at_the_idle_limit() {
        let (mut client, mut engine, copied) = tunnel();
        tokio::time::sleep(Duration::from_secs(200)).await;
        client.write_all(b"ping").await.unwrap();
        engine.read_exact(&mut [0; 4]).await.unwrap();
        assert_eq!(copied.await.unwrap(), (false, 500));
    }

    #[tokio::test(start_paused = true)]
    async fn a_side_that_does_not_read_holds_the_tunnel_no_longer() {
        let (_client, mut engine, copied) = tunnel();
        assert!(timeout(Duration::from_secs(1), engine.write_all(&[0; 50_000])).await.is_err());
        assert_eq!(copied.await.unwrap(), (false, 300));
    }

    #[tokio::test(start_paused = true)]
    async fn a_side_that_does_not_close_after_the_other_is_closed() {
        let (_client, engine, copied) = tunnel();
        drop(engine);
        assert_eq!(copied.await.unwrap(), (true, 5));
        let (client, _engine, copied) = tunnel();
        drop(client);
        assert_eq!(copied.await.unwrap(), (true, 5));
    }
}
