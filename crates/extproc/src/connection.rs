//! Connections of a port: accepted, secured, served.

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
use crate::lanes::Lanes;
use crate::shared::Shared;
use crate::tls::Secured;

/// How long a TLS handshake may take.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);
/// The most streams of one connection: gateways open a further one for more.
const MAX_STREAMS: u32 = 4096;
/// What one stream may have on its way unread, in bytes: a long prompt.
const STREAM_WINDOW: u32 = 1 << 20;
/// The same for a whole connection.
const CONNECTION_WINDOW: u32 = 16 << 20;
/// A silent connection is asked for a sign of life this often.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// How long the answer to that may take.
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Streams that the gateway may break off before they are looked at: its clients leave in crowds.
const MAX_RESETS: usize = 16_384;
/// The pause after a failure to accept, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The first byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// What the connections of a port have in common.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    pub(crate) shared: Arc<Shared>,
    pub(crate) services: Services,
    pub(crate) secured: Option<Arc<Secured>>,
    /// No new connections and streams.
    pub(crate) closing: CancellationToken,
    /// Connections, awaited at shutdown.
    pub(crate) tasks: TaskTracker,
}

impl Port {
    /// Accepts connections until the port closes, and gives each to the next lane.
    pub(crate) async fn run(self, listener: TcpListener, lanes: Arc<Lanes>) {
        while let Some(accepted) = self.closing.run_until_cancelled(listener.accept()).await {
            match accepted {
                Ok((stream, _)) => self.hand_over(stream, &lanes),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn hand_over(&self, stream: TcpStream, lanes: &Lanes) {
        let (Some(lane), Ok(stream)) = (lanes.next(), stream.into_std()) else { return };
        let port = self.clone();
        let serve = async move {
            // The socket belongs to the lane from here on.
            if let Ok(stream) = TcpStream::from_std(stream) {
                let cut = port.shared.cut.clone();
                cut.run_until_cancelled(port.connection(stream)).await;
            }
        };
        drop(self.tasks.spawn_on(serve, lane));
    }

    async fn connection(self, stream: TcpStream) {
        if stream.set_nodelay(true).is_err() {
            return; // It is gone already.
        }
        let mut first = [0];
        let Ok(Ok(1)) = tokio::time::timeout(HANDSHAKE_PATIENCE, stream.peek(&mut first)).await else {
            return;
        };
        match (&self.secured, first[0] == TLS_HANDSHAKE) {
            (None, false) => self.http(stream).await,
            (None, true) => {
                self.shared
                    .tell_broken(&"a TLS handshake came to a port in clear text; see --secure-serving");
            }
            (Some(_), false) => {
                self.shared.tell_broken(&"clear text came to a port with TLS; see --secure-serving");
            }
            (Some(secured), true) => {
                let handshake = TlsAcceptor::from(secured.config()).accept(stream);
                match tokio::time::timeout(HANDSHAKE_PATIENCE, handshake).await {
                    Ok(Ok(stream)) => self.http(stream).await,
                    Ok(Err(error)) => self.shared.tell_broken(&format_args!("TLS handshake: {error}")),
                    Err(_) => self.shared.tell_broken(&"a TLS handshake took too long"),
                }
            }
        }
    }

    async fn http<S>(&self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (shared, services) = (Arc::clone(&self.shared), self.services);
        // A stream keeps the memory of this future for as long as it lasts, so that what ends with its head is apart.
        let service = service_fn(move |request| Box::pin(serve(Arc::clone(&shared), services, request)));
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
            // What the gateway did wrong it has been told by hyper, and what broke is no news.
            _ = connection.as_mut() => return,
            () = self.closing.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        // As above.
        let _ = connection.await;
    }
}
