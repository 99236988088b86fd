//! Responses that later requests can refer to, by id.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::api::Prompt;

/// The most responses that are kept; then the oldest goes.
const LIMIT: usize = 256;

/// A response that was given.
#[derive(Clone)]
pub(crate) struct StoredResponse {
    pub(crate) id: String,
    pub(crate) json: String,
    /// Its prompt and answer.
    pub(crate) tokens: Prompt,
}

/// The responses of one server; clones share them.
#[derive(Clone, Default)]
pub(crate) struct StoredResponses(Arc<Mutex<VecDeque<StoredResponse>>>);

impl StoredResponses {
    pub(crate) fn put(&self, response: StoredResponse) {
        let mut stored = self.locked();
        if stored.len() >= LIMIT {
            stored.pop_front();
        }
        stored.push_back(response);
    }

    pub(crate) fn get(&self, id: &str) -> Option<StoredResponse> {
        self.locked().iter().find(|response| response.id == id).cloned()
    }

    fn locked(&self) -> MutexGuard<'_, VecDeque<StoredResponse>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
