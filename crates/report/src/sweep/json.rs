//! A sweep as JSON.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::ser::SerializeMap;

use super::knee::Knee;
use super::result::Sweep;
use super::row::{Comparison, RowIntervals, SweepRow};
use super::state::State;
use crate::interval::Interval;
use crate::run::LatencyRows;

/// A sweep as JSON for scripts: `{"rows": […], "bounds": […], …}`.
///
/// A row has `policy`, `rate`, `seeds`, `offered_rps`, `completed_rps`, `rejected`, `hit_rate`,
/// `ttft_ms`, `tpot_ms`, `ntpot_ms` and `e2e_ms` (each with `p50`, `p90` and `p99`), `interval95`
/// (`{"e2e_ms.p90": [low, high]}`), `itl_ms` where it was measured, the counts `offered`, `completed`,
/// `failed` and `unfinished`, `state`, `output_tokens_per_second`, `ratio_to_best` and
/// `against_baseline`. A latency is `null` where no request was measured or where failures reach the
/// quantile. Rows of bounds have the same keys.
#[must_use]
pub fn sweep_json(sweep: &Sweep) -> serde_json::Value {
    let document = Document {
        title: &sweep.experiment.title,
        baseline: sweep.experiment.baseline.as_deref(),
        command: &sweep.experiment.command,
        version: &sweep.experiment.version,
        seeds: &sweep.seeds,
        rows: sweep.rows.iter().map(Row::new).collect(),
        bounds: sweep.bounds.iter().map(Row::new).collect(),
        knees: &sweep.knees,
    };
    // Cannot fail: all keys are strings, and non-finite floats become null.
    serde_json::to_value(&document).unwrap_or_default()
}

#[derive(Serialize)]
struct Document<'a> {
    title: &'a str,
    baseline: Option<&'a str>,
    command: &'a str,
    version: &'a str,
    seeds: &'a [u64],
    rows: Vec<Row<'a>>,
    bounds: Vec<Row<'a>>,
    knees: &'a [Knee],
}

#[derive(Serialize)]
struct Row<'a> {
    policy: &'a str,
    rate: f64,
    seeds: usize,
    offered_rps: f64,
    completed_rps: f64,
    offered: u64,
    completed: u64,
    rejected: u64,
    failed: u64,
    unfinished: u64,
    hit_rate: Option<f64>,
    output_tokens_per_second: f64,
    state: State,
    #[serde(flatten)]
    latency: LatencyRows,
    interval95: &'a RowIntervals,
    ratio_to_best: BTreeMap<String, f64>,
    against_baseline: BTreeMap<String, BaselineComparison>,
}

#[derive(Serialize)]
struct BaselineComparison {
    ratio: Option<f64>,
    interval95: Option<Interval>,
}

impl<'a> Row<'a> {
    fn new(row: &'a SweepRow) -> Self {
        let against = |comparison: &Comparison| BaselineComparison {
            ratio: Some(comparison.ratio).filter(|ratio| ratio.is_finite()),
            interval95: comparison.interval95,
        };
        let compared = row.against_baseline.iter();
        Self {
            policy: &row.policy,
            rate: row.rate,
            seeds: row.seeds,
            offered_rps: row.offered_rps,
            completed_rps: row.completed_rps,
            offered: row.offered,
            completed: row.completed,
            rejected: row.rejected,
            failed: row.failed,
            unfinished: row.unfinished,
            hit_rate: row.hit_rate,
            output_tokens_per_second: row.output_tokens_per_second,
            state: row.state,
            latency: row.latency,
            interval95: &row.interval95,
            ratio_to_best: row.ratios_to_best().map(|(key, ratio)| (key.to_string(), ratio)).collect(),
            against_baseline: compared.map(|(key, value)| (key.to_string(), against(value))).collect(),
        }
    }
}

impl Serialize for RowIntervals {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (statistic, interval) in self.latency.iter() {
            map.serialize_entry(&statistic.to_string(), &interval)?;
        }
        let others = [("completed_rps", self.completed_rps), ("hit_rate", self.hit_rate)];
        for (key, interval) in others {
            if let Some(interval) = interval {
                map.serialize_entry(key, &interval)?;
            }
        }
        map.end()
    }
}
