//! What an engine reports about itself.

use super::adapters::AdapterId;

/// The state of the engine at this moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Gauges {
    /// Sequences in the batch.
    pub running: u32,
    /// Sequences that wait, deferred ones included.
    pub waiting: u32,
    /// Of those, passed over because every adapter slot is busy.
    pub deferred: u32,
    /// Share of KV blocks that sequences hold, 0 to 1.
    pub kv_usage: f64,
    /// Adapters with sequences in the batch, in ascending order.
    pub adapters: Vec<AdapterId>,
    /// Counted since the start.
    pub totals: Totals,
}

/// Counters since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Steps.
    pub steps: u64,
    /// Prompt tokens of the requests whose prompt was finished.
    pub prompt_tokens: u64,
    /// Tokens generated.
    pub generated_tokens: u64,
    /// Prompt tokens looked up in the prefix cache.
    pub prefix_queries: u64,
    /// Of those, found.
    pub prefix_hits: u64,
    /// Sequences that lost their blocks and started over.
    pub preemptions: u64,
    /// Adapters loaded.
    pub adapter_loads: u64,
}
