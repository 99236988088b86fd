//! Accepts the connections of a port and serves HTTP/2 on them, over TLS or in plaintext.

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::grpc::{Services, serve};
use crate::session::DataPlane;
use crate::shared::Shared;
use crate::tls::Secured;
use crate::workers::Workers;

/// Timeout of a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest number of concurrent streams of a connection. Gateways open another connection for more.
const MAX_STREAMS: u32 = 4096;
/// Flow-control window of a stream, in bytes: a long prompt.
const STREAM_WINDOW: u32 = 1 << 20;
/// Flow-control window of a connection, in bytes.
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Interval of keep-alive PING frames on an idle connection.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// Timeout of the response to a PING frame.
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// The number of streams that the gateway may reset before they are accepted, when many of its clients disconnect at once.
const MAX_RESETS: usize = 16_384;
/// The pause after `accept` fails, for example for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The first byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// The settings of a port, shared by its connections.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    pub(crate) shared: Arc<Shared>,
    pub(crate) services: Services,
    pub(crate) secured: Option<Arc<Secured>>,
    /// Cancelled at shutdown: no new connections or streams are accepted.
    pub(crate) closing: CancellationToken,
    /// The connections, awaited at shutdown.
    pub(crate) tasks: TaskTracker,
}

impl Port {
    /// Accepts connections until the port closes and assigns each to the next worker.
    pub(crate) async fn run(self, listener: TcpListener, workers: Arc<Workers>) {
        while let Some(accepted) = self.closing.run_until_cancelled(listener.accept()).await {
            match accepted {
                Ok((stream, _)) => self.assign(stream, &workers),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn assign(&self, stream: TcpStream, workers: &Workers) {
        let (Some(worker), Ok(stream)) = (workers.next(), stream.into_std()) else { return };
        let port = self.clone();
        let serve = async move {
            // Registers the socket with the worker's reactor.
            if let Ok(stream) = TcpStream::from_std(stream) {
                let abort = port.shared.abort.clone();
                abort.run_until_cancelled(port.connection(stream)).await;
            }
        };
        drop(self.tasks.spawn_on(serve, worker));
    }

    async fn connection(self, stream: TcpStream) {
        if stream.set_nodelay(true).is_err() {
            return; // The peer has disconnected.
        }
        let mut first = [0];
        let Ok(Ok(1)) = tokio::time::timeout(HANDSHAKE_TIMEOUT, stream.peek(&mut first)).await else {
            return;
        };
        match (&self.secured, first[0] == TLS_HANDSHAKE) {
            (None, false) => self.http(stream).await,
            (None, true) => {
                self.shared
                    .log_aborted(&"a TLS handshake arrived at a port in plaintext; see --secure-serving");
            }
            (Some(_), false) => {
                self.shared.log_aborted(&"plaintext arrived at a port with TLS; see --secure-serving");
            }
            (Some(secured), true) => {
                let handshake = TlsAcceptor::from(secured.config()).accept(stream);
                match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
                    Ok(Ok(stream)) => self.http(stream).await,
                    Ok(Err(error)) => self.shared.log_aborted(&format_args!("TLS handshake: {error}")),
                    Err(_) => self.shared.log_aborted(&"a TLS handshake timed out"),
                }
            }
        }
    }

    async fn http<S>(&self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (shared, services) = (Arc::clone(&self.shared), self.services);
        let plane = Arc::<DataPlane>::default();
        // Boxed, because hyper keeps the service's future inline in the stream's state, which outlives it.
        let service = service_fn(move |request| {
            Box::pin(serve(Arc::clone(&shared), Arc::clone(&plane), services, request))
        });
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_pending_accept_reset_streams(MAX_RESETS)
            .max_local_error_reset_streams(MAX_RESETS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            biased;
            // hyper reports protocol errors to the gateway, and a broken connection needs no log line.
            _ = connection.as_mut() => return,
            () = self.closing.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }
}
