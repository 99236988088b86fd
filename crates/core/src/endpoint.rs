//! The facts about an endpoint that drivers report.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::{ModelKey, PoolSet};
use crate::time::Time;

/// The configuration of an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EndpointSpec {
    /// The InferencePools that select it.
    pub pools: PoolSet,
}

/// One reading of an engine's gauges. A field is `None` where the page lacks the series or holds no sane number.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadReport {
    /// When the reading was requested: later changes are not in it.
    pub taken: Time,
    /// Requests in the running batch.
    pub running: Option<u32>,
    /// Requests waiting for a `max_num_seqs` slot, KV blocks or an adapter slot.
    pub waiting: Option<u32>,
    /// Of those, the ones that wait for an adapter slot (vLLM's reason `deferred`).
    pub deferred: Option<u32>,
    /// Use of the KV cache, 0 to 1.
    pub kv_use: Option<f64>,
    /// KV blocks in all.
    pub kv_blocks: Option<u32>,
    /// Tokens per KV block.
    pub block_size: Option<u32>,
    /// Tokens that the KV cache holds, where the engine states it. Where layers share blocks unequally (hybrid models), it is
    /// not the product of the two above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_tokens: Option<u32>,
    /// The engine's `max_num_seqs` (most requests in a batch), where it reports it.
    pub max_running: Option<u32>,
    /// Adapter state; `None` where the engine shows none.
    pub adapters: Option<AdapterReport>,
    /// Counters since the engine's start, to derive rates from.
    pub totals: EngineTotals,
}

/// Adapter slots as the engine's gauge shows them: only adapters with a started request are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdapterReport {
    /// Adapter slots of the engine.
    pub max_adapters: u32,
    /// Adapters with a started request.
    pub active: Vec<ModelKey>,
}

/// Counters of an engine since its start. A value below the one before means that it restarted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EngineTotals {
    /// Prompt tokens processed.
    pub prompt_tokens: Option<f64>,
    /// Prompt tokens that came from the prefix cache.
    pub cached_tokens: Option<f64>,
    /// Seconds spent in prefill, over all requests.
    pub prefill_seconds: Option<f64>,
    /// Sum of inter-token times, seconds.
    pub inter_token_seconds: Option<f64>,
    /// Number of inter-token times in that sum.
    pub inter_token_count: Option<f64>,
    /// Output tokens.
    pub output_tokens: Option<f64>,
    /// Preemptions.
    pub preemptions: Option<f64>,
}

/// An endpoint's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Health {
    /// It takes requests.
    Ready,
    /// It finishes the requests it has and takes no new ones.
    Draining,
    /// It failed and takes no requests for a while.
    Ejected(Ejection),
    /// It was ejected, and one request is under way to find out whether it works again (half-open).
    OnTrial,
}

/// Why and for how long an endpoint is ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ejection {
    /// The failure that caused it.
    pub cause: crate::request::FailureCause,
    /// It stays ejected until this time at least.
    pub until: Time,
    /// The back-off in force; it doubles with each failed return.
    pub back_off: Duration,
}
