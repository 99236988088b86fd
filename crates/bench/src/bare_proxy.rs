//! The baseline of the gateway's overhead: a proxy on the same HTTP stack that forwards requests round-robin. The gateway's
//! cost beyond it is the cost of its features, not of the stack.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::uri::{Authority, Scheme};
use http_body_util::{Either, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

use crate::client::ServerAddress;

/// Serves until dropped or until the listener fails. The budgets assume a runtime of two worker threads in a process with the
/// gateway's allocator.
///
/// # Errors
/// The listener failed.
pub async fn serve(listener: TcpListener, endpoints: Vec<ServerAddress>) -> io::Result<()> {
    let endpoints = endpoints.iter().map(|endpoint| endpoint.authority().parse()).collect::<Result<_, _>>();
    let endpoints = endpoints.map_err(io::Error::other)?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
    let proxy = Arc::new(BareProxy { client, endpoints, next: AtomicUsize::new(0) });
    loop {
        let (stream, _peer) = listener.accept().await?;
        tokio::spawn(Arc::clone(&proxy).serve_connection(stream));
    }
}

struct BareProxy {
    client: Client<HttpConnector, Incoming>,
    endpoints: Vec<Authority>,
    next: AtomicUsize,
}

type ResponseReader = Response<Either<Incoming, Empty<Bytes>>>;

impl BareProxy {
    async fn serve_connection(self: Arc<Self>, stream: TcpStream) {
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let service = service_fn(move |request| {
            let proxy = Arc::clone(&self);
            async move { Ok::<_, Infallible>(proxy.forward(request).await) }
        });
        // A closed connection is not an error.
        let _ = http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    async fn forward(&self, mut request: Request<Incoming>) -> ResponseReader {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let Some(authority) = self.endpoints.get(turn % self.endpoints.len().max(1)) else {
            return bad_gateway();
        };
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(authority.clone());
        match Uri::from_parts(parts) {
            Ok(uri) => *request.uri_mut() = uri,
            Err(_) => return bad_gateway(),
        }
        match self.client.request(request).await {
            Ok(response) => response.map(Either::Left),
            Err(_) => bad_gateway(),
        }
    }
}

fn bad_gateway() -> ResponseReader {
    let mut response = Response::new(Either::Right(Empty::new()));
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}
