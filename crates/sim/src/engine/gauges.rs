//! Gauges and counters of an engine.

use super::adapters::AdapterId;

/// The current state of an engine.
#[derive(Clone, Debug, PartialEq)]
pub struct Gauges {
    /// Running sequences.
    pub running: u32,
    /// Waiting sequences, deferred ones included.
    pub waiting: u32,
    /// Waiting sequences that were passed over for want of an adapter slot.
    pub deferred: u32,
    /// Share of KV blocks in use, 0 to 1.
    pub kv_usage: f64,
    /// Adapters of running sequences, in ascending order.
    pub adapters: Vec<AdapterId>,
    /// Counters since the start.
    pub totals: Totals,
}

/// Counters since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Steps.
    pub steps: u64,
    /// Prompt tokens of requests whose prefill ended.
    pub prompt_tokens: u64,
    /// Output tokens.
    pub generated_tokens: u64,
    /// Prompt tokens looked up in the prefix cache.
    pub prefix_queries: u64,
    /// Prompt tokens found there.
    pub prefix_hits: u64,
    /// Preemptions.
    pub preemptions: u64,
    /// Adapter loads.
    pub adapter_loads: u64,
}
