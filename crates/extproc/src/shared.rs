//! What all streams of a picker share.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pointsman_config::ObjectName;
use pointsman_core::Rng;
use pointsman_exchange::{Limits, StoredResponses};
use pointsman_fleet::Fleet;
use pointsman_telemetry::Metrics;
use pointsman_telemetry::trace::Tracer;
use tokio_util::sync::CancellationToken;

use crate::live::LivePool;
use crate::session::SessionOptions;
use crate::wire::ProtocolConfiguration;
use pointsman_fleet::Budget;

/// The most stored responses that are remembered.
const STORED: usize = 100_000;
/// How long one is remembered after its last use; engines keep them in memory for less.
const STORED_FOR: Duration = Duration::from_hours(24);

/// The picker's state, behind one reference count.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) fleet: Fleet,
    pub(crate) metrics: Metrics,
    pub(crate) tracer: Tracer,
    pub(crate) pool: ObjectName,
    pub(crate) session: SessionOptions,
    pub(crate) pick_patience: Duration,
    pub(crate) body_patience: Duration,
    /// Bytes of held bodies.
    pub(crate) held: Arc<Budget>,
    /// Streams.
    pub(crate) streams: Arc<Budget>,
    /// No new streams.
    pub(crate) closing: CancellationToken,
    /// The time to drain is over.
    pub(crate) cut: CancellationToken,
    pub(crate) stored: Mutex<StoredResponses>,
    draws: AtomicU64,
    leaving: AtomicBool,
    modes_told: AtomicBool,
    broken_told: AtomicBool,
}

impl Shared {
    pub(crate) fn new(
        fleet: Fleet,
        (metrics, tracer): (Metrics, Tracer),
        pool: ObjectName,
        session: SessionOptions,
        (pick_patience, body_patience): (Duration, Duration),
    ) -> Self {
        Self {
            fleet,
            metrics,
            tracer,
            pool,
            session,
            pick_patience,
            body_patience,
            held: Arc::default(),
            streams: Arc::default(),
            closing: CancellationToken::new(),
            cut: CancellationToken::new(),
            stored: Mutex::new(StoredResponses::new(STORED, STORED_FOR)),
            draws: AtomicU64::new(RandomState::new().hash_one(0)),
            leaving: AtomicBool::new(false),
            modes_told: AtomicBool::new(false),
            broken_told: AtomicBool::new(false),
        }
    }

    /// The pool as it is configured now; `None` where the configuration has it no more.
    pub(crate) fn live_pool(self: &Arc<Self>) -> Option<LivePool> {
        let generation = self.fleet.load();
        let index = generation.pools.iter().position(|pool| *pool.name() == self.pool)?;
        let rules = &generation.world.pools.get(index)?.models;
        Some(LivePool::new(Arc::clone(&generation.pools[index]), Arc::clone(rules), Arc::clone(self)))
    }

    /// From now on new streams are not welcome.
    pub(crate) fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// Whether new streams are welcome.
    pub(crate) fn ready(&self) -> bool {
        !self.leaving.load(Ordering::Relaxed)
            && self.fleet.load().pools.iter().any(|pool| *pool.name() == self.pool)
    }

    /// Bounds on requests, as configured now.
    pub(crate) fn limits(&self) -> Limits {
        Limits { max_body_bytes: self.fleet.load().world.gateway.max_body_bytes }
    }

    /// A random number for one request, to draw among weighted targets.
    pub(crate) fn draw(&self) -> u64 {
        Rng::seeded(self.draws.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)).next_u64()
    }

    pub(crate) fn stored(&self) -> MutexGuard<'_, StoredResponses> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says once what the gateway sends, because what can be learned from responses depends on it.
    pub(crate) fn tell_modes(&self, config: &ProtocolConfiguration) {
        if !self.modes_told.swap(true, Ordering::Relaxed) {
            let ProtocolConfiguration { request_body_mode, response_body_mode, .. } = *config;
            tracing::info!(request_body_mode, response_body_mode, "the gateway's body send modes");
            if response_body_mode == 0 {
                tracing::info!(
                    "no response bodies come, so an answer's end and a client's leave look the same"
                );
            }
            if request_body_mode == 1 {
                tracing::warn!("request bodies come STREAMED and cannot be read; use FULL_DUPLEX_STREAMED");
            }
        }
    }

    /// Says that a stream broke off: once loudly, then for those who look closely.
    pub(crate) fn tell_broken(&self, error: &dyn std::fmt::Display) {
        if self.broken_told.swap(true, Ordering::Relaxed) {
            tracing::debug!(%error, "a stream was broken off");
        } else {
            tracing::warn!(%error, "a stream was broken off; further ones are logged at debug level");
        }
    }
}
