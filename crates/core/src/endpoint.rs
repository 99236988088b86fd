//! What the core is told about an endpoint.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::{ModelKey, PoolSet};
use crate::time::Time;

/// The standing facts of an endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndpointSpec {
    /// The InferencePools that select it.
    pub pools: PoolSet,
}

/// One reading of an engine's gauges. A field is `None` where the page lacks the series or holds no sane number.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadReport {
    /// When the reading was asked for: what happened later is not in it.
    pub taken: Time,
    /// Requests in the running batch.
    pub running: Option<u32>,
    /// Requests waiting for a seat, blocks or an adapter slot.
    pub waiting: Option<u32>,
    /// Of those, the ones that wait for an adapter slot (vLLM's reason `deferred`).
    pub deferred: Option<u32>,
    /// Use of the KV cache, 0 to 1.
    pub kv_use: Option<f64>,
    /// KV blocks in all.
    pub kv_blocks: Option<u32>,
    /// Tokens per KV block.
    pub block_size: Option<u32>,
    /// The engine's seats (most requests in a batch), where it tells.
    pub max_running: Option<u32>,
    /// Adapter state; `None` where the engine shows none.
    pub adapters: Option<AdapterReport>,
    /// Running sums since the engine's start, to take rates from.
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

/// Where an endpoint stands, apart from its load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Health {
    /// It takes requests.
    Ready,
    /// It finishes what it has and takes nothing new.
    Draining,
    /// It failed and is left alone for a while.
    Ejected(Ejection),
    /// It was ejected, and one request is under way to find out whether it works again.
    OnTrial,
}

/// Why and for how long an endpoint takes no requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ejection {
    /// The failure that did it.
    pub cause: crate::request::FailureCause,
    /// Not before this time.
    pub until: Time,
    /// The back-off in force; it doubles with each failed return.
    pub back_off: Duration,
}
