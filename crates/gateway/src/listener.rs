//! A listening socket: accepts connections and serves HTTP on them.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::bound_port::BoundPort;
use crate::client::Client;
use crate::client_io::ClientIo;
use crate::connection::{ConnectionContext, ConnectionRequests};
use crate::gate::gated;
use crate::serve::serve;
use crate::shared::Shared;

/// Length of the accept queue (listen backlog).
const BACKLOG: i32 = 4096;
/// Maximum number of client connections.
const MAX_CONNECTIONS: u64 = 65_536;
/// Maximum length of a request head, and of the read buffer, in bytes.
const MAX_HEAD_BYTES: usize = 128 << 10;
/// Maximum number of request header fields.
const MAX_HEADERS: usize = 128;
/// Timeout of a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum number of concurrent streams of an HTTP/2 connection.
const MAX_STREAMS: u32 = 1024;
/// Flow control window of an HTTP/2 stream, in bytes: enough for a long prompt.
const STREAM_WINDOW: u32 = 1 << 20;
/// Flow control window of an HTTP/2 connection, in bytes.
const CONNECTION_WINDOW: u32 = 8 << 20;
/// Interval of keep-alive pings on an idle HTTP/2 connection.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// Timeout of a keep-alive ping.
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Pause after a failed accept, for instance because of too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Opens a listening socket.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        // Accept IPv4 on the same socket.
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Opens a listening socket. `::` is all addresses: IPv4 and IPv6 if the machine has IPv6, otherwise IPv4.
pub(crate) fn bind_at(address: SocketAddr) -> io::Result<TcpListener> {
    match bind(address) {
        Err(error)
            if error.kind() != io::ErrorKind::AddrInUse
                && address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) =>
        {
            bind(SocketAddr::from(([0, 0, 0, 0], address.port())))
        }
        bound => bound,
    }
}

/// Accepts and serves the connections of one socket.
#[derive(Clone)]
pub(crate) struct Acceptor {
    pub(crate) shared: Arc<Shared>,
    pub(crate) port: BoundPort,
    pub(crate) tls: Option<Arc<ServerConfig>>,
    /// Cancelled when the socket closes: at shutdown, or when no listener needs it any more.
    pub(crate) closing: CancellationToken,
}

impl Acceptor {
    /// Accepts connections until the socket is closed.
    pub(crate) async fn run(self, listener: TcpListener) {
        let server = Arc::new(server());
        loop {
            let Some(accepted) = self.closing.run_until_cancelled(listener.accept()).await else { return };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let mut slot = self.shared.connections.share();
            if !slot.grow_to(1, MAX_CONNECTIONS) {
                tracing::warn!(limit = MAX_CONNECTIONS, "connection refused: limit reached");
                continue;
            }
            let (acceptor, server) = (self.clone(), Arc::clone(&server));
            let open = self.shared.door.metrics.client_connections();
            self.shared.tasks.spawn(async move {
                open.inc();
                let connection = gated(acceptor.connection(&server, stream, peer));
                acceptor.shared.abort.clone().run_until_cancelled(connection).await;
                open.dec();
                drop(slot);
            });
        }
    }

    async fn connection(&self, server: &Server, stream: TcpStream, peer: SocketAddr) {
        if stream.set_nodelay(true).is_err() {
            return; // The peer has closed the connection.
        }
        let client = Client::new(peer, self.tls.is_some());
        let Some(tls) = &self.tls else { return self.http(server, stream, client).await };
        let handshake = TlsAcceptor::from(Arc::clone(tls)).accept(stream);
        match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
            Ok(Ok(stream)) => self.http(server, stream, client).await,
            Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
            Err(_) => tracing::debug!("TLS handshake timed out"),
        }
    }

    async fn http<S>(&self, server: &Server, stream: S, client: Client)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let requests = Arc::<ConnectionRequests>::default();
        let timeouts = self.shared.door.fleet.current().world.gateway.client_timeouts;
        let stream = ClientIo::new(stream, timeouts, Arc::clone(&requests), self.tls.is_none());
        let (shared, port) = (Arc::clone(&self.shared), self.port);
        let context = Arc::new(ConnectionContext { shared, client, port, requests });
        let service = service_fn(move |request| {
            let context = Arc::clone(&context);
            // Counted before the future is polled, which hyper does after it has looked for the end of the connection.
            let counted = context.requests.begin(request.version());
            async move { Ok::<_, std::convert::Infallible>(serve(context, request, counted).await) }
        });
        let mut connection =
            std::pin::pin!(server.serve_connection_with_upgrades(TokioIo::new(stream), service));
        tokio::select! {
            biased;
            // hyper has answered the client's errors; a lost connection needs no log line.
            _ = connection.as_mut() => return,
            () = self.closing.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        drop(connection.await);
    }
}

type Server = auto::Builder<TokioExecutor>;

fn server() -> Server {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES)
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_header_list_size(u32::try_from(MAX_HEAD_BYTES).unwrap_or(u32::MAX));
    server
}
