//! Bootstrap intervals.

use crate::interval::Interval;
use pointsman_random::Rng;

/// Number of units from which there is an interval.
///
/// The interval between the minimum and the maximum of `n` observations covers the median with
/// probability `1 − 2^(1−n)`: 93.8 % for five, 96.9 % for six. A bootstrap interval lies within it, so
/// fewer than six units have no 95 % interval.
pub const MIN_UNITS: usize = 6;

/// The 95 % bootstrap interval of a statistic over `units` independent units.
///
/// Each of `resamples` rounds draws `units` units with replacement; `statistic` gets the number of times that
/// each unit was drawn and returns the value of the resample. The ends are the *expanded* percentiles of Hesterberg ("What Teachers Should Know About the Bootstrap", The American
/// Statistician 69, 2015): a plain percentile interval from `n` units is too narrow by the factor
/// `√((n−1)/n)` and by using the normal instead of Student's quantile, which matters at six to ten units.
/// The tails become `Φ(−√(n/(n−1)) · t(0.975, n−1))`.
///
/// On normal values (tested below) the coverage is about 92 % with six units and 94 to 95 % with eight or ten.
///
/// `None` below [`MIN_UNITS`] units, without resamples, or when a resample has no value.
pub fn bootstrap(
    units: usize,
    resamples: usize,
    random: &mut Rng,
    mut statistic: impl FnMut(&[u32]) -> Option<f64>,
) -> Option<Interval> {
    if units < MIN_UNITS || resamples == 0 {
        return None;
    }
    let mut weights = vec![0_u32; units];
    let mut values = Vec::with_capacity(resamples);
    for _ in 0..resamples {
        weights.fill(0);
        for _ in 0..units {
            if let Some(weight) = weights.get_mut(random.below(units)) {
                *weight += 1;
            }
        }
        values.push(statistic(&weights).filter(|value| !value.is_nan())?);
    }
    values.sort_unstable_by(f64::total_cmp);
    let skipped = skipped_in_tail(units, resamples);
    Some(Interval { low: *values.get(skipped)?, high: *values.get(resamples - 1 - skipped)? })
}

/// The number of sorted resamples outside each end.
#[expect(clippy::cast_precision_loss, reason = "unit and resample counts are small")]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a tail below one half of a count"
)]
fn skipped_in_tail(units: usize, resamples: usize) -> usize {
    let units = units as f64;
    let deviations = (units / (units - 1.0)).sqrt() * student_975(units - 1.0);
    (normal_tail(deviations) * resamples as f64).floor() as usize
}

/// The 0.975 quantile of Student's distribution by the Cornish–Fisher expansion (Abramowitz and
/// Stegun 26.7.5), within 0.4 % from four degrees of freedom on.
pub(crate) fn student_975(freedom: f64) -> f64 {
    const Z: f64 = 1.959_963_985;
    let (z3, z5, z7) = (Z.powi(3), Z.powi(5), Z.powi(7));
    Z + (z3 + Z) / (4.0 * freedom)
        + (5.0 * z5 + 16.0 * z3 + 3.0 * Z) / (96.0 * freedom.powi(2))
        + (3.0 * z7 + 19.0 * z5 + 17.0 * z3 - 15.0 * Z) / (384.0 * freedom.powi(3))
}

/// `Φ(−z)` for `z ≥ 0` (Abramowitz and Stegun 26.2.17, error below 7.5e-8).
fn normal_tail(z: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * z);
    let series = t
        * (0.319_381_530
            + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    series * (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean_interval(values: &[f64], seed: u64) -> Option<Interval> {
        bootstrap(values.len(), 2_000, &mut Rng::seeded(seed), |weights| {
            let drawn: f64 =
                weights.iter().zip(values).map(|(&weight, value)| f64::from(weight) * value).sum();
            Some(drawn / values.len() as f64)
        })
    }

    #[test]
    fn student_and_normal_match_their_tables() {
        for (freedom, expect) in [(4.0, 2.776), (5.0, 2.571), (7.0, 2.365), (9.0, 2.262), (30.0, 2.042)] {
            let value = student_975(freedom);
            assert!((value / expect - 1.0).abs() < 0.004, "t(0.975, {freedom}) = {value}, not {expect}");
        }
        for (z, expect) in [(0.0, 0.5), (1.96, 0.024_998), (3.0, 0.001_350)] {
            assert!((normal_tail(z) - expect).abs() < 1e-5, "tail at {z}");
        }
    }

    #[test]
    fn too_few_units_have_no_interval() {
        assert_eq!(mean_interval(&[1.0; 5], 1), None);
        assert_eq!(mean_interval(&[1.0; 6], 1), Some(Interval { low: 1.0, high: 1.0 }));
    }

    #[test]
    fn the_same_seed_gives_the_same_interval() {
        let values = [1.0, 5.0, 2.0, 9.0, 3.0, 3.5, 8.0];
        assert_eq!(mean_interval(&values, 3), mean_interval(&values, 3));
    }

    #[test]
    fn a_statistic_without_value_gives_no_interval() {
        assert_eq!(bootstrap(8, 10, &mut Rng::seeded(1), |_| None), None);
        assert_eq!(bootstrap(8, 10, &mut Rng::seeded(1), |_| Some(f64::NAN)), None);
    }

    /// Coverage with few units. A plain percentile interval covers about 87 % here.
    #[test]
    fn intervals_of_few_units_have_the_stated_coverage() {
        for units in [6, 8, 10] {
            let mut random = Rng::seeded(units as u64);
            let covered = (0..1_000)
                .filter(|&round| {
                    let values: Vec<f64> = (0..units).map(|_| standard_normal(&mut random)).collect();
                    mean_interval(&values, round).is_some_and(|found| found.low <= 0.0 && found.high >= 0.0)
                })
                .count();
            assert!((910..=985).contains(&covered), "{units} units cover {covered} of 1000");
        }
    }

    fn standard_normal(random: &mut Rng) -> f64 {
        (0..12).map(|_| random.unit()).sum::<f64>() - 6.0
    }
}
