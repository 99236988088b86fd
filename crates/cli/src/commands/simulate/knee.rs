//! Search for each placement's knee: the highest rate that it keeps up with.

use pointsman_report::sweep::{Knee, State};
use pointsman_report::{Rng, SeedResult, Sweep};

use super::cell::Cell;
use super::setup::Setup;

/// Ratio of the lowest unstable rate to the highest stable one at which the search ends.
const PRECISION: f64 = 1.02;

/// Bisects the interval that contains each placement's knee, all placements at once.
pub(super) struct Search<'a> {
    setup: &'a Setup,
    pub(super) knees: Vec<Knee>,
}

impl<'a> Search<'a> {
    /// Starts from the sweep's knees. A placement that kept up with every rate, or with none, is not searched.
    pub(super) fn new(setup: &'a Setup, results: &[SeedResult]) -> Self {
        let sweep =
            Sweep::new(setup.about.clone(), &setup.sorted(&setup.cells, results), &mut Rng::seeded(0));
        Self { setup, knees: sweep.knees }
    }

    /// The next runs; none when the search is complete.
    pub(super) fn cells(&self) -> Vec<Cell> {
        let setup = self.setup;
        let probes = self.knees.iter().filter_map(|knee| Some((setup.arm(&knee.policy)?, probe(knee)?)));
        probes
            .flat_map(|(arm, rate)| {
                setup.seeds().into_iter().map(move |seed| Cell::new(arm, rate, seed, setup.duration))
            })
            .collect()
    }

    /// Uses the results of those runs.
    pub(super) fn learn(&mut self, results: &[SeedResult]) {
        let runs = self.setup.sorted(&self.cells(), results);
        let sweep = Sweep::new(self.setup.about.clone(), &runs, &mut Rng::seeded(0));
        for knee in &mut self.knees {
            let row =
                sweep.rows.iter().find(|row| row.policy == knee.policy && Some(row.rate) == probe(knee));
            if let Some(row) = row {
                match row.state {
                    State::Stable => knee.stable = Some(row.rate),
                    State::Backlogged | State::Overloaded => knee.unstable = Some(row.rate),
                }
            }
        }
    }
}

/// The next rate to try: the midpoint, rounded to three digits.
fn probe(knee: &Knee) -> Option<f64> {
    let (low, high) = (knee.stable?, knee.unstable?);
    if high <= low * PRECISION {
        return None;
    }
    let middle = f64::midpoint(low, high);
    let scale = 10_f64.powf(2.0 - middle.log10().floor());
    let middle = (middle * scale).round() / scale;
    (low < middle && middle < high).then_some(middle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bisection_ends_near_the_knee() {
        #[track_caller]
        fn check(low: f64, high: f64, truth: f64) {
            let mut knee = Knee { policy: String::new(), stable: Some(low), unstable: Some(high) };
            let mut probes = 0;
            while let Some(rate) = probe(&knee) {
                probes += 1;
                if rate < truth { knee.stable = Some(rate) } else { knee.unstable = Some(rate) }
            }
            let (low, high) = (knee.stable.unwrap_or(0.0), knee.unstable.unwrap_or(0.0));
            assert!(low < truth && truth <= high && high <= low * PRECISION, "{low} to {high}");
            assert!(probes <= 16, "{probes}");
        }
        check(200.0, 300.0, 287.0);
        check(1.0, 1_000.0, 3.3);
        check(0.01, 0.02, 0.0137);
        for (stable, unstable) in [(None, Some(100.0)), (Some(100.0), None), (Some(100.0), Some(101.0))] {
            assert_eq!(probe(&Knee { policy: String::new(), stable, unstable }), None);
        }
    }
}
