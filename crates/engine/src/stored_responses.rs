//! Responses of `/v1/responses` that later requests can read or continue, by id.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::lock::locked;
use crate::text::Token;

/// Number of responses that are kept; beyond it the oldest is dropped.
const MAX_RESPONSES: usize = 256;

/// A finished response.
#[derive(Clone)]
pub(crate) struct StoredResponse {
    pub(crate) id: String,
    /// The response object as JSON.
    pub(crate) json: Bytes,
    /// Prompt and output, with which the prompt of a continuation begins.
    pub(crate) tokens: Vec<Token>,
}

/// The stored responses of one server; clones share them.
#[derive(Clone, Default)]
pub(crate) struct StoredResponses(Arc<Mutex<VecDeque<StoredResponse>>>);

impl StoredResponses {
    pub(crate) fn insert(&self, response: StoredResponse) {
        let mut stored = locked(&self.0);
        if stored.len() >= MAX_RESPONSES {
            stored.pop_front();
        }
        stored.push_back(response);
    }

    pub(crate) fn get(&self, id: &str) -> Option<StoredResponse> {
        locked(&self.0).iter().find(|response| response.id == id).cloned()
    }
}
