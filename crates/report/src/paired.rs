//! Comparison of two arms over paired slices.

use crate::bootstrap::bootstrap;
use crate::latency::{Latencies, Statistic};
use crate::run::{Intervals, RunReport};
use crate::slice::Slice;
use pointsman_random::Rng;

/// Bootstrap resamples; more do not change the second digit of the ends.
const RESAMPLES: usize = 4_000;

/// Two arms that replayed the same slices of one plan alternately.
///
/// **The unit of observation is the pair of slices.** Requests of a slice queue behind each other and are not
/// independent, so intervals of a bootstrap over requests would be too narrow. Slices start empty, are
/// drained at their end and have their own arrivals, so pairs are independent; both slices of a pair have the
/// same arrivals and lengths, which removes the variance of the workload from the difference. Each resample
/// draws pairs with replacement, pools the requests of each arm and takes the difference of the two quantiles,
/// which is the statistic in the table. See [`bootstrap`] for the correction for few units, and for the minimum
/// of six pairs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PairedSlices {
    pairs: Vec<[Slice; 2]>,
}

/// The difference of one statistic between the arms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// Statistic.
    pub statistic: Statistic,
    /// Candidate minus baseline over all slices in milliseconds, negative where the candidate is faster; `None` if
    /// either was not measured.
    pub milliseconds: Option<f64>,
}

impl PairedSlices {
    /// Pairs of `[baseline, candidate]`, each with the same arrivals.
    #[must_use]
    pub fn new(pairs: Vec<[Slice; 2]>) -> Self {
        Self { pairs }
    }

    /// The difference of each statistic over all slices.
    #[must_use]
    pub fn changes(&self) -> Vec<Change> {
        let once = vec![1; self.pairs.len()];
        Statistic::all()
            .map(|statistic| {
                let milliseconds = self.pooled(statistic).difference(&once);
                Change { statistic, milliseconds }
            })
            .collect()
    }

    /// The paired 95 % interval of each change; absent for statistics that were not measured and for fewer than six
    /// pairs.
    #[must_use]
    pub fn intervals(&self, random: &mut Rng) -> Intervals {
        let mut intervals = Intervals::default();
        for statistic in Statistic::all() {
            let pooled = self.pooled(statistic);
            let found = bootstrap(self.pairs.len(), RESAMPLES, random, |weights| pooled.difference(weights));
            if let Some(interval) = found {
                intervals.insert(statistic, interval);
            }
        }
        intervals
    }

    /// The results of both arms. The candidate's `interval95` has the paired intervals of the changes; the baseline's
    /// is empty.
    #[must_use]
    pub fn runs(&self, names: [&str; 2], random: &mut Rng) -> [RunReport; 2] {
        let [baseline, candidate] = names;
        let intervals = self.intervals(random);
        [self.run(0, baseline, Intervals::default()), self.run(1, candidate, intervals)]
    }

    fn run(&self, arm: usize, name: &str, interval95: Intervals) -> RunReport {
        let slices = || self.pairs.iter().filter_map(|pair| pair.get(arm));
        let merged = Slice {
            latencies: Latencies::merge(&slices().map(|slice| &slice.latencies).collect::<Vec<_>>()),
            completed: slices().map(|slice| slice.completed).sum(),
            errors: slices().map(|slice| slice.errors).sum(),
            rejected: slices().map(|slice| slice.rejected).sum(),
            seconds: slices().map(|slice| slice.seconds).sum(),
        };
        RunReport::new(name, &merged, interval95)
    }

    fn pooled(&self, statistic: Statistic) -> PooledPair {
        let arm = |index: usize| {
            let mut values: Vec<(f64, usize)> = Vec::new();
            for (unit, pair) in self.pairs.iter().enumerate() {
                if let Some(slice) = pair.get(index) {
                    let sorted = slice.latencies.samples(statistic.measure).sorted();
                    values.extend(sorted.iter().map(|&value| (value, unit)));
                }
            }
            values.sort_by(|left, right| left.0.total_cmp(&right.0));
            values
        };
        PooledPair { statistic, baseline: arm(0), candidate: arm(1) }
    }
}

/// All values of one measure in both arms, sorted, with the index of their pair. The quantile of a resample is one pass
/// with the weights of the pairs instead of a sort.
struct PooledPair {
    statistic: Statistic,
    baseline: Vec<(f64, usize)>,
    candidate: Vec<(f64, usize)>,
}

impl PooledPair {
    fn difference(&self, weights: &[u32]) -> Option<f64> {
        let measured = |arm: &[(f64, usize)]| arm.first().is_some_and(|(value, _)| value.is_finite());
        if !measured(&self.baseline) || !measured(&self.candidate) {
            return None;
        }
        let baseline = self.weighted_quantile(&self.baseline, weights)?;
        let candidate = self.weighted_quantile(&self.candidate, weights)?;
        // Infinity minus infinity is NaN.
        if baseline == candidate { Some(0.0) } else { Some(candidate - baseline) }
    }

    fn weighted_quantile(&self, values: &[(f64, usize)], weights: &[u32]) -> Option<f64> {
        let weight_of = |unit: usize| u64::from(weights.get(unit).copied().unwrap_or(0));
        let total = values.iter().map(|&(_, unit)| weight_of(unit)).sum();
        let rank = self.statistic.level.rank(total).max(1);
        let mut passed = 0;
        values.iter().find_map(|&(value, unit)| {
            passed += weight_of(unit);
            (passed >= rank).then_some(value)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Level, Measure, Timing};

    fn slice(millis: impl Iterator<Item = u64>) -> Slice {
        let timings: Vec<Timing> = millis
            .map(|e2e| Timing::Answered {
                ttft: Some(Duration::from_millis(e2e / 10)),
                e2e: Duration::from_millis(e2e),
                output_tokens: 11,
            })
            .collect();
        Slice {
            completed: timings.len() as u64,
            seconds: 2.0,
            latencies: Latencies::from_timings(timings),
            ..Slice::default()
        }
    }

    /// Eight pairs; the candidate is `gain` ms faster, and each pair has a level of its own.
    fn eight_pairs(gain: u64) -> PairedSlices {
        let pair = |level: u64| {
            let base = 1_000 + 300 * level;
            [slice((0..100).map(|step| base + step)), slice((0..100).map(|step| base + step - gain))]
        };
        PairedSlices::new((0..8).map(pair).collect())
    }

    const E2E_P90: Statistic = Statistic { measure: Measure::E2e, level: Level::P90 };

    #[test]
    fn a_change_is_candidate_minus_baseline() {
        let changes = eight_pairs(50).changes();
        assert_eq!(changes.len(), 12);
        let e2e = changes.iter().find(|row| row.statistic == E2E_P90).unwrap();
        assert!((e2e.milliseconds.unwrap() + 50.0).abs() < 1e-9);
    }

    #[test]
    fn pairing_removes_shared_variance() {
        let intervals = eight_pairs(50).intervals(&mut Rng::seeded(1));
        let e2e = intervals.get(E2E_P90).unwrap();
        assert!(e2e.low > -60.0 && e2e.high < -40.0, "{e2e:?}");
    }

    #[test]
    fn equal_arms_have_an_interval_around_zero() {
        let intervals = eight_pairs(0).intervals(&mut Rng::seeded(1));
        for statistic in Statistic::all() {
            let found = intervals.get(statistic).unwrap();
            assert!(found.low <= 0.0 && found.high >= 0.0, "{statistic}: {found:?}");
        }
    }

    #[test]
    fn one_outlier_pair_is_not_significant() {
        let mut pairs = eight_pairs(0).pairs;
        pairs[0] = [slice((0..100).map(|step| 9_000 + step)), slice(0..100)];
        let found = PairedSlices::new(pairs).intervals(&mut Rng::seeded(1)).get(E2E_P90).unwrap();
        assert!(found.high >= 0.0, "{found:?}");
    }

    #[test]
    fn runs_sum_up_their_slices() {
        let [baseline, candidate] = eight_pairs(50).runs(["a", "b"], &mut Rng::seeded(1));
        assert_eq!((baseline.name.as_str(), candidate.name.as_str()), ("a", "b"));
        assert_eq!(baseline.requests_per_second, Some(50.0));
        assert_eq!(baseline.interval95, Intervals::default());
        assert!(candidate.interval95.get(E2E_P90).is_some());
        assert!(candidate.latency.e2e_ms.p90 < baseline.latency.e2e_ms.p90);
    }

    #[test]
    fn failures_on_one_side_are_an_infinite_difference() {
        let failing = || {
            let mut timings = vec![Timing::Failed; 50];
            timings.extend(
                [Timing::Answered { ttft: None, e2e: Duration::from_millis(5), output_tokens: 1 }; 50],
            );
            Slice { latencies: Latencies::from_timings(timings), ..Slice::default() }
        };
        let pairs = (0..6).map(|_| [failing(), slice(0..100)]).collect();
        let changes = PairedSlices::new(pairs).changes();
        let e2e = changes.iter().find(|row| row.statistic == E2E_P90).unwrap();
        assert_eq!(e2e.milliseconds, Some(f64::NEG_INFINITY));
    }

    proptest::proptest! {
        /// Checks the weighted pass against sorting each resample.
        #[test]
        fn a_weighted_quantile_is_the_quantile_of_the_resample(
            slices in proptest::collection::vec(proptest::collection::vec(0_u16..50, 0..20), 1..6),
            weights in proptest::collection::vec(0_u32..4, 6),
        ) {
            let mut values: Vec<(f64, usize)> = slices
                .iter()
                .enumerate()
                .flat_map(|(unit, slice)| slice.iter().map(move |&value| (f64::from(value), unit)))
                .collect();
            values.sort_by(|left, right| left.0.total_cmp(&right.0));
            let drawn = slices.iter().zip(&weights).flat_map(|(slice, &weight)| {
                (0..weight).flat_map(|_| slice.iter().copied().map(f64::from))
            });
            let resample = crate::Samples::new(drawn.collect());
            for level in Level::ALL {
                let statistic = Statistic { measure: Measure::E2e, level };
                let pair = PooledPair { statistic, baseline: values.clone(), candidate: Vec::new() };
                proptest::prop_assert_eq!(pair.weighted_quantile(&values, &weights), resample.quantile(level));
            }
        }
    }
}
