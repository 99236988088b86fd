//! State that all streams of a picker share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pointsman_config::{ClientTimeouts, ObjectName};
use pointsman_door::Door;
use pointsman_exchange::Limits;
use tokio_util::sync::CancellationToken;

use crate::live::LivePool;
use crate::session::SessionOptions;
use crate::wire::ProtocolConfiguration;

/// The picker's shared state.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) door: Arc<Door>,
    pub(crate) pool: ObjectName,
    pub(crate) session: SessionOptions,
    /// Timeout for the placement of a request.
    pub(crate) pick_timeout: Duration,
    /// Cancelled when no new streams are accepted.
    pub(crate) closing: CancellationToken,
    /// Cancelled at the end of the drain timeout.
    pub(crate) abort: CancellationToken,
    draining: AtomicBool,
    modes_logged: AtomicBool,
    abort_logged: AtomicBool,
}

impl Shared {
    pub(crate) fn new(
        door: Arc<Door>,
        pool: ObjectName,
        session: SessionOptions,
        pick_timeout: Duration,
    ) -> Self {
        Self {
            door,
            pool,
            session,
            pick_timeout,
            closing: CancellationToken::new(),
            abort: CancellationToken::new(),
            draining: AtomicBool::new(false),
            modes_logged: AtomicBool::new(false),
            abort_logged: AtomicBool::new(false),
        }
    }

    /// The pool of the configuration in force, if it exists.
    pub(crate) fn live_pool(&self) -> Option<LivePool> {
        let generation = self.door.fleet.load();
        let handle = generation.pools.iter().find(|pool| pool.name == self.pool)?;
        Some(LivePool { handle: Arc::clone(handle), door: Arc::clone(&self.door) })
    }

    /// Makes the picker not ready, so that gateways turn to another one.
    pub(crate) fn start_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether the picker is ready for new streams.
    pub(crate) fn ready(&self) -> bool {
        !self.draining.load(Ordering::Relaxed)
            && self.door.fleet.load().pools.iter().any(|pool| pool.name == self.pool)
    }

    /// The limits of the configuration in force.
    pub(crate) fn limits(&self) -> Limits {
        Limits { max_body_bytes: self.door.fleet.load().world.gateway.max_body_bytes }
    }

    /// The timeouts towards clients of the configuration in force.
    pub(crate) fn client_timeouts(&self) -> ClientTimeouts {
        self.door.fleet.load().world.gateway.client_timeouts
    }

    /// Logs the gateway's body send modes once, since they determine what can be learned from responses.
    pub(crate) fn log_modes(&self, config: &ProtocolConfiguration) {
        if !self.modes_logged.swap(true, Ordering::Relaxed) {
            let ProtocolConfiguration { request_body_mode, response_body_mode, .. } = *config;
            tracing::info!(request_body_mode, response_body_mode, "body send modes of the gateway");
            if response_body_mode == 0 {
                tracing::info!(
                    "the gateway sends no response bodies: a complete response and a client's disconnect look the same"
                );
            }
            if request_body_mode == 1 {
                tracing::warn!("request bodies in mode STREAMED cannot be read; use FULL_DUPLEX_STREAMED");
            }
        }
    }

    /// Logs that a stream was aborted: the first time as a warning, then at debug level.
    pub(crate) fn log_aborted(&self, error: &dyn std::fmt::Display) {
        if self.abort_logged.swap(true, Ordering::Relaxed) {
            tracing::debug!(%error, "a stream was aborted");
        } else {
            tracing::warn!(%error, "a stream was aborted; further ones are logged at debug level");
        }
    }
}
