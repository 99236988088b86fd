//! The record of a placement decision, for people who ask why a request went where it went.

use serde::{Deserialize, Serialize};

use crate::ids::EndpointId;

/// The record of one placement decision: every candidate with its cost. Plain numbers; it cannot contain prompt text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The chosen endpoint.
    pub chosen: EndpointId,
    /// The candidates that the rule compared, in ascending order of endpoint.
    pub candidates: Vec<CandidateCost>,
}

/// The cost of one candidate, and the load it was computed from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CandidateCost {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Its cost for this request: seconds under the default rule, a unit of the rule's own otherwise.
    pub cost: f64,
    /// The terms of the cost under the default rule: they add up to `cost`, rounding aside. Empty under other rules, and
    /// where only ejected endpoints are left.
    #[serde(default)]
    pub terms: Vec<CostTerm>,
    /// Requests in flight there.
    pub in_flight: u32,
    /// Prompt tokens dispatched there and not yet prefilled.
    pub pending_tokens: u64,
    /// Prompt tokens of this request expected in its prefix cache.
    pub cached_tokens: u32,
}

/// One term of the default rule's cost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CostTerm {
    /// The delay that the term accounts for.
    pub delay: Delay,
    /// The term with its weight, in seconds.
    pub seconds: f64,
}

/// The delays that the default rule adds up (`placement/least_cost.rs`); `docs/placement.md` explains the symbols.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delay {
    /// Prefill of the prompts ahead of the request: *w·P/R*.
    Waiting,
    /// Prefill of the request itself: *12·u/R*.
    OwnPrefill,
    /// Decode steps of running requests that the prefill holds up: *n·u/R*.
    Stalls,
    /// Later prefill of blocks that the prompt evicts from a full prefix cache: *60·d·u/R*.
    Eviction,
    /// Prefill that an endpoint with a longer cached prefix would save: *24·b/(1.04 − b)·h·(u − u₀)/R*.
    Detour,
    /// Loading the adapter, or waiting for one of its slots.
    AdapterLoad,
    /// Decoding of the request itself: *Ô·s*.
    Decode,
    /// Slower decoding of the requests beside it: *Ô·s′*.
    SlowedDecode,
}

impl Delay {
    /// The kebab-case name, as in serialized records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::OwnPrefill => "own-prefill",
            Self::Stalls => "stalls",
            Self::Eviction => "eviction",
            Self::Detour => "detour",
            Self::AdapterLoad => "adapter-load",
            Self::Decode => "decode",
            Self::SlowedDecode => "slowed-decode",
        }
    }
}
