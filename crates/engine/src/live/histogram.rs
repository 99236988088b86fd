//! Histograms with vLLM's buckets.

use std::sync::Arc;

/// A cumulative histogram with fixed upper bounds.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    bounds: Arc<[f64]>,
    counts: Vec<u64>,
    pub(crate) sum: f64,
    pub(crate) count: u64,
}

impl Histogram {
    pub(super) fn new(bounds: impl Into<Arc<[f64]>>) -> Self {
        let bounds = bounds.into();
        Self { counts: vec![0; bounds.len()], bounds, sum: 0.0, count: 0 }
    }

    pub(super) fn observe(&mut self, value: f64) {
        // A value above the last bound is in `count` alone.
        if let Some(count) = self.counts.get_mut(self.bounds.partition_point(|bound| *bound < value)) {
            *count += 1;
        }
        self.sum += value;
        self.count += 1;
    }

    /// Each bound with the number of values at or below it.
    pub(crate) fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let mut total = 0;
        self.bounds.iter().zip(&self.counts).map(move |(bound, count)| {
            total += count;
            (*bound, total)
        })
    }
}

/// Bounds in seconds of `vllm:time_to_first_token_seconds`.
pub(super) const TIME_TO_FIRST_TOKEN: &[f64] = &[
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0,
    80.0, 160.0, 640.0, 2560.0,
];

/// Bounds in seconds of times per token.
pub(super) const TIME_PER_TOKEN: &[f64] = &[
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
];

/// Bounds in seconds of request latencies and their parts.
pub(super) const REQUEST_TIME: &[f64] = &[
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0,
    960.0, 1920.0, 7680.0,
];

/// Bounds of token counts: 1, 2, 5, 10, … up to the model's context length.
pub(super) fn token_bounds(max_model_len: u32) -> Arc<[f64]> {
    let bounds = (0..10).flat_map(|exponent| [1, 2, 5].map(|digit| digit * 10_u64.pow(exponent)));
    let bounds = bounds.filter_map(|bound| u32::try_from(bound).ok());
    bounds.take_while(|bound| *bound <= max_model_len).map(f64::from).collect()
}
