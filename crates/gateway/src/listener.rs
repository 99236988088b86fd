//! One listening socket: accepts connections and serves HTTP on them.

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

use crate::client::Client;
use crate::entrance::Entrance;
use crate::gate::gated;
use crate::serve::{Door, serve};
use crate::shared::Shared;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;
/// The most client connections at one time.
const MAX_CONNECTIONS: u64 = 65_536;
/// The longest head of a request, and the most read ahead of a body, in bytes.
const MAX_HEAD_BYTES: usize = 128 << 10;
/// The most header fields of a request.
const MAX_HEADERS: usize = 128;
/// How long a TLS handshake may take.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection may take for the next request's head, idle time included.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);
/// The most streams of one HTTP/2 connection.
const MAX_STREAMS: u32 = 1024;
/// What one HTTP/2 stream may have on its way unread, in bytes: a long prompt.
const STREAM_WINDOW: u32 = 1 << 20;
/// The same for a whole HTTP/2 connection.
const CONNECTION_WINDOW: u32 = 8 << 20;
/// A silent HTTP/2 connection is asked for a sign of life this often.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// How long the answer to that may take.
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// The pause after a failure to accept, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Opens a listening socket.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        // One socket for both families.
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Opens a listening socket on every address of this machine: both families where there is IPv6, else IPv4.
pub(crate) fn bind_any(port: u16) -> io::Result<TcpListener> {
    match bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))) {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            bind(SocketAddr::from(([0, 0, 0, 0], port)))
        }
        bound => bound,
    }
}

/// What the connections of a socket have in common.
#[derive(Clone)]
pub(crate) struct Acceptor {
    pub(crate) shared: Arc<Shared>,
    pub(crate) entrance: Entrance,
    pub(crate) tls: Option<Arc<ServerConfig>>,
    /// The socket is closed, by shutdown or because no listener wants it any more.
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
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let mut slot = self.shared.connections.share();
            if !slot.grow_to(1, MAX_CONNECTIONS) {
                tracing::warn!(most = MAX_CONNECTIONS, "a connection was turned away: there are too many");
                continue;
            }
            let (acceptor, server) = (self.clone(), Arc::clone(&server));
            let open = self.shared.metrics.client_connections();
            self.shared.tasks.spawn(async move {
                open.inc();
                let connection = gated(acceptor.connection(&server, stream, peer));
                acceptor.shared.cut.clone().run_until_cancelled(connection).await;
                open.dec();
                drop(slot);
            });
        }
    }

    async fn connection(&self, server: &Server, stream: TcpStream, peer: SocketAddr) {
        if stream.set_nodelay(true).is_err() {
            return; // It is gone already.
        }
        let client = Client::new(peer, self.tls.is_some());
        let Some(tls) = &self.tls else { return self.http(server, stream, client).await };
        let handshake = TlsAcceptor::from(Arc::clone(tls)).accept(stream);
        match tokio::time::timeout(HANDSHAKE_PATIENCE, handshake).await {
            Ok(Ok(stream)) => self.http(server, stream, client).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        }
    }

    async fn http<S>(&self, server: &Server, stream: S, client: Client)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let door = Arc::new(Door { shared: Arc::clone(&self.shared), client, entrance: self.entrance });
        let service = service_fn(move |request| {
            let door = Arc::clone(&door);
            async move { Ok::<_, std::convert::Infallible>(serve(door, request).await) }
        });
        let mut connection =
            std::pin::pin!(server.serve_connection_with_upgrades(TokioIo::new(stream), service));
        tokio::select! {
            biased;
            // What the client did wrong it has been told by hyper, and what broke is no news.
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
        .header_read_timeout(HEAD_PATIENCE)
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
