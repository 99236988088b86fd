//! Quantiles by nearest rank.

use serde::{Deserialize, Serialize};

use crate::interval::Interval;

/// The quantiles of every report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// The median.
    P50,
    /// The 90th percentile.
    P90,
    /// The 99th percentile.
    P99,
}

impl Level {
    /// All levels, lowest first.
    pub const ALL: [Self; 3] = [Self::P50, Self::P90, Self::P99];

    /// The JSON key and the name in tables.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P90 => "p90",
            Self::P99 => "p99",
        }
    }

    /// The rank of this quantile among `total` sorted values, counted from one: `⌈p·n⌉`.
    ///
    /// Integer arithmetic avoids that `0.9 × 10` is 9.000000000000002.
    #[must_use]
    pub const fn rank(self, total: u64) -> u64 {
        (total * self.percent() as u64).div_ceil(100)
    }

    const fn percent(self) -> u32 {
        match self {
            Self::P50 => 50,
            Self::P90 => 90,
            Self::P99 => 99,
        }
    }
}

/// The values of one measure in milliseconds, with failures as infinity.
///
/// Without failed requests, a server would look faster by failing its slow ones.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples {
    sorted: Vec<f64>,
}

impl Samples {
    /// Sorts values; NaN becomes infinite.
    #[must_use]
    pub fn new(mut values: Vec<f64>) -> Self {
        for value in &mut values {
            if value.is_nan() {
                *value = f64::INFINITY;
            }
        }
        values.sort_unstable_by(f64::total_cmp);
        Self { sorted: values }
    }

    /// The values, ascending.
    #[must_use]
    pub fn sorted(&self) -> &[f64] {
        &self.sorted
    }

    /// Whether any value is finite. If none is, the measure was not observed.
    #[must_use]
    pub fn is_measured(&self) -> bool {
        self.sorted.first().is_some_and(|value| value.is_finite())
    }

    /// The quantile by nearest rank, which needs no interpolation with infinity. `None` without values.
    #[must_use]
    pub fn quantile(&self, level: Level) -> Option<f64> {
        let rank = level.rank(self.sorted.len() as u64);
        let index = usize::try_from(rank).ok()?.checked_sub(1)?;
        self.sorted.get(index).copied()
    }

    /// All quantiles.
    #[must_use]
    pub fn quantiles(&self) -> Quantiles {
        let at = |level| if self.is_measured() { self.quantile(level) } else { None };
        Quantiles { p50: at(Level::P50), p90: at(Level::P90), p99: at(Level::P99) }
    }

    /// The 95 % interval of a quantile from order statistics: the values at ranks
    /// `np ± 1.96·√(np(1 − p))`. It assumes independent values, which the latencies of one run near
    /// saturation are not; see [`crate::PairedSlices`] for comparisons.
    ///
    /// `None` with too few values for either rank.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "sample counts stay far below 2^53")]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "ranks are checked first")]
    pub fn interval(&self, level: Level) -> Option<Interval> {
        let total = self.sorted.len() as f64;
        let fraction = f64::from(level.percent()) / 100.0;
        let expected = total * fraction;
        let spread = 1.96 * (expected * (1.0 - fraction)).sqrt();
        let (low, high) = ((expected - spread).floor(), (expected + spread).ceil());
        if low < 1.0 || high > total {
            return None;
        }
        let at = |rank: f64| self.sorted.get(rank as usize - 1).copied();
        Some(Interval { low: at(low)?, high: at(high)? })
    }
}

/// The quantiles of one measure. `null` in JSON means not measured, or infinite because failures reach the quantile;
/// `errors` and `rejected` of the run tell which.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// The median.
    pub p50: Option<f64>,
    /// The 90th percentile.
    pub p90: Option<f64>,
    /// The 99th percentile.
    pub p99: Option<f64>,
}

impl Quantiles {
    /// The value at `level`.
    #[must_use]
    pub const fn at(&self, level: Level) -> Option<f64> {
        match level {
            Level::P50 => self.p50,
            Level::P90 => self.p90,
            Level::P99 => self.p99,
        }
    }
}

/// The median; the mean of the middle two values for an even number. `None` without values.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let upper = sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(*upper);
    }
    let lower = sorted.get(sorted.len() / 2 - 1)?;
    Some(f64::midpoint(*lower, *upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: &[f64], expect: [Option<f64>; 3]) {
        let quantiles = Samples::new(values.to_vec()).quantiles();
        assert_eq!(Level::ALL.map(|level| quantiles.at(level)), expect, "{values:?}");
    }

    #[test]
    fn quantiles_are_observed_values() {
        check(&[], [None, None, None]);
        check(&[3.0], [Some(3.0); 3]);
        check(&[2.0, 1.0], [Some(1.0), Some(2.0), Some(2.0)]);
        let ten: Vec<f64> = (1..=10).map(f64::from).collect();
        check(&ten, [Some(5.0), Some(9.0), Some(10.0)]);
        let thousand: Vec<f64> = (1..=1000).map(f64::from).collect();
        check(&thousand, [Some(500.0), Some(900.0), Some(990.0)]);
    }

    #[test]
    fn failures_are_above_every_latency() {
        let mut values = vec![1.0; 95];
        values.extend([f64::INFINITY; 4]);
        values.push(f64::NAN);
        check(&values, [Some(1.0), Some(1.0), Some(f64::INFINITY)]);
    }

    #[test]
    fn a_measure_with_failures_only_is_not_measured() {
        check(&[f64::INFINITY; 3], [None; 3]);
    }

    #[test]
    fn intervals_follow_the_published_ranks() {
        let thousand = Samples::new((1..=1000).map(f64::from).collect());
        assert_eq!(thousand.interval(Level::P90), Some(Interval { low: 881.0, high: 919.0 }));
        assert_eq!(thousand.interval(Level::P99), Some(Interval { low: 983.0, high: 997.0 }));
        assert_eq!(Samples::new(vec![1.0; 20]).interval(Level::P99), None);
    }

    #[test]
    fn infinite_quantiles_are_null_in_json() {
        let mut values = vec![1.5; 95];
        values.extend([f64::INFINITY; 5]);
        let json = serde_json::to_string(&Samples::new(values).quantiles()).unwrap();
        assert_eq!(json, r#"{"p50":1.5,"p90":1.5,"p99":null}"#);
    }

    #[test]
    fn the_median_is_the_middle_value() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
    }
}
