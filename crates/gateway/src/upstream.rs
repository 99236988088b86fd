//! Connections to engines: one [`Upstream`] per endpoint, which sends a request on a kept or a new connection.
//!
//! An HTTP/1.1 connection is driven by the task of the request that uses it: no task, channel or wake-up stands
//! between the engine's socket and the client's. HTTP/2 connections are shared and have a task each.

mod answer;
mod body;
mod failure;
mod h1;
mod h2;

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use http::Request;
use http::header::HeaderValue;
use pointsman_config::AppProtocol;
use pointsman_core::{EndpointId, FailureCause};
use pointsman_fleet::{Connection, Connector, HttpVersion, PoolEndpoint};

pub(crate) use answer::{AnswerBody, Answered};
pub(crate) use body::OutBody;
use failure::Sent;
pub(crate) use failure::{SendCause, SendError};
pub(crate) use h1::upgrade;

use h1::H1;

/// The most idle connections kept to one endpoint.
const MAX_IDLE: usize = 512;
/// The longest head that an engine may answer with, in bytes.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// The most header fields that an engine may answer with.
const MAX_HEADERS: usize = 256;

/// What an endpoint turned out to speak.
const UNKNOWN: u8 = 0;
const SPEAKS_H1: u8 = 1;
const SPEAKS_H2: u8 = 2;

/// The connections to one endpoint.
#[derive(Debug)]
pub(crate) struct Upstream {
    connector: Arc<Connector>,
    authority: HeaderValue,
    secure: bool,
    speaks: AtomicU8,
    /// Idle connections; the one used last is used next, so that the others age and go.
    idle: Mutex<Vec<Idle>>,
    shared: h2::Shared,
    keep_alive: Duration,
}

#[derive(Debug)]
struct Idle {
    connection: Box<H1>,
    since: Instant,
}

/// A new connection, and what is spoken on it.
enum Fresh {
    H1(Box<H1>),
    H2(h2::Sender),
}

impl Upstream {
    fn new(endpoint: &PoolEndpoint) -> Self {
        let protocol = endpoint.address.protocol;
        Self {
            connector: Arc::clone(endpoint.connector()),
            authority: HeaderValue::from_str(endpoint.authority())
                .unwrap_or_else(|_| HeaderValue::from_static("engine")),
            secure: protocol == AppProtocol::Https,
            speaks: AtomicU8::new(match protocol {
                AppProtocol::Http => SPEAKS_H1,
                AppProtocol::H2c => SPEAKS_H2,
                AppProtocol::Https => UNKNOWN,
            }),
            idle: Mutex::default(),
            shared: h2::Shared::default(),
            keep_alive: endpoint.timeouts.keep_alive,
        }
    }

    /// The `authorization` that the engines of this pool want in place of the client's.
    pub(crate) fn authorization(&self) -> Option<HeaderValue> {
        self.connector.authorization()
    }

    /// `host:port`.
    pub(crate) const fn authority(&self) -> &HeaderValue {
        &self.authority
    }

    /// Whether the endpoint is reached over TLS.
    pub(crate) const fn is_secure(&self) -> bool {
        self.secure
    }

    /// Sends a request and waits for the head of its answer. The request is in origin form, with a `host`.
    ///
    /// A kept connection that turns out to be closed before anything was written costs nothing: the next one is
    /// taken, and a new one in the end. With `fresh` no kept connection is used.
    pub(crate) async fn send(
        self: &Arc<Self>,
        endpoint: &PoolEndpoint,
        mut request: Request<OutBody>,
        fresh: bool,
    ) -> Result<Answered, SendError> {
        if !fresh {
            while let Some(connection) = self.checkout().await {
                match h1::send(self, connection, request).await {
                    Ok(answered) => return Ok(answered),
                    Err(Sent::Unsent(back)) => request = *back,
                    Err(Sent::Failed(cause)) => return Err(SendError { cause, kept: true }),
                }
            }
            if let Some(sender) = self.shared.get() {
                match h2::send(self, sender, request).await {
                    Ok(answered) => return Ok(answered),
                    Err(Sent::Unsent(back)) => request = *back,
                    Err(Sent::Failed(cause)) => return Err(SendError { cause, kept: true }),
                }
            }
        }
        let sent = match self.connect(endpoint).await? {
            Fresh::H1(connection) => h1::send(self, connection, request).await,
            Fresh::H2(sender) => h2::send(self, sender, request).await,
        };
        sent.map_err(|sent| SendError {
            kept: false,
            cause: match sent {
                Sent::Unsent(_) => FailureCause::Refused.into(),
                Sent::Failed(cause) => cause,
            },
        })
    }

    /// Connects, within the endpoint's budget. Where HTTP/2 is spoken, or may be, one caller connects and the others
    /// share what it got.
    async fn connect(&self, endpoint: &PoolEndpoint) -> Result<Fresh, SendError> {
        let _turn = match self.speaks.load(Ordering::Relaxed) {
            SPEAKS_H1 => None,
            _ => Some(self.shared.turn().await),
        };
        if let Some(sender) = self.shared.get() {
            return Ok(Fresh::H2(sender));
        }
        let Connection { io, version } = open(&self.connector, endpoint).await?;
        match version {
            HttpVersion::Http1 => {
                self.speaks.store(SPEAKS_H1, Ordering::Relaxed);
                Ok(Fresh::H1(Box::new(H1::open(io).await?)))
            }
            HttpVersion::Http2 => {
                self.speaks.store(SPEAKS_H2, Ordering::Relaxed);
                Ok(Fresh::H2(self.shared.open(io).await?))
            }
        }
    }

    /// The idle connection used last that still lives.
    async fn checkout(&self) -> Option<Box<H1>> {
        loop {
            let mut connection = {
                let mut idle = self.idle();
                let newest = idle.pop()?;
                if newest.since.elapsed() >= self.keep_alive {
                    // All below it are older.
                    idle.clear();
                    return None;
                }
                newest.connection
            };
            if poll_fn(|cx| std::task::Poll::Ready(connection.poll_idle(cx))).await {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection whose exchange is over.
    fn check_in(&self, connection: Box<H1>) {
        let mut idle = self.idle();
        if idle.len() < MAX_IDLE {
            idle.push(Idle { connection, since: Instant::now() });
        }
    }

    /// Closes the connections that were idle for too long.
    fn trim(&self) {
        let mut idle = self.idle();
        let fresh = idle.iter().position(|idle| idle.since.elapsed() < self.keep_alive);
        let old = fresh.unwrap_or(idle.len());
        let closed: Vec<Idle> = idle.drain(..old).collect();
        drop(idle);
        drop(closed);
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connects within the endpoint's budget.
async fn open(connector: &Connector, endpoint: &PoolEndpoint) -> Result<Connection, SendError> {
    let opened = connector.connect(&endpoint.address, endpoint.timeouts.connect).await;
    opened.map_err(|error| {
        tracing::debug!(endpoint = endpoint.authority(), reason = error.reason, "no connection");
        error.cause.into()
    })
}

/// The upstreams of all endpoints, made at their first use.
#[derive(Debug, Default)]
pub(crate) struct Upstreams {
    by_endpoint: RwLock<HashMap<Key, Arc<Upstream>>>,
}

/// Pools that share an endpoint share its connections where they reach it in the same way.
type Key = (EndpointId, usize);

impl Upstreams {
    /// The connections to an endpoint.
    pub(crate) fn of(&self, endpoint: &PoolEndpoint) -> Arc<Upstream> {
        // The connector is kept alive by the entry, so its address stands for it.
        let key = (endpoint.id, Arc::as_ptr(endpoint.connector()).addr());
        if let Some(upstream) = self.by_endpoint.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Arc::clone(upstream);
        }
        let mut all = self.by_endpoint.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(key).or_insert_with(|| Arc::new(Upstream::new(endpoint))))
    }

    /// Closes what was idle for too long, and forgets endpoints that `keep` says are gone.
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
