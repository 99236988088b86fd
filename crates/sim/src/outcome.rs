//! Results of a run.

use pointsman_core::Time;

/// The end of a job. Times are in milliseconds since its arrival.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum End {
    /// Complete response.
    Answered {
        /// Time to first token at the client.
        ttft_ms: f32,
        /// End-to-end latency.
        e2e_ms: f32,
        /// Output tokens.
        output_tokens: u32,
    },
    /// Rejected because the pool was saturated.
    Rejected,
    /// Failed for another reason.
    Failed,
    /// Still active at the end of the run.
    Unfinished,
}

/// Results of one run of a scenario with a routing, a workload, a rate and a seed.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Arrival and end of each job that arrived after the warm-up, in order of the ends.
    pub jobs: Vec<(Time, End)>,
    /// Seconds from the end of the warm-up to the last end of a job.
    pub seconds: f64,
    /// Prompt tokens of the answered jobs.
    pub prompt_tokens: u64,
    /// Those of them found in a prefix cache.
    pub cached_tokens: u64,
    /// Preemptions.
    pub preemptions: u64,
    /// Adapter loads.
    pub adapter_loads: u64,
    /// Load samples of each engine, in order of the fleet.
    pub engines: Vec<Vec<LoadPoint>>,
}

/// A sample of an engine's load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoadPoint {
    /// Seconds since the start.
    pub at: f32,
    /// Running and waiting requests.
    pub requests: u32,
    /// Waiting requests.
    pub waiting: u32,
    /// KV-cache usage, 0 to 1.
    pub kv_use: f32,
}
