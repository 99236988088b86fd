//! How an endpoint is chosen: one file per policy.
//!
//! The pool gathers the candidates (endpoints that may be chosen for the request), the policy puts those it weighs to
//! the front and gives each a cost, and the least cost wins. Nothing is allocated on the way.

mod filter_tree;
mod least_cost;
mod least_request;
mod random;
mod round_robin;
mod two_choices;

use std::cmp::Ordering;

use crate::endpoints::Endpoint;
use crate::ids::{EndpointId, ModelKey};
use crate::policy::Placement;
use crate::rates::Prices;
use crate::request::RequestFacts;
use crate::rng::Rng;

/// Costs this close to each other, relative to their size, are equal: rounding must not break a tie.
const EQUAL: f64 = 1e-9;

/// What a policy sees.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) endpoints: &'a [Endpoint],
    pub(crate) prices: &'a Prices,
    pub(crate) facts: &'a RequestFacts,
    /// The target, where it is an adapter.
    pub(crate) adapter: Option<ModelKey>,
}

impl View<'_> {
    fn endpoint(&self, candidate: &Candidate) -> &Endpoint {
        &self.endpoints[candidate.index]
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
    }
}

/// The least cost; ties go to the fewest requests in flight, then by lot.
pub(crate) fn least(candidates: &[Candidate], rng: &mut Rng) -> Option<usize> {
    let (mut best, mut rest) = (0, candidates.iter().enumerate());
    let (_, mut least) = rest.next()?;
    let mut equals = 1;
    for (position, candidate) in rest {
        match compare(candidate, least) {
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
        (best, least) = (position, candidate);
    }
    Some(best)
}

fn compare(a: &Candidate, b: &Candidate) -> Ordering {
    if (a.cost - b.cost).abs() <= EQUAL * a.cost.abs().max(b.cost.abs()) {
        a.in_flight.cmp(&b.in_flight)
    } else {
        a.cost.total_cmp(&b.cost)
    }
}

/// Prompt tokens an endpoint would have to prefill for a request: *u* of the default placement.
pub(crate) fn uncached_tokens(endpoint: &Endpoint, facts: &RequestFacts) -> u32 {
    facts.prompt_tokens.saturating_sub(cached_tokens(endpoint, facts))
}

/// Prompt tokens an endpoint holds in its prefix cache: the one place where the prefix index will be asked. While the
/// core has none, nothing is known to be cached anywhere.
const fn cached_tokens(_endpoint: &Endpoint, _facts: &RequestFacts) -> u32 {
    0
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
