//! Distributions of lengths and durations, and weighted choices.

use std::sync::Arc;

use super::draw::{Draw, Purpose, exp, ln};

/// A bounded distribution of positive numbers: tokens, turns or seconds.
#[derive(Clone, Debug, PartialEq)]
pub enum Distribution {
    /// A constant.
    Fixed(f64),
    /// Continuous uniform.
    Uniform {
        /// Lower end.
        low: f64,
        /// Upper end.
        high: f64,
    },
    /// Exponential, truncated at `max`.
    Exponential {
        /// Mean before truncation.
        mean: f64,
        /// Upper end.
        max: f64,
    },
    /// Log-normal, truncated at `max`.
    LogNormal {
        /// Mean before truncation.
        mean: f64,
        /// Standard deviation before truncation.
        deviation: f64,
        /// Upper end.
        max: f64,
    },
    /// Linear interpolation between quantiles `(share, value)`: shares rise from 0 to 1, values never fall.
    Quantiles(Arc<[(f64, f64)]>),
}

impl Distribution {
    /// The upper end as a whole number.
    #[must_use]
    pub fn most_tokens(&self) -> u32 {
        rounded_count(match self {
            Self::Fixed(value) => *value,
            Self::Uniform { high, .. } => *high,
            Self::Exponential { max, .. } | Self::LogNormal { max, .. } => *max,
            Self::Quantiles(points) => points.last().map_or(1.0, |last| last.1),
        })
    }

    /// Draws a value.
    #[must_use]
    pub fn draw(&self, draw: &mut Draw) -> f64 {
        match self {
            Self::Fixed(value) => *value,
            Self::Uniform { low, high } => low + (high - low) * draw.unit(),
            Self::Exponential { mean, max } => (draw.exponential() * mean).min(*max),
            Self::LogNormal { mean, deviation, max } => {
                let spread = deviation / mean;
                let variance = ln(1.0 + spread * spread);
                let logarithm = ln(*mean) - variance / 2.0 + variance.sqrt() * draw.normal();
                exp(logarithm).min(*max)
            }
            Self::Quantiles(points) => interpolate(points, draw.unit()),
        }
    }

    /// Draws a whole number, at least 1.
    #[must_use]
    pub fn tokens(&self, draw: &mut Draw) -> u32 {
        rounded_count(self.draw(draw))
    }

    /// Mean of its whole numbers, rounding and truncation included, estimated from a fixed sample.
    #[must_use]
    pub fn mean_tokens(&self) -> f64 {
        const SAMPLE: u64 = 20_000;
        let tokens = |number| f64::from(self.tokens(&mut Draw::of(0, Purpose::Content, number)));
        (0..SAMPLE).map(tokens).sum::<f64>() / SAMPLE as f64
    }
}

fn rounded_count(value: f64) -> u32 {
    (value + 0.5).clamp(1.0, f64::from(u32::MAX)) as u32
}

fn interpolate(points: &[(f64, f64)], share: f64) -> f64 {
    let mut below = points.first().copied().unwrap_or((0.0, 1.0));
    for &(right, value) in points {
        if share < right {
            return below.1 + (value - below.1) * (share - below.0) / (right - below.0);
        }
        below = (right, value);
    }
    below.1
}

/// A weighted choice among numbered items.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Cumulative shares.
    sums: Arc<[f64]>,
}

impl Choice {
    /// A choice among `weights.len()` items in proportion to finite weights of at least 0. Where all weights are 0,
    /// every draw gives the first item.
    #[must_use]
    pub fn weighted(weights: &[f64]) -> Self {
        let total: f64 = weights.iter().sum();
        let mut sum = 0.0;
        let sums = weights.iter().map(|weight| {
            sum += weight;
            if total > 0.0 { sum / total } else { 1.0 }
        });
        Self { sums: sums.collect() }
    }

    /// A Zipf choice among `count` items: the i-th has weight `i^-exponent`; exponent 0 is uniform.
    #[must_use]
    pub fn zipf(count: u32, exponent: f64) -> Self {
        let weights = (1..=count.max(1)).map(|rank| exp(-exponent * ln(f64::from(rank))));
        Self::weighted(&weights.collect::<Vec<_>>())
    }

    /// Number of items.
    #[must_use]
    pub fn count(&self) -> usize {
        self.sums.len()
    }

    /// Share of the item at this index, 0 to 1.
    #[must_use]
    pub fn share(&self, place: usize) -> f64 {
        let before = place.checked_sub(1).and_then(|before| self.sums.get(before)).copied().unwrap_or(0.0);
        self.sums.get(place).map_or(0.0, |sum| sum - before)
    }

    /// Draws the index of an item.
    #[must_use]
    pub fn draw(&self, draw: &mut Draw) -> u32 {
        let unit = draw.unit();
        let place = self.sums.partition_point(|sum| *sum <= unit).min(self.sums.len().saturating_sub(1));
        u32::try_from(place).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_have_the_mean_and_stay_within_the_upper_end() {
        #[track_caller]
        fn check(distribution: &Distribution, mean: f64) {
            let found = distribution.mean_tokens();
            assert!((found / mean - 1.0).abs() < 0.03, "{found}");
            let most = distribution.most_tokens();
            let draws = (0..5_000).map(|n| distribution.tokens(&mut Draw::of(5, Purpose::Lengths, n)));
            assert!(draws.into_iter().all(|tokens| (1..=most).contains(&tokens)));
        }
        check(&Distribution::Fixed(7.0), 7.0);
        check(&Distribution::Uniform { low: 10.0, high: 30.0 }, 20.0);
        check(&Distribution::Exponential { mean: 300.0, max: 3_000.0 }, 300.0);
        check(&Distribution::LogNormal { mean: 4_000.0, deviation: 2_500.0, max: 50_000.0 }, 4_000.0);
        let quantiles = [(0.0, 10.0), (0.5, 20.0), (1.0, 40.0)];
        check(&Distribution::Quantiles(Arc::new(quantiles)), 22.5);
    }

    #[test]
    fn choices_follow_their_weights() {
        #[track_caller]
        fn check(choice: &Choice, expected: &[f64]) {
            let mut counts = vec![0.0; choice.count()];
            for number in 0..50_000 {
                counts[choice.draw(&mut Draw::of(7, Purpose::Class, number)) as usize] += 1.0 / 50_000.0;
            }
            for (found, expected) in counts.iter().zip(expected) {
                assert!((found - expected).abs() < 0.01, "{counts:?}");
            }
        }
        check(&Choice::weighted(&[3.0, 0.0, 1.0]), &[0.75, 0.0, 0.25]);
        check(&Choice::zipf(4, 0.0), &[0.25; 4]);
        check(&Choice::zipf(3, 1.0), &[6.0 / 11.0, 3.0 / 11.0, 2.0 / 11.0]);
        check(&Choice::weighted(&[0.0]), &[1.0]);
    }
}
