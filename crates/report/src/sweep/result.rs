//! The result of a sweep.

use serde::Serialize;

use super::knee::{Knee, knees};
use super::row::{self, SweepRow, compare_with_best};
use super::seed::{Role, SeedResult};
use crate::latency::Statistic;
use crate::measure::Measure;
use pointsman_random::Rng;

/// Where results come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// From modelled engines in virtual time.
    #[default]
    Simulated,
    /// From traffic to running servers.
    Measured,
}

impl Origin {
    /// The word in notes of plots.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Simulated => "simulated",
            Self::Measured => "measured",
        }
    }
}

/// Description of an experiment, for the header and footer of a report.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Experiment {
    /// Whether the results are simulated, which reports say.
    pub origin: Origin,
    /// Title.
    pub title: String,
    /// Paragraphs, separated by empty lines.
    pub description: String,
    /// Name of the served model, for file names and for tools that group by it.
    pub model: String,
    /// The policy that others are compared with. It has no effect unless it is among the results.
    pub baseline: Option<String>,
    /// Facts of the set-up in printing order, for example `("replicas", "10")`.
    pub facts: Vec<(String, String)>,
    /// Text of the experiment's file.
    pub source: Option<String>,
    /// Command that reproduces the results.
    pub command: String,
    /// Version of Pointsman.
    pub version: String,
}

/// The result of a sweep.
///
/// **The unit of observation is the run**: requests of one run queue behind each other and are not
/// independent, so every figure is a mean over runs of different seeds. Runs are paired: under the
/// same seed, every policy gets the same arrivals, prompts and lengths, and ratios compare runs of
/// equal seeds only.
#[derive(Debug, Clone, PartialEq)]
pub struct Sweep {
    /// Description.
    pub experiment: Experiment,
    /// A row per policy and rate: rates ascending, policies in the order of their first result.
    pub rows: Vec<SweepRow>,
    /// Rows of bounds, which are not policies.
    pub bounds: Vec<SweepRow>,
    /// The knee of each policy, in the order of the policies.
    pub knees: Vec<Knee>,
    /// All seeds, ascending.
    pub seeds: Vec<u64>,
}

impl Sweep {
    /// Summarizes runs. `random` draws the bootstrap resamples.
    #[must_use]
    pub fn new(experiment: Experiment, results: &[SeedResult], random: &mut Rng) -> Self {
        let mut seeds: Vec<u64> = results.iter().map(|result| result.seed).collect();
        seeds.sort_unstable();
        seeds.dedup();
        let baseline = experiment.baseline.as_deref();
        let mut rows = row::rows(results, Role::Policy, baseline, random);
        let mut bounds = row::rows(results, Role::Bound, baseline, random);
        compare_with_best(&mut rows, &mut bounds);
        let knees = knees(&rows);
        Self { experiment, rows, bounds, knees, seeds }
    }

    /// Replaces the knees between swept rates by knees from a search.
    #[must_use]
    pub fn with_knees(mut self, searched: Vec<Knee>) -> Self {
        for knee in searched {
            match self.knees.iter_mut().find(|found| found.policy == knee.policy) {
                Some(found) => *found = knee,
                None => self.knees.push(knee),
            }
        }
        self
    }

    /// The policies in the order of their first result, without bounds.
    #[must_use]
    pub fn policies(&self) -> Vec<&str> {
        names(&self.rows)
    }

    /// The rates, ascending.
    #[must_use]
    pub fn rates(&self) -> Vec<f64> {
        let mut rates: Vec<f64> = self.rows.iter().chain(&self.bounds).map(|row| row.rate).collect();
        rates.sort_by(f64::total_cmp);
        rates.dedup();
        rates
    }

    /// The rows of one policy or bound, by ascending rate.
    pub fn of<'a>(&'a self, policy: &'a str) -> impl Iterator<Item = &'a SweepRow> {
        self.rows.iter().chain(&self.bounds).filter(move |row| row.policy == policy)
    }

    /// Whether any row has a value for this measure.
    #[must_use]
    pub fn measures(&self, measure: Measure) -> bool {
        self.rows.iter().any(|row| row.latency.quantiles(measure).p50.is_some())
    }

    /// Each policy's largest ratio to the best policy at the same rate, over all rates. `None` where
    /// failed requests make the statistic infinite.
    #[must_use]
    pub fn worst_ratios(&self, statistic: Statistic) -> Vec<(&str, Option<f64>)> {
        let worst = |policy: &str| {
            let rows = self.rows.iter().filter(|row| row.policy == policy);
            rows.map(|row| row.ratio_to_best(statistic))
                .try_fold(1.0_f64, |worst, ratio| Some(worst.max(ratio?)))
        };
        self.policies().into_iter().map(|policy| (policy, worst(policy))).collect()
    }
}

pub(crate) fn names(rows: &[SweepRow]) -> Vec<&str> {
    let mut names = Vec::new();
    for row in rows {
        if !names.contains(&row.policy.as_str()) {
            names.push(row.policy.as_str());
        }
    }
    names
}
