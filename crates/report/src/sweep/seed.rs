//! The result of one run.

use serde::{Deserialize, Serialize};

use crate::latency::Latencies;
use crate::measure::Measure;
use crate::quantile::{Level, Quantiles, Samples};

/// Whether a name in a sweep is a policy or a bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// A policy.
    #[default]
    Policy,
    /// A lower bound that no router can reach.
    Bound,
}

/// The result of one run: one policy at one rate with one seed.
///
/// Its size does not depend on the number of requests. It serializes without loss, so an interrupted
/// sweep can be resumed from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeedResult {
    /// The policy or bound, in kebab-case.
    pub policy: String,
    /// Policy or bound.
    #[serde(default)]
    pub role: Role,
    /// Nominal rate, requests per second.
    pub rate: f64,
    /// Seed of arrivals, prompts and lengths, which every policy gets alike.
    pub seed: u64,
    /// Arrived requests.
    pub offered: u64,
    /// Requests with a complete response.
    pub completed: u64,
    /// Requests that were rejected with status 429.
    pub rejected: u64,
    /// Requests that failed for any other reason.
    pub failed: u64,
    /// Requests without an outcome at the end of the run.
    pub unfinished: u64,
    /// Duration of the arrivals.
    pub arrival_seconds: f64,
    /// Time from the start to the last outcome, draining included.
    pub seconds: f64,
    /// Value of [`super::Completions::rate`].
    pub completed_rps: f64,
    /// Value of [`super::Completions::latency_growth`].
    pub latency_growth: Option<f64>,
    /// Prompt tokens read from prefix caches; `None` when the workload has no shared prefixes.
    pub hit_tokens: Option<u64>,
    /// Prompt tokens of the requests that `hit_tokens` covers.
    pub prompt_tokens: u64,
    /// Generated tokens.
    pub output_tokens: u64,
    /// The latencies.
    pub latencies: LatencySummary,
    /// Load of each endpoint over time; may be empty.
    #[serde(default)]
    pub endpoints: Vec<EndpointSeries>,
}

impl SeedResult {
    #[expect(clippy::cast_precision_loss, reason = "token counts stay far below 2^53")]
    pub(super) fn prompt_tokens_f64(&self) -> f64 {
        self.prompt_tokens as f64
    }
}

/// The load of one endpoint over time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EndpointSeries {
    /// The endpoint.
    pub name: String,
    /// Samples by ascending time; a few hundred per run suffice.
    pub points: Vec<EndpointPoint>,
}

/// One sample of an endpoint's load.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EndpointPoint {
    /// Time since the start of the run.
    pub seconds: f64,
    /// Requests in flight.
    pub in_flight: f64,
    /// KV cache utilization, 0 to 1.
    pub kv_use: f64,
}

/// Summaries of the latencies of one run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencySummary {
    ttft: MeasureSummary,
    tpot: MeasureSummary,
    ntpot: MeasureSummary,
    e2e: MeasureSummary,
    itl: MeasureSummary,
}

impl LatencySummary {
    /// Summarizes all measures.
    #[must_use]
    pub fn new(latencies: &Latencies) -> Self {
        let of = |measure| MeasureSummary::new(latencies.samples(measure));
        Self {
            ttft: of(Measure::Ttft),
            tpot: of(Measure::Tpot),
            ntpot: of(Measure::Ntpot),
            e2e: of(Measure::E2e),
            itl: of(Measure::Itl),
        }
    }

    /// The summary of one measure.
    #[must_use]
    pub const fn of(&self, measure: Measure) -> &MeasureSummary {
        match measure {
            Measure::Ttft => &self.ttft,
            Measure::Tpot => &self.tpot,
            Measure::Ntpot => &self.ntpot,
            Measure::E2e => &self.e2e,
            Measure::Itl => &self.itl,
        }
    }
}

/// The percentiles of [`MeasureSummary`], which are those of inference-perf.
pub const PERCENTILES: [f64; 11] = [0.1, 1.0, 5.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9];

/// One measure of one run, milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MeasureSummary {
    /// Whether any request was measured.
    measured: bool,
    /// Quantiles over all requests, with failures as infinite. An infinite quantile is `None`.
    quantiles: Quantiles,
    /// Number of completed requests. The statistics below are over these, as in other tools.
    pub answered: u64,
    /// Mean.
    pub mean: f64,
    /// Standard deviation of the population, numpy's default.
    pub deviation: f64,
    /// Minimum.
    pub min: f64,
    /// Maximum.
    pub max: f64,
    /// Percentiles at [`PERCENTILES`], linearly interpolated, numpy's default.
    pub percentiles: [f64; PERCENTILES.len()],
}

impl MeasureSummary {
    /// Summarizes one measure.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "sample counts stay far below 2^53")]
    pub fn new(samples: &Samples) -> Self {
        let sorted = samples.sorted();
        let answered = sorted.get(..sorted.partition_point(|value| value.is_finite())).unwrap_or_default();
        let (Some(&min), Some(&max)) = (answered.first(), answered.last()) else {
            return Self::default();
        };
        let finite = |value: Option<f64>| value.filter(|value| value.is_finite());
        let quantiles = samples.quantiles();
        let count = answered.len() as f64;
        let mean = answered.iter().sum::<f64>() / count;
        let variance = answered.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        Self {
            measured: true,
            quantiles: Quantiles {
                p50: finite(quantiles.p50),
                p90: finite(quantiles.p90),
                p99: finite(quantiles.p99),
            },
            answered: answered.len() as u64,
            mean,
            deviation: variance.sqrt(),
            min,
            max,
            percentiles: PERCENTILES.map(|percent| interpolated(answered, percent)),
        }
    }

    /// The quantile over all requests: `None` when not measured, infinite when failures reach it.
    #[must_use]
    pub fn quantile(&self, level: Level) -> Option<f64> {
        self.measured.then(|| self.quantiles.at(level).unwrap_or(f64::INFINITY))
    }
}

/// The percentile of sorted values by linear interpolation (type 7 of Hyndman and Fan, The American
/// Statistician 50, 1996), which numpy and pandas use; 0 without values.
#[expect(clippy::cast_precision_loss, reason = "sample counts stay far below 2^53")]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the last index")]
fn interpolated(sorted: &[f64], percent: f64) -> f64 {
    let position = percent / 100.0 * sorted.len().saturating_sub(1) as f64;
    let below = position.floor() as usize;
    let at = |index: usize| sorted.get(index).or(sorted.last()).copied().unwrap_or(0.0);
    at(below) + (at(below + 1) - at(below)) * position.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_has_all_requests_and_completed_ones() {
        let mut values: Vec<f64> = (1..=90).map(f64::from).collect();
        values.extend([f64::INFINITY; 10]);
        let summary = MeasureSummary::new(&Samples::new(values));
        assert_eq!(summary.quantile(Level::P90), Some(90.0));
        assert_eq!(summary.quantile(Level::P99), Some(f64::INFINITY));
        assert_eq!((summary.answered, summary.min, summary.max), (90, 1.0, 90.0));
        assert!((summary.mean - 45.5).abs() < 1e-9);
        assert!((summary.percentiles[7] - 81.1).abs() < 1e-9, "numpy.percentile(range(1, 91), 90)");
        let nothing = MeasureSummary::new(&Samples::new(vec![f64::INFINITY]));
        assert_eq!(nothing.quantile(Level::P50), None);
    }

    #[test]
    fn a_summary_round_trips_through_json() {
        let samples = Samples::new(vec![0.1, 0.2, f64::INFINITY]);
        let summary = MeasureSummary::new(&samples);
        let text = serde_json::to_string(&summary).unwrap();
        assert_eq!(serde_json::from_str::<MeasureSummary>(&text).unwrap(), summary);
    }
}
