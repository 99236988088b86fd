use std::collections::BTreeMap;

use serde::Serialize;
use serde::ser::SerializeMap;

use super::{Comparison, Knee, RowIntervals, State, Sweep, SweepRow};
use crate::{Interval, LatencyRows};

/// A sweep as scripts read it: `{"rows": […], "bounds": […], …}`.
///
/// A row has `policy`, `rate`, `seeds`, `offered_rps`, `completed_rps`, `rejected`, `hit_rate`,
/// `ttft_ms`, `tpot_ms`, `ntpot_ms` and `e2e_ms` (each with `p50`, `p90` and `p99`), `interval95`
/// (`{"e2e_ms.p90": [low, high]}`, of the row's own figures), and beside these `itl_ms` where it was
/// measured, the counts `offered`, `completed`, `failed` and `unfinished`, `state`,
/// `output_tokens_per_second`, `ratio_to_best` and `against_baseline`. A latency is `null` where no
/// request was measured or where failures reach the quantile. Bounds have rows of the same shape
/// under a key of their own, so that nobody counts them as policies.
#[must_use]
pub fn sweep_json(sweep: &Sweep) -> serde_json::Value {
    let written = Written {
        title: &sweep.experiment.title,
        baseline: sweep.experiment.baseline.as_deref(),
        command: &sweep.experiment.command,
        version: &sweep.experiment.version,
        seeds: &sweep.seeds,
        rows: sweep.rows.iter().map(Row::new).collect(),
        bounds: sweep.bounds.iter().map(Row::new).collect(),
        knees: &sweep.knees,
    };
    // Maps have string keys and floats that JSON lacks are null: there is nothing that could fail.
    serde_json::to_value(&written).unwrap_or_default()
}

#[derive(Serialize)]
struct Written<'a> {
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
    against_baseline: BTreeMap<String, Against>,
}

#[derive(Serialize)]
struct Against {
    ratio: Option<f64>,
    interval95: Option<Interval>,
}

impl<'a> Row<'a> {
    fn new(row: &'a SweepRow) -> Self {
        let against = |comparison: &Comparison| Against {
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
