//! A cheap HTTP/1.1 client with explicit choice of connections.

mod idle;

use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use idle::{Idle, Slot};

pub(crate) type Sender = SendRequest<Full<Bytes>>;

/// The choice of a connection for each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connections {
    /// A connection pool, as usual for clients of one gateway: the connection returned last is reused, and another is opened
    /// when none is idle. Several endpoints are used round-robin.
    Pool,
    /// Clients behind a Kubernetes Service: kube-proxy chooses a random endpoint when a connection opens, and never again.
    ///
    /// There are `count` keep-alive connections, each to a fixed random endpoint. A request uses a random idle one, as if
    /// it came from any of the clients that own them. When all are busy, it opens one more to a random endpoint and closes
    /// it after the response: common client libraries do that rather than wait (Go's `net/http` has no limit by default,
    /// the `openai` client's is 1,000). A broken connection is reopened to a new random endpoint.
    Pinned {
        /// Number of keep-alive connections.
        count: usize,
        /// Seed of the choice of endpoints and connections.
        seed: u64,
    },
}

/// Host and port of an HTTP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAddress {
    authority: String,
    host: HeaderValue,
}

/// An unsupported URL.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not of the form http://HOST:PORT")]
pub struct ServerAddressError(String);

impl FromStr for ServerAddress {
    type Err = ServerAddressError;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let error = || ServerAddressError(url.to_owned());
        let uri: http::Uri = url.parse().map_err(|_| error())?;
        let authority = uri.authority().ok_or_else(error)?;
        let plain = uri.scheme_str() == Some("http") && matches!(uri.path(), "" | "/");
        if !plain || authority.host().is_empty() || authority.as_str().contains('@') {
            return Err(error());
        }
        let authority = format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80));
        let host = HeaderValue::from_str(&authority).map_err(|_| error())?;
        Ok(Self { authority, host })
    }
}

impl ServerAddress {
    /// Host and port.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }
}

impl From<std::net::SocketAddr> for ServerAddress {
    fn from(address: std::net::SocketAddr) -> Self {
        let authority = address.to_string();
        let host = HeaderValue::from_str(&authority).unwrap_or(HeaderValue::from_static("localhost"));
        Self { authority, host }
    }
}

/// The destination of load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The servers; at least one.
    pub endpoints: Vec<ServerAddress>,
    /// The choice of connections.
    pub connections: Connections,
}

/// Why a request got no response head.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The target has no endpoint.
    #[error("the target has no endpoint")]
    NoEndpoint,
    /// The connection could not be opened.
    #[error("cannot connect: {0}")]
    Connect(#[source] std::io::Error),
    /// The connection broke, or the peer does not speak HTTP.
    #[error("no response: {0}")]
    Exchange(#[source] hyper::Error),
}

/// A client with its own connections, which it closes when dropped.
#[derive(Debug)]
pub struct Client {
    endpoints: Vec<ServerAddress>,
    idle: Mutex<Idle>,
}

impl Client {
    /// A client without open connections: requests open them on demand.
    #[must_use]
    pub fn new(target: &Target) -> Arc<Self> {
        let idle = Idle::new(target.connections, target.endpoints.len());
        Arc::new(Self { endpoints: target.endpoints.clone(), idle: Mutex::new(idle) })
    }

    /// Posts a JSON body and waits for the response head.
    ///
    /// As in other client libraries, an idle connection that the server closed is replaced once, if nothing of the request
    /// was written to it.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn post(
        self: &Arc<Self>,
        path: &'static str,
        body: Bytes,
    ) -> Result<ResponseReader, SendError> {
        let slot = self.lock().take();
        let mut lease = Lease { client: Arc::clone(self), slot: Some(slot), sender: None };
        let endpoint = self.endpoints.get(lease.endpoint()).ok_or(SendError::NoEndpoint)?;
        let mut request = Request::post(path)
            .header(HOST, &endpoint.host)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(Full::new(body))
            .unwrap_or_default();
        if let Some(mut sender) = lease.take_idle()
            && sender.ready().await.is_ok()
        {
            match sender.try_send_request(request).await {
                Ok(response) => return Ok(lease.respond(response, sender)),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(SendError::Exchange(error.into_error())),
                },
            }
        }
        let mut sender = connect(&endpoint.authority).await?;
        let response = sender.send_request(request).await.map_err(SendError::Exchange)?;
        Ok(lease.respond(response, sender))
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn connect(authority: &str) -> Result<Sender, SendError> {
    let stream = TcpStream::connect(authority).await.map_err(SendError::Connect)?;
    stream.set_nodelay(true).map_err(SendError::Connect)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(SendError::Exchange)?;
    // The task ends with its sender or its peer; the exchange reports any error.
    tokio::spawn(connection);
    Ok(sender)
}

/// A connection in use. Dropped before the end of the response, it closes the connection, which is how HTTP/1.1 clients
/// cancel.
#[derive(Debug)]
struct Lease {
    client: Arc<Client>,
    slot: Option<Slot>,
    sender: Option<Sender>,
}

impl Lease {
    fn endpoint(&self) -> usize {
        self.slot.as_ref().map_or(usize::MAX, |slot| slot.endpoint)
    }

    fn take_idle(&mut self) -> Option<Sender> {
        self.slot.as_mut().and_then(|slot| slot.sender.take())
    }

    fn respond(mut self, response: http::Response<Incoming>, sender: Sender) -> ResponseReader {
        self.sender = Some(sender);
        let (head, body) = response.into_parts();
        ResponseReader {
            status: head.status,
            headers: head.headers,
            endpoint: self.endpoint(),
            body,
            lease: self,
        }
    }

    fn keep(mut self) {
        if let (Some(mut slot), Some(sender)) = (self.slot.take(), self.sender.take()) {
            slot.sender = Some(sender);
            self.client.lock().give_back(slot);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            self.client.lock().give_back_broken(&slot);
        }
    }
}

/// A response whose body is still to be read.
#[derive(Debug)]
pub struct ResponseReader {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// Index of the connection's endpoint in the target.
    pub endpoint: usize,
    body: Incoming,
    lease: Lease,
}

impl ResponseReader {
    /// The next chunk of the body; `None` at its end. Trailers are skipped.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, hyper::Error>> {
        loop {
            match self.body.frame().await? {
                Ok(frame) => {
                    if let Ok(data) = frame.into_data() {
                        return Some(Ok(data));
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// Returns the connection for the next request. Call it after the end of the body.
    pub fn finish(self) {
        self.lease.keep();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_plain_http_servers() {
        let authority = |url: &str| url.parse::<ServerAddress>().ok().map(|endpoint| endpoint.authority);
        assert_eq!(authority("http://127.0.0.1:8000").as_deref(), Some("127.0.0.1:8000"));
        assert_eq!(authority("http://localhost/").as_deref(), Some("localhost:80"));
        assert_eq!(authority("http://[::1]:81").as_deref(), Some("[::1]:81"));
        for url in ["", "127.0.0.1:8000", "https://a:1", "http://a:1/v1", "http://u@a:1", "http://"] {
            assert_eq!(authority(url), None, "{url}");
        }
    }
}
