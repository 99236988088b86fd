//! Why a request went where it went.

use serde::{Deserialize, Serialize};

use crate::ids::EndpointId;

/// The record of one placement: every candidate with its cost. Plain numbers; no prompt text can be in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The endpoint chosen.
    pub chosen: EndpointId,
    /// What was weighed, in ascending order of endpoint.
    pub candidates: Vec<Candidate>,
}

/// One endpoint that could have been chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Its cost for this request; seconds under the default placement, the policy's own figure otherwise.
    pub cost: f64,
    /// Requests in flight there.
    pub in_flight: u32,
    /// Prompt tokens dispatched there and not yet prefilled.
    pub pending_tokens: u64,
}
