//! State that all connections of a gateway share.

use std::sync::Arc;

use pointsman_door::{Budget, Door};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::reader_watch::ReaderWatch;
use crate::upstream::Upstreams;

/// The gateway's shared state.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) door: Arc<Door>,
    pub(crate) upstreams: Upstreams,
    pub(crate) readers: Arc<ReaderWatch>,
    /// Request bodies whose rest is being discarded.
    pub(crate) discarded_bodies: Arc<Budget>,
    /// Searches for the holders of stored responses.
    pub(crate) searches: Arc<Budget>,
    /// Client connections.
    pub(crate) connections: Arc<Budget>,
    /// Tasks of connections and tunnels, awaited at shutdown.
    pub(crate) tasks: TaskTracker,
    /// Cancelled when the gateway stops accepting connections and requests.
    pub(crate) closing: CancellationToken,
    /// Cancelled at the end of the drain timeout.
    pub(crate) abort: CancellationToken,
}

impl Shared {
    pub(crate) fn new(door: Arc<Door>) -> Self {
        Self {
            door,
            upstreams: Upstreams::default(),
            readers: Arc::default(),
            discarded_bodies: Arc::default(),
            searches: Arc::default(),
            connections: Arc::default(),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            abort: CancellationToken::new(),
        }
    }
}
