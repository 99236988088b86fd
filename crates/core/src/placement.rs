//! How an endpoint is chosen: one file per policy.
//!
//! The pool gathers the candidates (endpoints that may be chosen for the request), the policy puts those it weighs to
//! the front and gives each a cost, and the least cost wins. Nothing is allocated on the way.

mod affinity;
mod blend;
mod filter_tree;
mod least_cost;
mod least_request;
mod random;
mod round_robin;
mod scraped;
mod two_choices;

use std::cmp::Ordering;

use crate::endpoints::Endpoint;
use crate::ids::{EndpointId, ModelKey};
use crate::policy::Placement;
use crate::rates::Prices;
use crate::request::RequestFacts;
use crate::rng::Rng;

/// Costs this close to each other, relative to the least, are equal: rounding must not break a tie.
const EQUAL: f64 = 1e-9;

/// Costs in learned seconds are equal where they lie within what the learning can tell apart. A finer comparison would
/// send everything to one of several idle endpoints for an estimate's noise, and leave the others' estimates to age.
const EQUAL_SECONDS: f64 = 0.1;

/// What a policy sees.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) endpoints: &'a [Endpoint],
    pub(crate) prices: &'a Prices,
    pub(crate) facts: &'a RequestFacts,
    /// Prompt tokens held to be cached, for each of `endpoints`.
    pub(crate) cached: &'a [u32],
    /// The target, where it is an adapter.
    pub(crate) adapter: Option<ModelKey>,
}

impl View<'_> {
    fn endpoint(&self, candidate: &Candidate) -> &Endpoint {
        &self.endpoints[candidate.index]
    }

    /// Prompt tokens that the endpoint is held to have in its prefix cache; never more than the prompt.
    fn cached_tokens(&self, candidate: &Candidate) -> u32 {
        self.cached[candidate.index]
    }

    /// Prompt tokens that the endpoint would have to prefill: *u* of the default placement.
    fn uncached_tokens(&self, candidate: &Candidate) -> u32 {
        self.facts.prompt_tokens - self.cached_tokens(candidate)
    }
}

/// An endpoint that may be chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Candidate {
    /// Its place among the pool's endpoints.
    pub(crate) index: usize,
    /// What choosing it costs; the unit is the policy's own.
    pub(crate) cost: f64,
    /// Requests in flight there: ties go to the fewest.
    pub(crate) in_flight: u32,
}

/// The policy turns the request away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dropped;

/// Lets the policy weigh the candidates, which come in ascending order of endpoint and are at least one. Returns how
/// many, at the front, the choice is from; the others serve as fallbacks only. `turn` is the endpoint that the pool
/// chose last.
pub(crate) fn weigh(
    placement: Placement,
    view: &View<'_>,
    turn: Option<EndpointId>,
    rng: &mut Rng,
    candidates: &mut [Candidate],
) -> Result<usize, Dropped> {
    match placement {
        Placement::Pointsman => Ok(least_cost::weigh(view, candidates)),
        Placement::RoundRobin => Ok(round_robin::weigh(view, turn, candidates)),
        Placement::Random => Ok(random::weigh(rng, candidates)),
        Placement::LeastRequest => Ok(least_request::weigh(candidates)),
        Placement::TwoChoices => Ok(two_choices::weigh(rng, candidates)),
        Placement::FilterTree => filter_tree::weigh(view, rng, candidates),
        Placement::Blend(blend) => Ok(blend::weigh(&blend, view, rng, candidates)),
    }
}

/// Which of the weighed candidates are equally good, and which of those wins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ties {
    /// How far above the least a cost may lie, relative to it, and still be equal.
    tolerance: f64,
    /// Whether equals go to the fewest requests in flight before they go by lot.
    fewest_first: bool,
}

impl Ties {
    /// Of the last resort, whose costs are times.
    pub(crate) const LAST_RESORT: Self = Self { tolerance: EQUAL, fewest_first: true };

    /// As the policy's authors break them.
    pub(crate) const fn of(placement: &Placement) -> Self {
        match placement {
            Placement::Pointsman => Self { tolerance: EQUAL_SECONDS, fewest_first: true },
            Placement::RoundRobin
            | Placement::Random
            | Placement::LeastRequest
            | Placement::TwoChoices
            | Placement::FilterTree
            | Placement::Blend(_) => Self { tolerance: EQUAL, fewest_first: false },
        }
    }
}

/// The least cost, with ties broken.
pub(crate) fn least(candidates: &[Candidate], ties: Ties, rng: &mut Rng) -> Option<usize> {
    let least = candidates.iter().map(|candidate| candidate.cost).min_by(f64::total_cmp)?;
    let limit = least + ties.tolerance * least.abs();
    let (mut best, mut fewest, mut equals) = (None, u32::MAX, 0);
    for (position, candidate) in
        candidates.iter().enumerate().filter(|(_, candidate)| candidate.cost <= limit)
    {
        let in_flight = if ties.fewest_first { candidate.in_flight } else { 0 };
        match in_flight.cmp(&fewest) {
            Ordering::Greater => continue,
            Ordering::Less => equals = 1,
            Ordering::Equal => {
                // Each of k equals wins with 1/k: the k-th replaces the winner so far with that chance.
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

/// Moves the candidates that `keep` to the front and returns how many there are. Their order stays.
fn to_front(candidates: &mut [Candidate], mut keep: impl FnMut(&Candidate) -> bool) -> usize {
    let mut kept = 0;
    for position in 0..candidates.len() {
        if keep(&candidates[position]) {
            candidates.swap(kept, position);
            kept += 1;
        }
    }
    kept
}

#[expect(clippy::cast_precision_loss, reason = "token counts stay far below 2^52")]
const fn count(tokens: u64) -> f64 {
    tokens as f64
}

/// A number from 0 to below 1.
const fn share(rng: &mut Rng) -> f64 {
    random::lot(rng) / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXACT: Ties = Ties { tolerance: EQUAL, fewest_first: true };
    const SECONDS: Ties = Ties { tolerance: EQUAL_SECONDS, fewest_first: true };
    const BY_LOT: Ties = Ties { tolerance: EQUAL, fewest_first: false };

    /// Costs and requests in flight, and the positions that may win.
    #[track_caller]
    fn check(ties: Ties, candidates: &[(f64, u32)], winners: &[usize]) {
        let candidate = |(index, &(cost, in_flight))| Candidate { index, cost, in_flight };
        let candidates: Vec<Candidate> = candidates.iter().enumerate().map(candidate).collect();
        let mut rng = Rng::seeded(7);
        let mut seen: Vec<usize> = (0..200).filter_map(|_| least(&candidates, ties, &mut rng)).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, winners);
    }

    #[test]
    fn the_least_cost_wins_and_equal_costs_go_to_the_fewest_in_flight_then_by_lot() {
        check(EXACT, &[(2.0, 0), (1.0, 9), (3.0, 0)], &[1]);
        check(EXACT, &[(1.0, 3), (1.0, 2), (1.0, 2)], &[1, 2]);
        check(EXACT, &[], &[]);
    }

    #[test]
    fn other_rules_draw_among_equals_whatever_is_in_flight() {
        check(BY_LOT, &[(1.0, 3), (1.0, 2), (2.0, 0)], &[0, 1]);
        check(BY_LOT, &[(-7.0, 3), (-7.0, 2), (-6.9, 0)], &[0, 1]);
    }

    #[test]
    fn what_learning_cannot_tell_apart_is_equal() {
        check(SECONDS, &[(1.0, 0), (1.08, 0), (1.2, 0)], &[0, 1]);
        check(SECONDS, &[(1.0, 2), (1.08, 1), (1.2, 0)], &[1]);
    }
}
