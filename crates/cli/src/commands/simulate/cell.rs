//! The unit of a sweep.

use std::time::Duration;

/// One run: an arm of the experiment at a rate with a seed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cell {
    /// Index of the arm in the experiment.
    pub(super) arm: usize,
    /// Requests per second.
    pub(super) rate: f64,
    pub(super) seed: u64,
    /// Approximate number of requests.
    pub(super) requests: u64,
}

impl Cell {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates; an estimate suffices"
    )]
    pub(super) fn new(arm: usize, rate: f64, seed: u64, duration: Duration) -> Self {
        Self { arm, rate, seed, requests: (rate * duration.as_secs_f64()).round() as u64 }
    }
}
