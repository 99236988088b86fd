//! Results of one arm in one time slice.

use crate::latency::Latencies;

/// The result of one arm in one slice.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Slice {
    /// Latencies.
    pub latencies: Latencies,
    /// Requests with a complete response.
    pub completed: u64,
    /// Requests that failed otherwise.
    pub errors: u64,
    /// Requests that were rejected with status 429.
    pub rejected: u64,
    /// Seconds from the start to the end of the last response, draining included.
    pub seconds: f64,
}
