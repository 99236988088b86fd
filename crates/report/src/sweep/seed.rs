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
    /// Value of [`completed_rate`].
    pub completed_rps: f64,
    /// Value of [`latency_growth`].
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

/// Number of completions below which the rate is over the whole run.
const MIN_COMPLETIONS: usize = 20;

/// The rate of completions per second over the middle 80 % of the completions, between the tenth and the
/// ninetieth percentile of their times; at most the completed requests per second of arrivals.
///
/// The whole run would include the drain, which is as long as the longest response and says nothing about
/// capacity; the time until the last arrival would include the start with an empty fleet. The middle 80 %
/// has the rate of the arrivals below capacity, and the capacity above it.
///
/// `ends` are the times of the completions since the start of the run in seconds, in any order. The
/// rate is 0 without completions.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "request counts stay far below 2^53")]
pub fn completed_rate(mut ends: Vec<f64>, arrival_seconds: f64) -> f64 {
    ends.retain(|end| end.is_finite());
    ends.sort_unstable_by(f64::total_cmp);
    let count = ends.len();
    let Some(&last) = ends.last() else { return 0.0 };
    let limit = if arrival_seconds > 0.0 { count as f64 / arrival_seconds } else { f64::INFINITY };
    let whole = if last > 0.0 { count as f64 / last } else { limit };
    let (low, high) = (count / 10, count - 1 - count / 10);
    let span = match (ends.get(low), ends.get(high)) {
        (Some(low), Some(high)) if count >= MIN_COMPLETIONS => high - low,
        _ => 0.0,
    };
    let rate = if span > 0.0 { (high - low) as f64 / span } else { whole };
    let rate = rate.min(limit);
    if rate.is_finite() { rate } else { 0.0 }
}

/// The mean end-to-end latency of the last third of the arrivals over that of the middle third: about
/// one for a stable queue, well above one for a growing one. The first third is excluded, because the
/// run starts with an empty fleet.
///
/// `arrivals` are pairs of arrival time and latency of the completed requests, in any order and any
/// unit. `None` with fewer than thirty.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "request counts stay far below 2^53")]
pub fn latency_growth(mut arrivals: Vec<(f64, f64)>) -> Option<f64> {
    arrivals.sort_unstable_by(|left, right| left.0.total_cmp(&right.0));
    let third = arrivals.len() / 3;
    if third < 10 {
        return None;
    }
    let mean =
        |part: &[(f64, f64)]| part.iter().map(|&(_, latency)| latency).sum::<f64>() / part.len() as f64;
    let middle = mean(arrivals.get(third..2 * third)?);
    let last = mean(arrivals.get(2 * third..)?);
    (middle > 0.0 && last.is_finite()).then(|| last / middle)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_rate(ends: impl Iterator<Item = f64>, arrival_seconds: f64, expect: f64) {
        let found = completed_rate(ends.collect(), arrival_seconds);
        assert!((found - expect).abs() <= 0.001 * expect, "{found}, not {expect}");
    }

    #[test]
    fn the_completed_rate_excludes_the_drain() {
        let steady = |latency: f64| (0..1_000).map(move |index| f64::from(index) / 10.0 + latency);
        check_rate(steady(0.1), 100.0, 10.0);
        check_rate(steady(30.0), 100.0, 10.0);
        let one_straggler = steady(1.0).chain([500.0]);
        check_rate(one_straggler, 100.0, 10.0);
        let overloaded = (0..1_000).map(|index| f64::from(index) / 5.0);
        check_rate(overloaded, 100.0, 5.0);
    }

    #[test]
    fn the_completed_rate_is_at_most_the_arrival_rate() {
        check_rate((0..1_000).map(|_| 3.0), 100.0, 10.0);
        check_rate((0..1_000).map(|index| f64::from(index) / 1_000.0), 100.0, 10.0);
    }

    #[test]
    fn few_completions_are_rated_over_the_whole_run() {
        check_rate([1.0, 2.0, 4.0].into_iter(), 1.0, 0.75);
        check_rate([].into_iter(), 1.0, 0.0);
        check_rate([0.0].into_iter(), 0.0, 0.0);
        check_rate([f64::NAN, f64::INFINITY].into_iter(), 1.0, 0.0);
    }

    #[test]
    fn growth_distinguishes_stable_and_growing_queues() {
        let run = |slope: f64| {
            let latency = move |index: u32| (f64::from(index), 10.0 + slope * f64::from(index));
            latency_growth((0..300).rev().map(latency).collect()).unwrap()
        };
        assert!((run(0.0) - 1.0).abs() < 1e-9);
        assert!(run(1.0) > 1.5);
        assert_eq!(latency_growth(vec![(0.0, 1.0); 29]), None);
        assert_eq!(latency_growth(vec![(0.0, 0.0); 60]), None);
    }

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
