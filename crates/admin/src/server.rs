//! The listener and its connections, with limits on their number, size and duration.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::pages::{AdminSources, router};

/// Limit on open connections; others wait to be accepted.
const MAX_CONNECTIONS: usize = 64;
/// Limit on the bytes of a request's headers.
const MAX_HEADER_BYTES: usize = 16 << 10;
/// Limit on the number of a request's headers.
const MAX_HEADERS: usize = 64;

/// Time limits of a connection.
#[derive(Clone, Copy, Debug)]
struct Timing {
    /// For the headers of a request; it limits idle connections too.
    headers: Duration,
    /// For all its requests, so that slow clients do not occupy connections.
    lifetime: Duration,
    /// For a response in progress when the lifetime is over or the server shuts down.
    drain: Duration,
}

const TIMING: Timing = Timing {
    headers: Duration::from_secs(30),
    lifetime: Duration::from_mins(5),
    drain: Duration::from_secs(5),
};

/// The admin server, bound and not yet serving.
#[derive(Debug)]
pub struct AdminServer {
    listener: TcpListener,
    timing: Timing,
}

impl AdminServer {
    /// Binds the listener.
    ///
    /// # Errors
    ///
    /// When the address is in use or not an address of this machine.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await?, timing: TIMING })
    }

    /// The bound address; its port is the one that the system chose where port 0 was given.
    ///
    /// # Errors
    ///
    /// When the system call fails.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown`, then gives responses in progress five seconds.
    pub async fn serve(self, sources: AdminSources, shutdown: impl Future<Output = ()>) {
        let stop = CancellationToken::new();
        let connections = TaskTracker::new();
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let router = router(sources);
        let accepting = async {
            while let Some((stream, permit)) = self.accept(&permits).await {
                connections.spawn(serve_connection(
                    stream,
                    router.clone(),
                    self.timing,
                    stop.clone(),
                    permit,
                ));
            }
        };
        tokio::select! {
            () = accepting => {}
            () = shutdown => {}
        }
        stop.cancel();
        connections.close();
        connections.wait().await;
    }

    /// Waits for a permit, then for a connection.
    async fn accept(&self, permits: &Arc<Semaphore>) -> Option<(TcpStream, OwnedSemaphorePermit)> {
        let permit = Arc::clone(permits).acquire_owned().await.ok()?;
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return Some((stream, permit)),
                Err(error) => {
                    // The process may be out of file descriptors, which a tight loop would not help.
                    tracing::warn!(%error, "the admin listener could not accept a connection");
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

async fn serve_connection(
    stream: TcpStream,
    router: Router,
    timing: Timing,
    stop: CancellationToken,
    _permit: OwnedSemaphorePermit,
) {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(timing.headers)
        .max_buf_size(MAX_HEADER_BYTES)
        .max_headers(MAX_HEADERS);
    let mut connection =
        pin!(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
    // Errors are clients that disconnected or did not speak HTTP.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = sleep(timing.lifetime) => {}
        () = stop.cancelled() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(timing.drain, connection).await;
}

#[cfg(test)]
mod tests {
    use pointsman_telemetry::{BuildInfo, Metrics};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::readiness::Readiness;

    fn sources() -> AdminSources {
        AdminSources {
            ready: Arc::new(Readiness::default),
            pools: Arc::new(|| serde_json::json!([])),
            decisions: Arc::new(|_| None),
            metrics: Metrics::new(&BuildInfo { version: "0.0.0", commit: "" }),
        }
    }

    async fn serve(timing: Timing) -> SocketAddr {
        let mut server = AdminServer::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        server.timing = timing;
        let address = server.local_addr().unwrap();
        tokio::spawn(server.serve(sources(), std::future::pending()));
        address
    }

    async fn health(address: SocketAddr) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        response
    }

    #[tokio::test]
    async fn idle_connections_are_closed() {
        let address = serve(Timing { headers: Duration::from_millis(50), ..TIMING }).await;
        let mut idle = Vec::new();
        for _ in 0..MAX_CONNECTIONS + 8 {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        assert!(health(address).await.starts_with("HTTP/1.1 200 OK"));
    }

    #[tokio::test]
    async fn slow_connections_are_closed() {
        let limit = Duration::from_millis(50);
        let address = serve(Timing { lifetime: limit, drain: limit, ..TIMING }).await;
        let mut trickling = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /healthz HTTP/1.1\r\nx-never-ends: ").await.unwrap();
            trickling.push(stream);
        }
        assert!(health(address).await.starts_with("HTTP/1.1 200 OK"));
    }
}
