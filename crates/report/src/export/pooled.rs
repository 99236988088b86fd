//! Statistics over all runs of a row.

use crate::measure::Measure;
use crate::sweep::{MeasureSummary, PERCENTILES, SweepRow};

/// A measure over the completed requests of all runs of a row, milliseconds: moments of the pooled requests, and
/// percentiles as means over runs, weighted by their requests.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct PooledSummary {
    pub(super) count: u64,
    pub(super) mean: f64,
    pub(super) deviation: f64,
    pub(super) min: f64,
    pub(super) max: f64,
    percentiles: [f64; PERCENTILES.len()],
}

impl PooledSummary {
    #[expect(clippy::cast_precision_loss, reason = "request counts stay far below 2^53")]
    pub(super) fn new(row: &SweepRow, measure: Measure) -> Self {
        let summaries: Vec<&MeasureSummary> = row
            .runs
            .iter()
            .map(|run| run.latencies.of(measure))
            .filter(|summary| summary.answered > 0)
            .collect();
        let count: u64 = summaries.iter().map(|summary| summary.answered).sum();
        if count == 0 {
            return Self::default();
        }
        let weighted = |value: &dyn Fn(&MeasureSummary) -> f64| {
            let sum: f64 = summaries.iter().map(|summary| summary.answered as f64 * value(summary)).sum();
            sum / count as f64
        };
        let mean = weighted(&|summary| summary.mean);
        let squares = weighted(&|summary| summary.deviation.powi(2) + summary.mean.powi(2));
        let mut percentiles = [0.0; PERCENTILES.len()];
        for (index, percentile) in percentiles.iter_mut().enumerate() {
            *percentile = weighted(&|summary| summary.percentiles.get(index).copied().unwrap_or(0.0));
        }
        Self {
            count,
            mean,
            deviation: (squares - mean.powi(2)).max(0.0).sqrt(),
            min: summaries.iter().map(|summary| summary.min).fold(f64::INFINITY, f64::min),
            max: summaries.iter().map(|summary| summary.max).fold(0.0, f64::max),
            percentiles,
        }
    }

    /// The percentile at one of [`PERCENTILES`].
    pub(super) fn percentile(&self, percent: f64) -> f64 {
        let found = PERCENTILES.iter().zip(self.percentiles).find(|(known, _)| **known == percent);
        found.map_or(0.0, |(_, value)| value)
    }

    /// Converts to another unit.
    pub(super) fn scaled(mut self, factor: f64) -> Self {
        for value in [&mut self.mean, &mut self.deviation, &mut self.min, &mut self.max] {
            *value *= factor;
        }
        self.percentiles = self.percentiles.map(|value| value * factor);
        self
    }
}

/// Sums over the runs of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Totals {
    pub(super) seconds: f64,
    pub(super) arrival_seconds: f64,
    pub(super) prompt_tokens: f64,
    pub(super) output_tokens: f64,
    pub(super) completed: f64,
}

impl Totals {
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    pub(super) fn new(row: &SweepRow) -> Self {
        Self {
            seconds: row.runs.iter().map(|run| run.seconds).sum(),
            arrival_seconds: row.runs.iter().map(|run| run.arrival_seconds).sum(),
            prompt_tokens: row.runs.iter().map(|run| run.prompt_tokens as f64).sum(),
            output_tokens: row.runs.iter().map(|run| run.output_tokens as f64).sum(),
            completed: row.completed as f64,
        }
    }

    pub(super) fn per_second(&self, count: f64) -> f64 {
        if self.seconds > 0.0 { count / self.seconds } else { 0.0 }
    }

    pub(super) fn per_request(&self, count: f64) -> f64 {
        if self.completed > 0.0 { count / self.completed } else { 0.0 }
    }
}
