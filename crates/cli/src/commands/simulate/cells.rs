//! The runs of a sweep.

use std::sync::atomic::{AtomicU64, Ordering};

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

/// Progress of a sweep, counted in requests, since runs differ in length.
#[derive(Debug, Default)]
pub(super) struct Progress(AtomicU64);

impl Progress {
    /// Adds simulated requests.
    pub(super) fn add(&self, requests: u64) {
        self.0.fetch_add(requests, Ordering::Relaxed);
    }

    /// Requests simulated so far, in finished and running cells.
    pub(super) fn requests(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
