//! The listener and its connections, with bounds on what a client can use up.

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

/// Connections at one time; others wait to be accepted.
const MAX_CONNECTIONS: usize = 64;
/// The most bytes of a request's head.
const MAX_HEAD: usize = 16 << 10;
/// The most headers of a request.
const MAX_HEADERS: usize = 64;

/// How long a connection may take for what.
#[derive(Clone, Copy, Debug)]
struct Timing {
    /// For a request's head, counted from the moment that one could be sent: it bounds idle connections too.
    head: Duration,
    /// For all its requests. A client that reads slowly or never ends cannot keep its place for longer.
    life: Duration,
    /// For the answer under way when its life is over or the server stops.
    last_answer: Duration,
}

const TIMING: Timing = Timing {
    head: Duration::from_secs(30),
    life: Duration::from_mins(5),
    last_answer: Duration::from_secs(5),
};

/// The admin listener, bound and not yet serving.
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
    /// When the address cannot be bound: it is taken, or not this machine's.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await?, timing: TIMING })
    }

    /// The address bound, with the port the system chose where port 0 was asked for.
    ///
    /// # Errors
    ///
    /// When the system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown`; then answers that are under way get five seconds.
    pub async fn serve(self, sources: AdminSources, shutdown: impl Future<Output = ()>) {
        let stop = CancellationToken::new();
        let connections = TaskTracker::new();
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let router = router(sources);
        let accepting = async {
            while let Some((stream, place)) = self.accept(&places).await {
                connections.spawn(serve_connection(stream, router.clone(), self.timing, stop.clone(), place));
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

    /// The next connection, when there is a place for it. `None` never comes while the server lives.
    async fn accept(&self, places: &Arc<Semaphore>) -> Option<(TcpStream, OwnedSemaphorePermit)> {
        let place = Arc::clone(places).acquire_owned().await.ok()?;
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return Some((stream, place)),
                Err(error) => {
                    // Out of descriptors, or the client left again: neither is helped by trying in a tight loop.
                    tracing::warn!(error = %error, "the admin listener could not accept a connection");
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
    _place: OwnedSemaphorePermit,
) {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(timing.head)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS);
    let mut connection =
        pin!(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
    // However the connection ends, there is nobody left to tell: errors here are clients that left or spoke no HTTP.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = sleep(timing.life) => {}
        () = stop.cancelled() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(timing.last_answer, connection).await;
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
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn silent_connections_lose_their_places() {
        let address = serve(Timing { head: Duration::from_millis(50), ..TIMING }).await;
        let mut silent = Vec::new();
        for _ in 0..MAX_CONNECTIONS + 8 {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        assert!(health(address).await.starts_with("HTTP/1.1 200 OK"));
    }

    #[tokio::test]
    async fn connections_that_never_end_lose_their_places() {
        let life = Duration::from_millis(50);
        let address = serve(Timing { life, last_answer: life, ..TIMING }).await;
        let mut trickling = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /healthz HTTP/1.1\r\nx-never-ends: ").await.unwrap();
            trickling.push(stream);
        }
        assert!(health(address).await.starts_with("HTTP/1.1 200 OK"));
    }
}
