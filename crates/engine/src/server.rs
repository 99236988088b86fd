//! The server's sockets: bind, accept, serve, drain.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

use crate::app::App;
use crate::config::{EngineConfig, EngineError};
use crate::routes;
use crate::socket::{ResetSwitch, Socket};

/// A simulated engine whose port is bound and that does not accept connections yet.
pub struct EngineServer {
    listener: TcpListener,
    address: SocketAddr,
    app: Arc<App>,
}

impl fmt::Debug for EngineServer {
    /// The address alone: requests carry prompts.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("EngineServer").field("address", &self.address).finish_non_exhaustive()
    }
}

impl EngineServer {
    /// Binds the port. [`EngineServer::serve`] accepts connections.
    ///
    /// # Errors
    /// The address cannot be bound, or a setting is out of range.
    pub async fn bind(config: EngineConfig) -> Result<Self, EngineError> {
        config.check()?;
        let address = config.listen;
        let failed = |source| EngineError::Listen(address, source);
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let faults = config.injected_faults.clone();
        let app = Arc::new(App::new(config, address.port()));
        for fault in faults {
            app.inject(fault)?;
        }
        Ok(Self { listener, address, app })
    }

    /// The listening address, with the port that was taken.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` is ready, then finishes running requests for at most the configured drain time.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        let Self { listener, address, app } = self;
        let engine = Arc::clone(&app.engine);
        let driver = AbortOnDropHandle::new(tokio::spawn(async move { engine.drive().await }));
        let connections = Connections::new(Arc::clone(&app));
        let mut shutdown = pin!(shutdown);
        let mut listener = Some(listener);
        let mut refusal = app.refusal.subscribe();
        let mut reopens = Instant::now();
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                stream = accept(listener.as_ref()) => connections.serve(stream),
                changed = refusal.changed() => {
                    if let (Ok(()), Some(duration)) = (changed, *refusal.borrow_and_update()) {
                        drop(listener.take());
                        reopens = Instant::now() + duration;
                    }
                }
                () = tokio::time::sleep_until(reopens), if listener.is_none() => {
                    listener = rebind(address).await;
                    reopens = Instant::now() + Duration::from_millis(50);
                    if listener.is_some() {
                        app.refusal.send_replace(None);
                    }
                }
            }
        }
        drop(listener);
        connections.drain(app.config.drain).await;
        drop(driver);
    }
}

/// The next connection. Errors are retried: those of one connection and the lack of file descriptors are temporary.
async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else { return std::future::pending().await };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// Binds the port again after a refusal; `None` while another process has it.
async fn rebind(address: SocketAddr) -> Option<TcpListener> {
    let warn = |error: &std::io::Error| {
        tracing::warn!(%address, %error, "cannot bind the port again after an injected refusal");
    };
    TcpListener::bind(address).await.inspect_err(warn).ok()
}

/// Upper bound of open connections; further ones are closed at once.
const MAX_CONNECTIONS: usize = 8192;

/// The open connections.
struct Connections {
    app: Arc<App>,
    http: auto::Builder<TokioExecutor>,
    graceful: GracefulShutdown,
    permits: Arc<Semaphore>,
    /// Ends all connections when the server ends, whether they are drained or not.
    ended: DropGuard,
}

impl Connections {
    fn new(app: Arc<App>) -> Self {
        let mut http = auto::Builder::new(TokioExecutor::new());
        // An idle connection waits for the next request's headers, so this timeout is the keep-alive.
        http.http1().timer(TokioTimer::new()).header_read_timeout(app.config.keep_alive);
        http.http2().timer(TokioTimer::new());
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let ended = CancellationToken::new().drop_guard();
        Self { app, http, graceful: GracefulShutdown::new(), permits, ended }
    }

    fn serve(&self, stream: TcpStream) {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else { return };
        // Events are small: Nagle's algorithm would delay them.
        let _ = stream.set_nodelay(true);
        let reset = ResetSwitch::default();
        let socket = TokioIo::new(Socket::new(stream, reset.clone()));
        let app = Arc::clone(&self.app);
        let service = service_fn(move |request| routes::handle(Arc::clone(&app), reset.clone(), request));
        let connection = self.http.serve_connection(socket, service).into_owned();
        let connection = self.graceful.watch(connection);
        let ended = self.ended.token().clone();
        tokio::spawn(async move {
            tokio::select! {
                end = connection => {
                    if let Err(error) = end {
                        tracing::debug!(%error, "a connection ended early");
                    }
                }
                () = ended.cancelled() => {}
            }
            drop(permit);
        });
    }

    /// Waits for the running requests, and ends those that exceed the limit.
    async fn drain(self, limit: Duration) {
        let Self { graceful, ended, .. } = self;
        if tokio::time::timeout(limit, graceful.shutdown()).await.is_err() {
            tracing::warn!(?limit, "requests were still running at the end of the drain time");
        }
        drop(ended);
    }
}
