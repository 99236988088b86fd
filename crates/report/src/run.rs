//! Results of single runs.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::interval::Interval;
use crate::latency::{Latencies, Statistic};
use crate::measure::Measure;
use crate::number::millis;
use crate::quantile::{Level, Quantiles};
use crate::slice::Slice;
use crate::table::Table;

/// 95 % intervals by statistic, in JSON `{"e2e_ms.p90": [low, high]}`.
///
/// The intervals are of the change against the baseline where two arms were compared, and of the values where one arm
/// ran alone.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Intervals(BTreeMap<Statistic, Interval>);

impl Intervals {
    /// Sets the interval of one statistic.
    pub fn insert(&mut self, statistic: Statistic, interval: Interval) {
        self.0.insert(statistic, interval);
    }

    /// The interval of one statistic.
    #[must_use]
    pub fn get(&self, statistic: Statistic) -> Option<Interval> {
        self.0.get(&statistic).copied()
    }

    /// The intervals of the quantiles of one run, from order statistics. They assume independent requests and are too
    /// narrow near saturation.
    #[must_use]
    pub fn of_quantiles(latencies: &Latencies) -> Self {
        let of = |statistic: Statistic| {
            let samples = latencies.samples(statistic.measure);
            samples.interval(statistic.level).filter(|_| samples.is_measured())
        };
        Self(Statistic::all().filter_map(|statistic| Some((statistic, of(statistic)?))).collect())
    }
}

/// The latencies of a JSON row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct LatencyRows {
    /// Time to first token, milliseconds.
    pub ttft_ms: Quantiles,
    /// Time per output token after the first, milliseconds.
    pub tpot_ms: Quantiles,
    /// Normalised time per output token, milliseconds.
    pub ntpot_ms: Quantiles,
    /// End-to-end latency, milliseconds.
    pub e2e_ms: Quantiles,
    /// Inter-token latency, milliseconds; absent unless gaps were recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub itl_ms: Option<Quantiles>,
}

impl LatencyRows {
    /// The quantiles of all measures.
    #[must_use]
    pub fn new(latencies: &Latencies) -> Self {
        let itl = latencies.samples(Measure::Itl);
        Self {
            ttft_ms: latencies.quantiles(Measure::Ttft),
            tpot_ms: latencies.quantiles(Measure::Tpot),
            ntpot_ms: latencies.quantiles(Measure::Ntpot),
            e2e_ms: latencies.quantiles(Measure::E2e),
            itl_ms: itl.is_measured().then(|| itl.quantiles()),
        }
    }

    /// One measure's quantiles.
    #[must_use]
    pub fn quantiles(&self, measure: Measure) -> Quantiles {
        match measure {
            Measure::Ttft => self.ttft_ms,
            Measure::Tpot => self.tpot_ms,
            Measure::Ntpot => self.ntpot_ms,
            Measure::E2e => self.e2e_ms,
            Measure::Itl => self.itl_ms.unwrap_or_default(),
        }
    }
}

/// The result of one run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunReport {
    /// Name, for example `kubernetes-service`.
    pub name: String,
    /// Completed requests per second until the end of the last response, draining included.
    pub requests_per_second: Option<f64>,
    /// Requests that failed other than by a rejection.
    pub errors: u64,
    /// Requests that were rejected with status 429.
    pub rejected: u64,
    /// Intervals; see [`Intervals`] for what they are of.
    pub interval95: Intervals,
    /// Latencies.
    #[serde(flatten)]
    pub latency: LatencyRows,
}

impl RunReport {
    /// Summarizes a run.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "request counts stay far below 2^53")]
    pub fn new(name: &str, run: &Slice, interval95: Intervals) -> Self {
        Self {
            name: name.to_owned(),
            requests_per_second: (run.seconds > 0.0).then(|| run.completed as f64 / run.seconds),
            errors: run.errors,
            rejected: run.rejected,
            interval95,
            latency: LatencyRows::new(&run.latencies),
        }
    }
}

/// The JSON object of `demo --json` and `bench --json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Runs {
    /// The runs, baseline first.
    pub runs: Vec<RunReport>,
}

/// A table of one run: a row per measure, a column per quantile, and the interval of the 90th percentile.
#[must_use]
pub fn run_table(run: &RunReport) -> Table {
    let mut table = Table::new(["latency", "p50", "p90", "p99", "p90, 95 % interval"]);
    let measures = Measure::PER_REQUEST.into_iter().chain(run.latency.itl_ms.map(|_| Measure::Itl));
    for measure in measures {
        let quantiles = run.latency.quantiles(measure);
        let [p50, p90, p99] = Level::ALL.map(|level| millis(quantiles.at(level)));
        let interval = run.interval95.get(Statistic { measure, level: Level::P90 });
        table.row([measure.label().to_owned(), p50, p90, p99, interval_cell(interval)]);
    }
    table
}

pub(crate) fn interval_cell(interval: Option<Interval>) -> String {
    interval.map_or_else(
        || millis(None),
        |interval| format!("{} to {}", millis(Some(interval.low)), millis(Some(interval.high))),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timing;
    use std::time::Duration;

    fn slice(e2e: u64) -> Slice {
        let timing = Timing::Answered { ttft: None, e2e: Duration::from_millis(e2e), output_tokens: 10 };
        Slice {
            latencies: Latencies::from_timings([timing]),
            completed: 30,
            errors: 2,
            rejected: 1,
            seconds: 4.0,
        }
    }

    const E2E_P90: Statistic = Statistic { measure: Measure::E2e, level: Level::P90 };

    fn run(name: &str, e2e: u64, interval: Option<Interval>) -> RunReport {
        let mut intervals = Intervals::default();
        if let Some(interval) = interval {
            intervals.insert(E2E_P90, interval);
        }
        RunReport::new(name, &slice(e2e), intervals)
    }

    #[test]
    fn json_has_stable_keys() {
        let interval = Interval { low: 1.5, high: 2.5 };
        let runs = Runs { runs: vec![run("pointsman", 500, Some(interval))] };
        let expect = serde_json::json!({"runs": [{
            "name": "pointsman",
            "requests_per_second": 7.5,
            "errors": 2,
            "rejected": 1,
            "interval95": {"e2e_ms.p90": [1.5, 2.5]},
            "ttft_ms": {"p50": null, "p90": null, "p99": null},
            "tpot_ms": {"p50": null, "p90": null, "p99": null},
            "ntpot_ms": {"p50": 50.0, "p90": 50.0, "p99": 50.0},
            "e2e_ms": {"p50": 500.0, "p90": 500.0, "p99": 500.0},
        }]});
        assert_eq!(serde_json::to_value(&runs).unwrap(), expect);
    }

    #[test]
    fn a_run_table_lists_the_observed_measures() {
        let text = run_table(&run("bench", 500, Some(Interval { low: 400.0, high: 600.0 }))).render(100);
        assert!(text.contains("400 ms to 600 ms"), "{text}");
        assert!(!text.contains("ITL"), "{text}");
    }
}
