//! Which engine holds a stored response, for the whole gateway.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pointsman_core::{EndpointId, Time};
use pointsman_exchange::StoredResponses;

/// The most stored responses that are remembered.
const CAPACITY: usize = 100_000;
/// How long one is remembered after its last use; engines keep them in memory for less.
const LIFETIME: Duration = Duration::from_hours(24);

/// Stored responses behind a lock that is held for a look-up.
#[derive(Debug)]
pub(crate) struct Stored(Mutex<StoredResponses>);

impl Default for Stored {
    fn default() -> Self {
        Self(Mutex::new(StoredResponses::new(CAPACITY, LIFETIME)))
    }
}

impl Stored {
    /// The endpoint that holds the response.
    pub(crate) fn holder(&self, now: Time, id: &str) -> Option<EndpointId> {
        self.lock().holder(now, id)
    }

    /// The endpoint holds the response from now on.
    pub(crate) fn remember(&self, now: Time, id: &str, endpoint: EndpointId) {
        self.lock().insert(now, id, endpoint);
    }

    /// The response was deleted.
    pub(crate) fn forget(&self, id: &str) {
        self.lock().forget(id);
    }

    fn lock(&self) -> MutexGuard<'_, StoredResponses> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
