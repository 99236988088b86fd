//! Rows of a sweep: one rule at one rate over all seeds.

use std::collections::BTreeMap;

use serde::Serialize;

use super::estimate::{interval, ratio};
use super::seed::{EndpointSeries, Role, SeedResult};
use super::state::State;
use crate::interval::Interval;
use crate::latency::Statistic;
use crate::measure::Measure;
use crate::number::per_second;
use crate::quantile::{Level, Quantiles};
use crate::run::{Intervals, LatencyRows};
use pointsman_random::Rng;

/// One policy at one rate over all seeds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SweepRow {
    /// The policy or bound.
    pub policy: String,
    /// The nominal rate, requests per second.
    pub rate: f64,
    /// Number of runs.
    pub seeds: usize,
    /// Arrived requests per second; mean over runs.
    pub offered_rps: f64,
    /// Mean over runs of [`super::Completions::rate`], requests per second.
    pub completed_rps: f64,
    /// Arrived requests. This and the next four counts are sums over all runs.
    pub offered: u64,
    /// Requests with a complete response.
    pub completed: u64,
    /// Requests that were rejected because the pool was saturated.
    pub rejected: u64,
    /// Requests that failed for any other reason.
    pub failed: u64,
    /// Requests without an outcome at the end of their run.
    pub unfinished: u64,
    /// Prefix cache hit rate: hit tokens over prompt tokens; mean over runs. `None` when the workload
    /// has no shared prefixes.
    pub hit_rate: Option<f64>,
    /// Generated tokens per second, draining included; mean over runs.
    pub output_tokens_per_second: f64,
    /// Whether the fleet keeps up with the rate.
    pub state: State,
    /// Mean over runs of each run's quantile, milliseconds. The latency of a failed request is
    /// infinite; where failures reach the quantile in any run, the mean is infinite, `null` in JSON.
    /// A measure without observations is `None`, `null` in JSON too.
    #[serde(flatten)]
    pub latency: LatencyRows,
    /// Confidence intervals of the row's figures.
    pub interval95: RowIntervals,
    /// Comparison with the baseline by latency statistic; empty in the baseline's rows.
    pub against_baseline: BTreeMap<Statistic, Comparison>,
    /// The results of the runs, by ascending seed.
    #[serde(skip)]
    pub runs: Vec<SeedResult>,
    #[serde(rename = "ratio_to_best")]
    ratios_to_best: BTreeMap<Statistic, f64>,
}

/// The 95 % intervals of a row's figures over its runs; absent below five runs and for infinite
/// figures.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RowIntervals {
    /// Intervals of the latencies.
    #[serde(flatten)]
    pub latency: Intervals,
    /// Interval of `completed_rps`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed_rps: Option<Interval>,
    /// Interval of `hit_rate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hit_rate: Option<Interval>,
}

/// The ratio of a row's statistic to the baseline's at the same rate: the two means are over the
/// seeds that both have. Less than one is better.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Comparison {
    /// The ratio; infinite where only this row's failures reach the quantile.
    pub ratio: f64,
    /// Paired interval of the ratio.
    pub interval95: Option<Interval>,
}

impl SweepRow {
    /// A latency statistic, milliseconds. See [`SweepRow::latency`].
    #[must_use]
    pub fn value(&self, statistic: Statistic) -> Option<f64> {
        self.latency.quantiles(statistic.measure).at(statistic.level)
    }

    /// The ratio of the statistic to that of the best policy at the same rate: at least 1, except
    /// for bounds. `None` where this row or every policy has no finite value.
    #[must_use]
    pub fn ratio_to_best(&self, statistic: Statistic) -> Option<f64> {
        self.ratios_to_best.get(&statistic).copied()
    }

    /// The rate as a heading: nominal, and arrived where that differs by more than 1 %.
    pub(crate) fn offered_label(&self) -> String {
        let (nominal, arrived) = (per_second(Some(self.rate)), per_second(Some(self.offered_rps)));
        if (self.offered_rps - self.rate).abs() <= 0.01 * self.rate {
            return format!("{nominal} offered");
        }
        format!("{nominal} offered, {arrived} arrived")
    }

    /// A note on rows with fewer runs than the sweep has seeds, whose means are not comparable with others.
    pub(crate) fn missing_runs(&self, of: usize) -> Option<String> {
        (self.seeds < of).then(|| format!("{} of {of} runs", self.seeds))
    }

    /// The share of requests without a complete response.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "request counts stay far below 2^53")]
    pub fn incomplete_share(&self) -> f64 {
        if self.offered == 0 { 0.0 } else { 1.0 - self.completed as f64 / self.offered as f64 }
    }

    /// The load of each endpoint over time in the run of the lowest seed.
    #[must_use]
    pub fn endpoints(&self) -> &[EndpointSeries] {
        self.runs.first().map_or(&[], |run| &run.endpoints)
    }
}

/// The rows of one role, one per policy and rate.
pub(super) fn rows(
    results: &[SeedResult],
    role: Role,
    baseline: Option<&str>,
    random: &mut Rng,
) -> Vec<SweepRow> {
    let mut policies: Vec<&str> = Vec::new();
    for result in results.iter().filter(|result| result.role == role) {
        if !policies.contains(&result.policy.as_str()) {
            policies.push(&result.policy);
        }
    }
    let mut rates: Vec<f64> = results.iter().map(|result| result.rate).collect();
    rates.sort_by(f64::total_cmp);
    rates.dedup();
    let mut rows = Vec::new();
    for rate in rates {
        let runs_of = |policy: &str| {
            let mut runs: Vec<&SeedResult> =
                results.iter().filter(|result| result.policy == policy && result.rate == rate).collect();
            runs.sort_by_key(|run| run.seed);
            runs.dedup_by_key(|run| run.seed);
            runs
        };
        let against = baseline.map(|name| (name, runs_of(name)));
        for &policy in &policies {
            let runs = runs_of(policy);
            if !runs.is_empty() {
                let against = against.as_ref().filter(|(name, _)| *name != policy);
                let against = against.map_or(&[][..], |(_, runs)| runs.as_slice());
                rows.push(row(policy, rate, &runs, against, random));
            }
        }
    }
    rows
}

fn row(
    policy: &str,
    rate: f64,
    runs: &[&SeedResult],
    baseline: &[&SeedResult],
    random: &mut Rng,
) -> SweepRow {
    let sum = |count: fn(&SeedResult) -> u64| runs.iter().map(|run| count(run)).sum();
    let offered = means(runs, |run| Some(per(run.offered, run.arrival_seconds)));
    let completed = means(runs, |run| Some(run.completed_rps));
    let hits = means(runs, |run| run.hit_tokens.map(|hits| per(hits, run.prompt_tokens_f64())));
    let tokens = means(runs, |run| Some(per(run.output_tokens, run.seconds)));
    let mut latency = LatencyRows::default();
    let mut intervals = Intervals::default();
    let mut against_baseline = BTreeMap::new();
    for statistic in every_statistic() {
        let values = means(runs, |run| value(run, statistic));
        set(&mut latency, statistic, ratio(&values));
        if let Some(found) = interval(&values, random) {
            intervals.insert(statistic, found);
        }
        let pairs = paired(runs, baseline, statistic);
        if let Some(ratio) = ratio(&pairs) {
            against_baseline.insert(statistic, Comparison { ratio, interval95: interval(&pairs, random) });
        }
    }
    let (offered_rps, completed_rps) = (ratio(&offered).unwrap_or(0.0), ratio(&completed).unwrap_or(0.0));
    let growth = means(runs, |run| run.latency_growth);
    SweepRow {
        policy: policy.to_owned(),
        rate,
        seeds: runs.len(),
        offered_rps,
        completed_rps,
        offered: sum(|run| run.offered),
        completed: sum(|run| run.completed),
        rejected: sum(|run| run.rejected),
        failed: sum(|run| run.failed),
        unfinished: sum(|run| run.unfinished),
        hit_rate: ratio(&hits),
        output_tokens_per_second: ratio(&tokens).unwrap_or(0.0),
        state: State::new(offered_rps, completed_rps, ratio(&growth)),
        latency,
        interval95: RowIntervals {
            latency: intervals,
            completed_rps: interval(&completed, random),
            hit_rate: interval(&hits, random),
        },
        against_baseline,
        runs: runs.iter().enumerate().map(|(index, run)| without_series(index, run)).collect(),
        ratios_to_best: BTreeMap::new(),
    }
}

/// Drops the load series of all runs but the first, which alone is plotted: they are most of a result's size.
fn without_series(index: usize, run: &SeedResult) -> SeedResult {
    let endpoints = if index == 0 { run.endpoints.clone() } else { Vec::new() };
    SeedResult { policy: run.policy.clone(), latencies: run.latencies.clone(), endpoints, ..*run }
}

/// The latency statistics of rows: those of every report, and inter-token latency.
fn every_statistic() -> impl Iterator<Item = Statistic> {
    let gaps = Level::ALL.into_iter().map(|level| Statistic { measure: Measure::Itl, level });
    Statistic::all().chain(gaps)
}

fn value(run: &SeedResult, statistic: Statistic) -> Option<f64> {
    run.latencies.of(statistic.measure).quantile(statistic.level)
}

fn means(runs: &[&SeedResult], of: impl Fn(&SeedResult) -> Option<f64>) -> Vec<(f64, f64)> {
    runs.iter().filter_map(|run| Some((of(run)?, 1.0))).collect()
}

fn paired(runs: &[&SeedResult], baseline: &[&SeedResult], statistic: Statistic) -> Vec<(f64, f64)> {
    let partner = |run: &SeedResult| baseline.iter().find(|other| other.seed == run.seed);
    runs.iter().filter_map(|run| Some((value(run, statistic)?, value(partner(run)?, statistic)?))).collect()
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn per(count: u64, of: f64) -> f64 {
    if of > 0.0 { count as f64 / of } else { 0.0 }
}

fn set(latency: &mut LatencyRows, statistic: Statistic, value: Option<f64>) {
    let quantiles: &mut Quantiles = match statistic.measure {
        Measure::Ttft => &mut latency.ttft_ms,
        Measure::Tpot => &mut latency.tpot_ms,
        Measure::Ntpot => &mut latency.ntpot_ms,
        Measure::E2e => &mut latency.e2e_ms,
        Measure::Itl if value.is_none() => return,
        Measure::Itl => latency.itl_ms.get_or_insert_default(),
    };
    match statistic.level {
        Level::P50 => quantiles.p50 = value,
        Level::P90 => quantiles.p90 = value,
        Level::P99 => quantiles.p99 = value,
    }
}

/// Sets the ratios to the best policy at the same rate in each row and bound.
pub(super) fn compare_with_best(rows: &mut [SweepRow], bounds: &mut [SweepRow]) {
    let mut best: BTreeMap<(u64, Statistic), f64> = BTreeMap::new();
    for row in rows.iter() {
        for statistic in Statistic::all() {
            if let Some(value) = row.value(statistic).filter(|value| value.is_finite() && *value > 0.0) {
                let found = best.entry((row.rate.to_bits(), statistic)).or_insert(value);
                *found = found.min(value);
            }
        }
    }
    for row in rows.iter_mut().chain(bounds) {
        let ratio = |statistic| {
            let best = best.get(&(row.rate.to_bits(), statistic))?;
            let value = row.value(statistic).filter(|value| value.is_finite())?;
            Some((statistic, value / best))
        };
        row.ratios_to_best = Statistic::all().filter_map(ratio).collect();
    }
}
