//! Which candidates count as equally good, and which of those wins.

use std::cmp::Ordering;

use super::Candidate;
use crate::rates::CurrentRates;
use pointsman_random::Rng;

/// Relative difference up to which costs are equal: rounding must not break a tie.
const EQUAL: f64 = 1e-9;

/// The same for costs in learned seconds. It is small: at high load two percent of the cost are several requests.
const EQUAL_SECONDS: f64 = 0.02;

/// Costs in learned seconds are also equal within this share of what the request costs on an idle endpoint. The learned
/// rates are no more accurate; a finer comparison would send everything to one of several idle endpoints, and the
/// estimates of the others would grow old.
const EQUAL_IDLE: f64 = 0.1;

/// How ties are broken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ties {
    /// Difference to the least cost, relative to it, up to which a cost is equal.
    tolerance: f64,
    /// The same as an absolute difference, in the unit of the cost.
    slack: f64,
    /// Whether the fewest requests in flight win before anything else.
    fewest: bool,
    /// The winner among those that are left.
    then: Then,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    /// One at random.
    Random,
    /// The first in the rule's order.
    First,
}

impl Ties {
    pub(super) const RANDOM: Self = Self { tolerance: EQUAL, slack: 0.0, fewest: false, then: Then::Random };
    pub(super) const FIRST: Self = Self { then: Then::First, ..Self::RANDOM };
    pub(crate) const FEWEST: Self = Self { fewest: true, ..Self::RANDOM };
    pub(super) const FEWEST_THEN_FIRST: Self = Self { then: Then::First, ..Self::FEWEST };

    /// For costs in learned seconds.
    pub(super) fn of_seconds(rates: &CurrentRates) -> Self {
        let idle = rates.output * rates.empty_step_of_fleet();
        Self { tolerance: EQUAL_SECONDS, slack: EQUAL_IDLE * idle, ..Self::FEWEST }
    }
}

/// The position of the candidate with the least cost.
pub(crate) fn least(candidates: &[Candidate], ties: Ties, rng: &mut Rng) -> Option<usize> {
    let least = candidates.iter().map(|candidate| candidate.cost).min_by(f64::total_cmp)?;
    let limit = least + ties.tolerance * least.abs() + ties.slack;
    let (mut best, mut fewest, mut equals) = (None, u32::MAX, 0);
    for (position, candidate) in
        candidates.iter().enumerate().filter(|(_, candidate)| candidate.cost <= limit)
    {
        let in_flight = if ties.fewest { candidate.in_flight } else { 0 };
        match in_flight.cmp(&fewest) {
            Ordering::Greater => continue,
            Ordering::Less => equals = 1,
            Ordering::Equal if ties.then == Then::First => continue,
            Ordering::Equal => {
                // Reservoir sampling: the k-th of k equals replaces the winner so far with probability 1/k.
                equals += 1;
                if rng.below(equals) != 0 {
                    continue;
                }
            }
        }
        (best, fewest) = (Some(position), in_flight);
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECONDS: Ties = Ties { tolerance: EQUAL_SECONDS, slack: 0.1, ..Ties::FEWEST };

    /// Costs and requests in flight, and the positions that may win.
    #[track_caller]
    fn check(ties: Ties, candidates: &[(f64, u32)], winners: &[usize]) {
        let candidate = |(index, &(cost, in_flight))| Candidate { index, cost, in_flight };
        let candidates: Vec<Candidate> = candidates.iter().enumerate().map(candidate).collect();
        let mut rng = Rng::seeded(7);
        let mut found: Vec<usize> = (0..200).filter_map(|_| least(&candidates, ties, &mut rng)).collect();
        found.sort_unstable();
        found.dedup();
        assert_eq!(found, winners);
    }

    #[test]
    fn the_least_cost_wins_and_ties_go_to_the_fewest_in_flight_then_at_random() {
        check(Ties::FEWEST, &[(2.0, 0), (1.0, 9), (3.0, 0)], &[1]);
        check(Ties::FEWEST, &[(1.0, 3), (1.0, 2), (1.0, 2)], &[1, 2]);
        check(Ties::FEWEST, &[], &[]);
    }

    #[test]
    fn other_rules_break_ties_differently() {
        check(Ties::RANDOM, &[(1.0, 3), (1.0, 2), (2.0, 0)], &[0, 1]);
        check(Ties::RANDOM, &[(-7.0, 3), (-7.0, 2), (-6.9, 0)], &[0, 1]);
        check(Ties::FIRST, &[(2.0, 0), (1.0, 3), (1.0, 2)], &[1]);
        check(Ties::FEWEST_THEN_FIRST, &[(1.0, 3), (1.0, 2), (1.0, 2)], &[1]);
    }

    #[test]
    fn costs_within_the_accuracy_of_learned_rates_are_equal() {
        check(SECONDS, &[(1.0, 0), (1.08, 0), (1.2, 0)], &[0, 1]);
        check(SECONDS, &[(1.0, 2), (1.08, 1), (1.2, 0)], &[1]);
        check(SECONDS, &[(100.0, 2), (101.9, 1), (108.0, 0)], &[1]);
    }
}
