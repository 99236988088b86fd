//! A sweep: policies by rates by seeds, from single runs to what a report says.

mod estimate;
mod json;
mod knee;
mod row;
mod seed;
mod table;

pub use json::sweep_json;
pub use knee::{Knee, State};
pub use row::{Comparison, RowIntervals, SweepRow};
pub use seed::{
    EndpointPoint, EndpointSeries, LatencySummary, MeasureSummary, PERCENTILES, Role, SeedResult,
    completed_rate, latency_growth,
};
pub use table::{bounds_note, sweep_table};

use crate::{Measure, Rng, Statistic};

/// What was asked, in words: the head and the foot of a report.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Experiment {
    /// The headline.
    pub title: String,
    /// A paragraph or several, parted by empty lines.
    pub description: String,
    /// The model that was served, for file names and for tools that group by it.
    pub model: String,
    /// The policy that the others are compared with; it must be among the results to have an effect.
    pub baseline: Option<String>,
    /// Facts of the set-up in the order in which they are printed, for example `("replicas", "10")`.
    pub facts: Vec<(String, String)>,
    /// The experiment's file, verbatim.
    pub source: Option<String>,
    /// The command that repeats it.
    pub command: String,
    /// The version that made it.
    pub version: String,
}

/// The result of a sweep.
///
/// **The run is the unit**: requests of one run queue behind each other, so one run is about one
/// observation, and every figure is a mean over runs of different seeds. Arms are paired: the run
/// of one seed meets the same arrivals, prompts and lengths under every policy, so ratios compare
/// runs of equal seeds only.
#[derive(Debug, Clone, PartialEq)]
pub struct Sweep {
    /// What was asked.
    pub experiment: Experiment,
    /// A row per policy and rate: rates ascending, policies in the order of their first result.
    pub rows: Vec<SweepRow>,
    /// The same for bounds, which stand beside the policies and are never counted as one.
    pub bounds: Vec<SweepRow>,
    /// Where each policy stops keeping up, in the order of the policies.
    pub knees: Vec<Knee>,
    /// All seeds that took part, ascending.
    pub seeds: Vec<u64>,
}

impl Sweep {
    /// Sums up the runs. `random` draws the resamples of the intervals.
    #[must_use]
    pub fn new(experiment: Experiment, results: &[SeedResult], random: &mut Rng) -> Self {
        let mut seeds: Vec<u64> = results.iter().map(|result| result.seed).collect();
        seeds.sort_unstable();
        seeds.dedup();
        let baseline = experiment.baseline.as_deref();
        let mut rows = row::rows(results, Role::Policy, baseline, random);
        let mut bounds = row::rows(results, Role::Bound, baseline, random);
        row::compare_with_best(&mut rows, &mut bounds);
        let knees = knee::knees(&rows);
        Self { experiment, rows, bounds, knees, seeds }
    }

    /// Puts knees that were searched for in place of those that the swept rates show.
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

    /// The policies in the order of their first result; bounds are not among them.
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

    /// The rows of one policy or bound by rate.
    pub fn of<'a>(&'a self, policy: &'a str) -> impl Iterator<Item = &'a SweepRow> {
        self.rows.iter().chain(&self.bounds).filter(move |row| row.policy == policy)
    }

    /// Whether any row has a value for this measure.
    #[must_use]
    pub fn measures(&self, measure: Measure) -> bool {
        self.rows.iter().any(|row| row.latency.quantiles(measure).p50.is_some())
    }

    /// Each policy's worst ratio to the best policy of the same rate, over all rates: the figure
    /// that says what choosing this policy blindly can cost. `None` where a policy failed so many
    /// requests that the statistic is infinite while another policy's is not.
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
