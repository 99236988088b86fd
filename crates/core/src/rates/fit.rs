//! Recursive least squares with forgetting.

use std::array;

use crate::time::{Time, seconds};

/// Weight of the prior, in measurements.
const PRIOR: f64 = 5.0;
/// Strength of the ridge towards the prior proportions of the coefficients, as a share of the measurements' weight.
/// Requests and context rise together, so that measurements alone often cannot separate their coefficients.
const RIDGE: f64 = 0.02;
/// Age in seconds at which a measurement counts half.
const MEMORY: f64 = 60.0;
/// Largest factor between a coefficient and its prior proportion to the others.
const SPREAD: f64 = 10.0;
/// Shortest time between two solutions, in seconds.
const SOLVE_EVERY: f64 = 0.1;

/// Least squares over `N` terms with forgetting and a ridge: `y = Σ coefficient·term`. Errors count relative to the
/// expected value, so that long and short steps weigh the same. Only + − × ÷ are used: the result is the same on every
/// build.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fit<const N: usize> {
    /// Prior coefficients: the units of everything below.
    prior: [f64; N],
    /// The present coefficients as multiples of the prior ones.
    scale: [f64; N],
    xx: [[f64; N]; N],
    xy: [f64; N],
    updated: Time,
    solved: Time,
}

impl<const N: usize> Fit<N> {
    pub(crate) const fn new(prior: [f64; N]) -> Self {
        Self {
            prior,
            scale: [1.0; N],
            xx: [[0.0; N]; N],
            xy: [0.0; N],
            updated: Time::ZERO,
            solved: Time::ZERO,
        }
    }

    pub(crate) fn coefficients(&self) -> [f64; N] {
        array::from_fn(|k| self.prior[k] * self.scale[k])
    }

    pub(crate) fn predict(&self, terms: [f64; N]) -> f64 {
        terms.iter().zip(self.coefficients()).map(|(term, coefficient)| term * coefficient).sum()
    }

    /// Takes in a measurement. Values that are not finite and positive are ignored.
    pub(crate) fn observe(&mut self, now: Time, terms: [f64; N], measured: f64) {
        let expected = self.predict(terms);
        if !(expected.is_finite() && expected > 0.0 && measured.is_finite() && measured > 0.0) {
            return;
        }
        let kept = 1.0 / (1.0 + seconds(now.since(self.updated)) / MEMORY);
        self.updated = self.updated.max(now);
        // One outlier counts as at most three times the expected value.
        let y = (measured / expected).clamp(1.0 / 3.0, 3.0);
        let x: [f64; N] = array::from_fn(|k| terms[k] * self.prior[k] / expected);
        for i in 0..N {
            for (j, xj) in x.iter().enumerate() {
                self.xx[i][j] = self.xx[i][j] * kept + x[i] * xj;
            }
            self.xy[i] = self.xy[i] * kept + x[i] * y;
        }
        if seconds(now.since(self.solved)) >= SOLVE_EVERY {
            self.solved = now;
            self.solve();
        }
    }

    /// Solves for the best common multiple of the prior, then for the coefficients with a ridge around it.
    fn solve(&mut self) {
        let all: f64 = self.xx.iter().flatten().sum();
        let common = (self.xy.iter().sum::<f64>() + PRIOR) / (all + PRIOR);
        let mut a = self.xx;
        let mut b = self.xy;
        for k in 0..N {
            let ridge = RIDGE * (a[k][k] + PRIOR);
            a[k][k] += ridge;
            b[k] += ridge * common;
        }
        let solution = eliminate(a, b);
        if solution.iter().all(|scale| scale.is_finite()) && common > 0.0 {
            self.scale = solution.map(|scale| scale.clamp(common / SPREAD, common * SPREAD));
        }
    }
}

/// Solves `a·x = b` by Gaussian elimination; `a` is symmetric and positive definite, so no pivoting is needed.
fn eliminate<const N: usize>(mut a: [[f64; N]; N], mut b: [f64; N]) -> [f64; N] {
    for k in 0..N {
        let pivot = a[k];
        for i in k + 1..N {
            let factor = a[i][k] / pivot[k];
            for (entry, above) in a[i].iter_mut().zip(pivot) {
                *entry -= factor * above;
            }
            b[i] -= factor * b[k];
        }
    }
    for k in (0..N).rev() {
        let known: f64 = (k + 1..N).map(|j| a[k][j] * b[j]).sum();
        b[k] = (b[k] - known) / a[k][k];
    }
    b
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use pointsman_random::Rng;

    fn close(actual: f64, expected: f64, tolerance: f64) -> bool {
        (actual / expected - 1.0).abs() <= tolerance
    }

    #[test]
    fn elimination_solves_a_system() {
        let x = eliminate([[4.0, 1.0, 0.0], [1.0, 3.0, 1.0], [0.0, 1.0, 2.0]], [6.0, 10.0, 8.0]);
        for (value, expected) in x.iter().zip([1.0, 2.0, 3.0]) {
            assert!(close(*value, expected, 1e-12), "{x:?}");
        }
    }

    #[test]
    fn a_line_is_found_from_noisy_measurements_far_from_the_prior() {
        let truth = [0.020, 0.000_2, 0.000_000_4];
        let mut fit = Fit::new([0.007, 0.000_03, 0.000_000_1]);
        let mut rng = Rng::seeded(1);
        for step in 0..4_000_u64 {
            let n = (1 + rng.below(60)) as f64;
            let context = n * (200 + rng.below(800)) as f64;
            let noise = 0.8 + rng.below(400) as f64 / 1000.0;
            let measured = (truth[0] + truth[1] * n + truth[2] * context) * noise;
            fit.observe(Time::ZERO + Duration::from_millis(10 * step), [1.0, n, context], measured);
        }
        for (n, context) in [(1.0, 500.0), (20.0, 10_000.0), (60.0, 40_000.0)] {
            let expected = truth[0] + truth[1] * n + truth[2] * context;
            assert!(close(fit.predict([1.0, n, context]), expected, 0.05), "{n} {context} {fit:?}");
        }
    }

    #[test]
    fn measurements_at_one_point_keep_the_proportions_of_the_prior() {
        let mut fit = Fit::new([0.01, 0.000_1]);
        for step in 0..500_u64 {
            fit.observe(Time::ZERO + Duration::from_millis(100 * step), [1.0, 100.0], 0.04);
        }
        assert!(close(fit.predict([1.0, 100.0]), 0.04, 0.02), "{fit:?}");
        assert!(close(fit.predict([1.0, 200.0]), 0.06, 0.05), "{fit:?}");
    }

    #[test]
    fn invalid_values_change_nothing() {
        let mut fit = Fit::new([0.01, 0.000_1]);
        for measured in [f64::NAN, f64::INFINITY, 0.0, -1.0] {
            fit.observe(Time::ZERO + Duration::from_secs(9), [1.0, 1.0], measured);
        }
        fit.observe(Time::ZERO + Duration::from_secs(9), [f64::NAN, 1.0], 1.0);
        assert_eq!(fit.coefficients(), [0.01, 0.000_1]);
    }
}
