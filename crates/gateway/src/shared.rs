//! What all connections of a gateway share.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pointsman_core::Rng;
use pointsman_fleet::Fleet;
use pointsman_telemetry::{Metrics, trace::Tracer};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::stored::Stored;
use crate::upstream::Upstreams;
use pointsman_fleet::Budget;

/// The gateway's state, behind one reference count.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) fleet: Fleet,
    pub(crate) metrics: Metrics,
    pub(crate) tracer: Tracer,
    pub(crate) upstreams: Upstreams,
    pub(crate) stored: Arc<Stored>,
    /// Bytes of held bodies.
    pub(crate) held: Arc<Budget>,
    /// Requests in flight.
    pub(crate) requests: Arc<Budget>,
    /// Client connections.
    pub(crate) connections: Arc<Budget>,
    /// Connections and tunnels, awaited at shutdown.
    pub(crate) tasks: TaskTracker,
    /// No new requests.
    pub(crate) closing: CancellationToken,
    /// The time to drain is over.
    pub(crate) cut: CancellationToken,
    draws: AtomicU64,
}

impl Shared {
    pub(crate) fn new(fleet: Fleet, metrics: Metrics, tracer: Tracer) -> Self {
        Self {
            fleet,
            metrics,
            tracer,
            upstreams: Upstreams::default(),
            stored: Arc::default(),
            held: Arc::default(),
            requests: Arc::default(),
            connections: Arc::default(),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            cut: CancellationToken::new(),
            draws: AtomicU64::new(RandomState::new().hash_one(0)),
        }
    }

    /// A random number for one request, to draw among weighted backends and targets.
    pub(crate) fn draw(&self) -> u64 {
        Rng::seeded(self.draws.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)).next_u64()
    }
}
