//! Sweeps in the words of other tools, so that their notebooks read them.

mod inference_perf;
mod lpg;

pub use inference_perf::inference_perf_files;
pub use lpg::lpg_files;

use crate::Measure;
use crate::sweep::{MeasureSummary, PERCENTILES, SweepRow};

/// One file of an export.
#[derive(Debug, Clone, PartialEq)]
pub struct ExportFile {
    /// Where it lies below the export's folder, with `/` between parts.
    pub path: String,
    /// What it holds.
    pub json: serde_json::Value,
}

/// A measure over the answered requests of all runs of a row, milliseconds: the moments as if the
/// runs were one, percentiles as means over runs weighted by their requests.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Answered {
    count: u64,
    mean: f64,
    deviation: f64,
    min: f64,
    max: f64,
    percentiles: [f64; PERCENTILES.len()],
}

impl Answered {
    #[expect(clippy::cast_precision_loss, reason = "request counts stay far below 2^53")]
    fn new(row: &SweepRow, measure: Measure) -> Self {
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
    fn percentile(&self, percent: f64) -> f64 {
        let found = PERCENTILES.iter().zip(self.percentiles).find(|(known, _)| **known == percent);
        found.map_or(0.0, |(_, value)| value)
    }

    /// In another unit.
    fn times(mut self, factor: f64) -> Self {
        for value in [&mut self.mean, &mut self.deviation, &mut self.min, &mut self.max] {
            *value *= factor;
        }
        self.percentiles = self.percentiles.map(|value| value * factor);
        self
    }
}

/// Totals over a row's runs, as if one had followed the other.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Totals {
    seconds: f64,
    arrival_seconds: f64,
    prompt_tokens: f64,
    output_tokens: f64,
    completed: f64,
}

impl Totals {
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    fn new(row: &SweepRow) -> Self {
        Self {
            seconds: row.runs.iter().map(|run| run.seconds).sum(),
            arrival_seconds: row.runs.iter().map(|run| run.arrival_seconds).sum(),
            prompt_tokens: row.runs.iter().map(|run| run.prompt_tokens as f64).sum(),
            output_tokens: row.runs.iter().map(|run| run.output_tokens as f64).sum(),
            completed: row.completed as f64,
        }
    }

    fn per_second(&self, count: f64) -> f64 {
        if self.seconds > 0.0 { count / self.seconds } else { 0.0 }
    }

    fn per_request(&self, count: f64) -> f64 {
        if self.completed > 0.0 { count / self.completed } else { 0.0 }
    }
}

/// A name as a part of a path: what file systems or notebooks' patterns take amiss becomes a hyphen.
fn path_part(name: &str) -> String {
    let fits = |letter: char| letter.is_alphanumeric() || matches!(letter, '-' | '_' | '.');
    let part: String = name.chars().map(|letter| if fits(letter) { letter } else { '-' }).collect();
    if part.chars().all(|letter| letter == '.') { format!("-{part}") } else { part }
}
