//! Connections to engines: one [`Upstream`] per endpoint, which sends requests on reused or new connections.
//!
//! An HTTP/1.1 connection is driven by the task of the request that uses it, so that no channel or wake-up lies between
//! the engine's socket and the client's. An HTTP/2 connection is shared by as many requests as the engine allows, and driven by
//! its own task.

mod engine_io;
mod failure;
mod h1;
mod h2;
mod request_body;
mod response;

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use http::Request;
use http::header::{HeaderName, HeaderValue};
use pointsman_config::AppProtocol;
use pointsman_core::{EndpointId, FailureCause};
use pointsman_fleet::{Connection, Connector, HttpVersion, PoolEndpoint};

pub(crate) use failure::SendError;
use failure::SendFailure;
pub(crate) use h1::upgrade;
pub(crate) use request_body::{RequestBody, Rest, RestSlot};
pub(crate) use response::{UpstreamBody, UpstreamResponse};

use h1::H1;

/// Maximum number of idle connections to one endpoint.
const MAX_IDLE: usize = 512;
/// Maximum length of a response head, in bytes.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// Maximum number of response header fields.
const MAX_HEADERS: usize = 256;

/// HTTP version of an endpoint, as far as it is known.
const UNKNOWN: u8 = 0;
const SPEAKS_H1: u8 = 1;
const SPEAKS_H2: u8 = 2;

/// The connections to one endpoint.
#[derive(Debug)]
pub(crate) struct Upstream {
    connector: Arc<Connector>,
    /// `host:port`.
    pub(crate) authority: HeaderValue,
    /// Whether the endpoint is reached over TLS.
    pub(crate) secure: bool,
    version: AtomicU8,
    idle: Mutex<IdleConnections>,
    shared: h2::SharedConnections,
}

#[derive(Debug)]
struct IdleConnections {
    /// Most recently used last. That one is reused first, so that surplus connections expire.
    connections: Vec<Idle>,
    /// That of the latest request's configuration.
    keep_alive: Duration,
}

#[derive(Debug)]
struct Idle {
    connection: Box<H1>,
    since: Instant,
}

/// A new connection by HTTP version.
enum NewConnection {
    H1(Box<H1>),
    H2(h2::Sender),
}

impl Upstream {
    fn new(endpoint: &PoolEndpoint) -> Self {
        let protocol = endpoint.address.protocol;
        Self {
            connector: Arc::clone(&endpoint.connector),
            authority: HeaderValue::from_str(&endpoint.authority)
                .unwrap_or_else(|_| HeaderValue::from_static("engine")),
            secure: protocol == AppProtocol::Https,
            version: AtomicU8::new(match protocol {
                AppProtocol::Http => SPEAKS_H1,
                AppProtocol::H2c => SPEAKS_H2,
                AppProtocol::Https => UNKNOWN,
            }),
            idle: Mutex::new(IdleConnections {
                connections: Vec::new(),
                keep_alive: endpoint.timeouts.keep_alive,
            }),
            shared: h2::SharedConnections::default(),
        }
    }

    /// The header with the pool's API key, which replaces the client's credentials.
    pub(crate) fn api_key(&self) -> Option<(HeaderName, HeaderValue)> {
        self.connector.api_key()
    }

    /// Sends a request and awaits the response head. The request is in origin form, with a `host`.
    ///
    /// If a kept connection turns out to be closed before anything was written, the next one is used, and finally a new
    /// one. With `new_connection` none is reused.
    pub(crate) async fn send(
        self: &Arc<Self>,
        endpoint: &PoolEndpoint,
        mut request: Request<RequestBody>,
        new_connection: bool,
    ) -> Result<UpstreamResponse, SendError> {
        if !new_connection {
            while let Some(connection) = self.checkout(endpoint.timeouts.keep_alive).await {
                let written = Instant::now();
                match h1::send(self, connection, request).await {
                    Ok(response) => return Ok(response),
                    Err(SendFailure::Unsent(back)) => request = *back,
                    Err(SendFailure::Failed(error)) => return Err(error.on_reused(written)),
                }
            }
            if let Some(sender) = self.shared.get() {
                let written = Instant::now();
                match h2::send(self, sender, request).await {
                    Ok(response) => return Ok(response),
                    Err(SendFailure::Unsent(back)) => request = *back,
                    Err(SendFailure::Failed(error)) => return Err(error.on_reused(written)),
                }
            }
        }
        // Boxed, since requests on reused connections would have its memory otherwise.
        let sent = match Box::pin(self.connect(endpoint)).await? {
            NewConnection::H1(connection) => h1::send(self, connection, request).await,
            NewConnection::H2(sender) => h2::send(self, sender, request).await,
        };
        sent.map_err(|sent| match sent {
            SendFailure::Unsent(_) => FailureCause::Refused.into(),
            SendFailure::Failed(error) => error,
        })
    }

    /// A request got no response in time. A connection that is shared may be the cause, for instance because requests that the
    /// engine does not read fill its window; so the next requests open another one.
    pub(crate) fn no_response(&self) {
        self.shared.retire();
    }

    /// Opens a connection within the endpoint's connect timeout. Unless the endpoint is known to speak HTTP/1.1, one
    /// request connects at a time, so that the others can share an HTTP/2 connection, or learn that they need their own. A
    /// failure is that of all requests that waited for it.
    async fn connect(&self, endpoint: &PoolEndpoint) -> Result<NewConnection, SendError> {
        if self.version.load(Ordering::Relaxed) == SPEAKS_H1 {
            return self.connect_once(endpoint).await;
        }
        let before = self.shared.last_failure();
        let connecting = self.shared.connecting.lock().await;
        if let Some(sender) = self.shared.get() {
            return Ok(NewConnection::H2(sender));
        }
        if self.version.load(Ordering::Relaxed) == SPEAKS_H1 {
            drop(connecting);
            return self.connect_once(endpoint).await;
        }
        if let Some(failure) = self.shared.last_failure()
            && before != Some(failure)
        {
            return Err(failure.cause.into());
        }
        let opened = self.connect_once(endpoint).await;
        if let Err(SendError::Attempt(cause)) = &opened {
            self.shared.failed(*cause);
        }
        opened
    }

    async fn connect_once(&self, endpoint: &PoolEndpoint) -> Result<NewConnection, SendError> {
        let Connection { io, version } = open(&self.connector, endpoint).await?;
        match version {
            HttpVersion::Http1 => {
                self.version.store(SPEAKS_H1, Ordering::Relaxed);
                Ok(NewConnection::H1(Box::new(H1::open(io).await?)))
            }
            HttpVersion::Http2 => {
                self.version.store(SPEAKS_H2, Ordering::Relaxed);
                Ok(NewConnection::H2(self.shared.open_on(io, endpoint.timeouts.connect).await?))
            }
        }
    }

    /// Takes the most recently used idle connection that is open.
    async fn checkout(&self, keep_alive: Duration) -> Option<Box<H1>> {
        loop {
            let mut connection = {
                let mut idle = self.idle();
                idle.keep_alive = keep_alive;
                let newest = idle.connections.pop()?;
                if newest.since.elapsed() >= keep_alive {
                    // All others are older.
                    idle.connections.clear();
                    return None;
                }
                newest.connection
            };
            if poll_fn(|cx| std::task::Poll::Ready(connection.poll_idle(cx))).await {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection for reuse.
    fn check_in(&self, connection: Box<H1>) {
        let mut idle = self.idle();
        if idle.connections.len() < MAX_IDLE {
            idle.connections.push(Idle { connection, since: Instant::now() });
        }
    }

    /// Closes connections that were idle for longer than the keep-alive timeout.
    fn trim(&self) {
        let mut idle = self.idle();
        let keep_alive = idle.keep_alive;
        let expired = idle.connections.partition_point(|idle| idle.since.elapsed() >= keep_alive);
        let closed: Vec<Idle> = idle.connections.drain(..expired).collect();
        drop(idle);
        self.shared.trim(keep_alive);
        drop(closed);
    }

    fn idle(&self) -> MutexGuard<'_, IdleConnections> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connects within the endpoint's connect timeout.
async fn open(connector: &Connector, endpoint: &PoolEndpoint) -> Result<Connection, SendError> {
    let opened = connector.connect(&endpoint.address, endpoint.timeouts.connect).await;
    opened.map_err(|error| {
        tracing::debug!(endpoint = &*endpoint.authority, reason = error.reason, "connection failed");
        error.cause.into()
    })
}

/// The upstreams of all endpoints, created at their first use.
#[derive(Debug, Default)]
pub(crate) struct Upstreams {
    by_endpoint: RwLock<HashMap<Key, Arc<Upstream>>>,
}

/// Endpoint and address of its connector: pools that share an endpoint share its connections if they reach it with the
/// same TLS settings and credentials.
type Key = (EndpointId, usize);

impl Upstreams {
    /// The connections to an endpoint.
    pub(crate) fn of(&self, endpoint: &PoolEndpoint) -> Arc<Upstream> {
        // The entry keeps the connector alive, so its address identifies it.
        let key = (endpoint.id, Arc::as_ptr(&endpoint.connector).addr());
        if let Some(upstream) = self.by_endpoint.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Arc::clone(upstream);
        }
        let mut all = self.by_endpoint.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(key).or_insert_with(|| Arc::new(Upstream::new(endpoint))))
    }

    /// Closes expired idle connections, and drops endpoints for which `keep` returns `false`.
    pub(crate) fn trim(&self, keep: impl Fn(EndpointId) -> bool) {
        let mut all = self.by_endpoint.write().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(endpoint, _), _| keep(*endpoint));
        let upstreams: Vec<_> = all.values().cloned().collect();
        drop(all);
        for upstream in upstreams {
            upstream.trim();
        }
    }
}
