//! Means over runs and their confidence intervals.

use crate::bootstrap::{MIN_UNITS, bootstrap, student_975};
use crate::interval::Interval;
use pointsman_random::Rng;

/// Bootstrap resamples; more do not change the second digit of the ends.
const RESAMPLES: usize = 2_000;

/// Number of runs from which there is an interval.
const MIN_RUNS: usize = 5;

/// The ratio of two means over the same runs, `Σ numerator / Σ denominator`; the mean where every
/// denominator is 1. `None` without runs or when the ratio is NaN; infinite if a numerator is.
pub(super) fn ratio(pairs: &[(f64, f64)]) -> Option<f64> {
    weighted(pairs, |_| 1.0)
}

fn weighted(pairs: &[(f64, f64)], weight: impl Fn(usize) -> f64) -> Option<f64> {
    let (mut above, mut below) = (0.0, 0.0);
    for (index, &(numerator, denominator)) in pairs.iter().enumerate() {
        let weight = weight(index);
        if weight > 0.0 {
            above += weight * numerator;
            below += weight * denominator;
        }
    }
    let value = above / below;
    (!value.is_nan()).then_some(value)
}

/// The 95 % interval of [`ratio`] over runs.
///
/// From [`MIN_UNITS`] runs on it is a bootstrap interval over runs; pairs are drawn together, which
/// removes the variance that both arms share. With five runs it is Student's interval of the classical
/// ratio estimator (Cochran, Sampling Techniques, 1977, §6.4), exact for normal values where the
/// denominator is constant: no bootstrap resample leaves the range of the values, and the range of five
/// misses the median in 6 % of cases. With fewer runs there is no interval.
///
/// `None` too when the ratio is not finite. The interval always contains the ratio.
pub(super) fn interval(pairs: &[(f64, f64)], random: &mut Rng) -> Option<Interval> {
    let value = ratio(pairs).filter(|value| value.is_finite())?;
    let found = if pairs.len() >= MIN_UNITS {
        bootstrap(pairs.len(), RESAMPLES, random, |weights| {
            weighted(pairs, |index| weights.get(index).copied().map_or(0.0, f64::from))
        })
    } else if pairs.len() >= MIN_RUNS {
        student(pairs, value)
    } else {
        None
    }?;
    // Student's interval is unbounded, but times and rates are not negative.
    let floor = if pairs.iter().all(|&(above, _)| above >= 0.0) { 0.0 } else { f64::NEG_INFINITY };
    Some(Interval { low: found.low.max(floor).min(value), high: found.high.max(value) })
}

#[expect(clippy::cast_precision_loss, reason = "a handful of runs")]
fn student(pairs: &[(f64, f64)], ratio: f64) -> Option<Interval> {
    let count = pairs.len() as f64;
    let mean = pairs.iter().map(|&(_, denominator)| denominator).sum::<f64>() / count;
    let squares: f64 =
        pairs.iter().map(|&(above, below)| ((above - ratio * below) / mean).powi(2)).sum::<f64>();
    let half_width = student_975(count - 1.0) * (squares / (count - 1.0) / count).sqrt();
    half_width.is_finite().then_some(Interval { low: ratio - half_width, high: ratio + half_width })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean_pairs(values: &[f64]) -> Vec<(f64, f64)> {
        values.iter().map(|&value| (value, 1.0)).collect()
    }

    #[test]
    fn five_runs_have_students_interval() {
        let pairs = mean_pairs(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        let found = interval(&pairs, &mut Rng::seeded(1)).unwrap();
        let half_width = 2.776_445 * (2.5_f64 / 5.0).sqrt();
        assert!((found.low - (3.0 - half_width)).abs() < 0.02, "{found:?}");
        assert!((found.high - (3.0 + half_width)).abs() < 0.02, "{found:?}");
        assert_eq!(interval(&pairs[..4], &mut Rng::seeded(1)), None);
    }

    #[test]
    fn intervals_of_times_are_not_negative() {
        let found = interval(&mean_pairs(&[0.1, 0.1, 0.1, 0.1, 9.0]), &mut Rng::seeded(1)).unwrap();
        assert_eq!(found.low, 0.0);
        let found = interval(&mean_pairs(&[-0.1, 0.1, 0.1, 0.1, 9.0]), &mut Rng::seeded(1)).unwrap();
        assert!(found.low < 0.0);
    }

    #[test]
    fn pairing_removes_shared_variance() {
        for runs in [5, 8] {
            let pairs: Vec<(f64, f64)> =
                (1..=runs).map(|level| (0.8 * f64::from(level), f64::from(level))).collect();
            let found = interval(&pairs, &mut Rng::seeded(1)).unwrap();
            assert!((found.low - 0.8).abs() < 1e-9 && (found.high - 0.8).abs() < 1e-9, "{found:?}");
        }
    }

    #[test]
    fn an_infinite_run_has_no_interval() {
        for runs in [5, 8] {
            let mut pairs = mean_pairs(&vec![1.0; runs]);
            pairs[0].0 = f64::INFINITY;
            assert_eq!(ratio(&pairs), Some(f64::INFINITY));
            assert_eq!(interval(&pairs, &mut Rng::seeded(1)), None);
        }
        assert_eq!(ratio(&[]), None);
        assert_eq!(ratio(&[(0.0, 0.0)]), None);
        assert_eq!(ratio(&[(f64::INFINITY, f64::INFINITY)]), None);
    }

    #[test]
    fn equal_runs_have_an_interval_without_width() {
        for runs in [5, 6, 10] {
            let pairs = mean_pairs(&vec![0.1; runs]);
            let found = interval(&pairs, &mut Rng::seeded(1)).unwrap();
            let value = ratio(&pairs).unwrap();
            assert!(found.low <= value && value <= found.high);
            assert!(found.high - found.low < 1e-12);
        }
    }

    /// Coverage of the interval at five runs.
    #[test]
    fn intervals_of_five_runs_have_the_stated_coverage() {
        let mut random = Rng::seeded(5);
        let mut normal = || (0..12).map(|_| random.unit()).sum::<f64>() - 6.0;
        let covered = (0..2_000)
            .filter(|_| {
                let values: Vec<f64> = (0..5).map(|_| normal()).collect();
                let found = interval(&mean_pairs(&values), &mut Rng::seeded(1)).unwrap();
                found.low <= 0.0 && found.high >= 0.0
            })
            .count();
        assert!((1_870..=1_930).contains(&covered), "{covered} of 2000");
    }
}
