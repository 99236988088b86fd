//! A client connection, as its requests and its byte stream see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use http::Version;

use crate::bound_port::BoundPort;
use crate::client::Client;
use crate::shared::Shared;

/// State that the requests of one client connection share.
#[derive(Debug)]
pub(crate) struct ConnectionContext {
    pub(crate) shared: Arc<Shared>,
    pub(crate) client: Client,
    pub(crate) port: BoundPort,
    pub(crate) requests: Arc<ConnectionRequests>,
}

/// Counts of a connection's requests.
#[derive(Debug, Default)]
pub(crate) struct ConnectionRequests {
    in_flight: AtomicU32,
    begun: AtomicU64,
    /// Whether the latest was of HTTP/1.0, whose clients know no interim responses.
    is_old: AtomicBool,
}

/// A request in flight on a connection, until it is dropped with the end of its response.
#[derive(Debug)]
pub(crate) struct ConnectionRequest {
    requests: Arc<ConnectionRequests>,
}

impl ConnectionRequests {
    /// Counts a request whose head has arrived.
    pub(crate) fn begin(self: &Arc<Self>, version: Version) -> ConnectionRequest {
        if version < Version::HTTP_11 {
            self.is_old.store(true, Ordering::Relaxed);
        }
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.begun.fetch_add(1, Ordering::Relaxed);
        ConnectionRequest { requests: Arc::clone(self) }
    }

    /// Requests in flight.
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whether the client knows interim responses (1xx).
    pub(crate) fn take_interim_responses(&self) -> bool {
        !self.is_old.load(Ordering::Relaxed)
    }

    /// Requests so far.
    pub(crate) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }
}

impl Drop for ConnectionRequest {
    fn drop(&mut self) {
        self.requests.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
