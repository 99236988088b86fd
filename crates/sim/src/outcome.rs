//! What a run came to.

use pointsman_core::Time;

/// How one job ended. Times are milliseconds from its arrival.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum End {
    /// It was answered in full.
    Answered {
        /// To the first token, as the client sees it.
        ttft_ms: f32,
        /// To the last byte.
        e2e_ms: f32,
        /// Tokens of the answer.
        output_tokens: u32,
    },
    /// It was refused while the pool was saturated.
    Rejected,
    /// It failed for another reason.
    Failed,
    /// It had not ended when the run did.
    Unfinished,
}

/// One run: a scenario with a routing, a workload, a rate and a seed.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The jobs that arrived after the warm-up, in order of their end: when each arrived, and how it ended.
    pub jobs: Vec<(Time, End)>,
    /// Seconds from the end of the warm-up to the last end.
    pub seconds: f64,
    /// Prompt tokens of the jobs that were counted.
    pub prompt_tokens: u64,
    /// Of those, found in a prefix cache.
    pub cached_tokens: u64,
    /// Sequences that lost their blocks and started over.
    pub preemptions: u64,
    /// Adapters loaded.
    pub adapter_loads: u64,
    /// The load of each engine over time, in order of the fleet.
    pub engines: Vec<Vec<LoadPoint>>,
}

/// An engine's load at a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoadPoint {
    /// Seconds from the start.
    pub at: f32,
    /// Requests in the engine, waiting ones included.
    pub requests: u32,
    /// Of those, waiting.
    pub waiting: u32,
    /// Use of its KV cache, 0 to 1.
    pub kv_use: f32,
}
