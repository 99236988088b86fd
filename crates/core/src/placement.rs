//! How an endpoint is chosen: one file per policy.
//!
//! The pool gathers the candidates (endpoints that may be chosen for the request), the policy puts those it weighs to
//! the front and gives each a cost, and the least cost wins. Nothing is allocated on the way.

mod affinity;
mod blend;
mod bounded_load_hash;
mod cache_aware;
mod dynamo_cost;
#[cfg(test)]
mod failures;
mod filter_tree;
mod least_cost;
mod least_prefill_work;
mod least_request;
mod lmetric;
mod memory;
mod no_hit_lru;
mod random;
mod round_robin;
mod scraped;
mod sticky;
#[cfg(test)]
mod tests;
mod two_choices;

use std::cmp::Ordering;

#[cfg(test)]
pub(crate) use failures::Failure;
pub(crate) use memory::Memory;

use crate::cast::count;
use crate::decision::CostTerm;
use crate::endpoints::Endpoint;
use crate::ids::ModelKey;
use crate::policy::Placement;
use crate::prefix::Reuse;
use crate::rates::Prices;
use crate::request::RequestFacts;
use crate::rng::Rng;

/// Costs this close to each other, relative to the least, are equal: rounding must not break a tie.
const EQUAL: f64 = 1e-9;

/// Costs in learned seconds are equal where they are this close, relative to the least. It is little, because it adds up:
/// at a high load, two percent of the cost are several requests.
const EQUAL_SECONDS: f64 = 0.02;

/// They are equal, too, where they lie within this share of what the request costs on an idle endpoint: that much the
/// learning cannot tell apart, and a finer comparison would send everything to one of several idle endpoints, and
/// leave the others' estimates to age.
const EQUAL_IDLE: f64 = 0.1;

/// What a policy sees.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) endpoints: &'a [Endpoint],
    pub(crate) prices: &'a Prices,
    pub(crate) facts: &'a RequestFacts,
    /// Prompt tokens held to be cached, for each of `endpoints`.
    pub(crate) cached: &'a [u32],
    /// What is known of the use of caches.
    pub(crate) reuse: Reuse,
    /// The share of endpoints that prefill, in the mean over recent arrivals: how much of them prompts keep busy.
    pub(crate) prefill_busy: f64,
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
/// many, at the front, the choice is from; the others serve as fallbacks only.
pub(crate) fn weigh(
    placement: &Placement,
    view: &View<'_>,
    memory: &mut Memory,
    rng: &mut Rng,
    candidates: &mut [Candidate],
) -> Result<usize, Dropped> {
    #[cfg(test)]
    if let Some(failure) = memory.failure {
        return Ok(failure.weigh(view, memory, candidates));
    }
    match placement {
        Placement::Pointsman => Ok(least_cost::weigh(view, candidates)),
        Placement::RoundRobin => Ok(round_robin::weigh(view, memory.turn, candidates)),
        Placement::Random => Ok(random::weigh(rng, candidates)),
        Placement::LeastRequest => Ok(least_request::weigh(candidates)),
        Placement::TwoChoices => Ok(two_choices::weigh(rng, candidates)),
        Placement::FilterTree => filter_tree::weigh(view, rng, candidates),
        Placement::Blend(blend) => Ok(blend::weigh(blend, view, &mut memory.cold, rng, candidates)),
        Placement::StickyUntilSaturated(affinity) => Ok(sticky::weigh(affinity, view, rng, candidates)),
        Placement::SglangCacheAware(cache) => {
            Ok(cache_aware::weigh(cache, view, &mut memory.trees, candidates))
        }
        Placement::DynamoCost(cost) => Ok(dynamo_cost::weigh(cost, view, &memory.active, candidates)),
        Placement::Lpwl => Ok(least_prefill_work::weigh(view, memory.turn, candidates)),
        Placement::Lmetric => Ok(lmetric::weigh(view, candidates)),
        Placement::BoundedLoadHash(load) => {
            Ok(bounded_load_hash::weigh(load, view, &mut memory.ring, candidates))
        }
    }
}

/// The terms of a candidate's cost among `candidates`, in any order; empty where the rule's cost is no sum of delays.
pub(crate) fn terms(
    placement: &Placement,
    view: &View<'_>,
    candidates: &[Candidate],
    candidate: &Candidate,
) -> Vec<CostTerm> {
    match placement {
        Placement::Pointsman => least_cost::terms(view, candidates, candidate),
        Placement::RoundRobin
        | Placement::Random
        | Placement::LeastRequest
        | Placement::TwoChoices
        | Placement::FilterTree
        | Placement::Blend(_)
        | Placement::StickyUntilSaturated(_)
        | Placement::SglangCacheAware(_)
        | Placement::DynamoCost(_)
        | Placement::Lpwl
        | Placement::Lmetric
        | Placement::BoundedLoadHash(_) => Vec::new(),
    }
}

/// Which of the weighed candidates are equally good, and which of those wins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ties {
    /// How far above the least a cost may lie, relative to it, and still be equal.
    tolerance: f64,
    /// The same, in the cost's own unit.
    slack: f64,
    /// Whether equals go to the fewest requests in flight before anything else.
    fewest: bool,
    /// Who wins of those that are left.
    then: Then,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    /// One drawn by lot.
    Lot,
    /// The first, as the policy put them.
    First,
}

impl Ties {
    /// Of the last resort, whose costs are times.
    pub(crate) const LAST_RESORT: Self = Self::FEWEST;

    const LOT: Self = Self { tolerance: EQUAL, slack: 0.0, fewest: false, then: Then::Lot };
    const FIRST: Self = Self { tolerance: EQUAL, slack: 0.0, fewest: false, then: Then::First };
    const FEWEST: Self = Self { tolerance: EQUAL, slack: 0.0, fewest: true, then: Then::Lot };

    /// As the policy's authors break them.
    pub(crate) fn of(placement: &Placement, prices: &Prices) -> Self {
        match placement {
            Placement::Pointsman => {
                let idle = prices.output * prices.empty_step_of_fleet();
                Self { tolerance: EQUAL_SECONDS, slack: EQUAL_IDLE * idle, ..Self::FEWEST }
            }
            Placement::Lmetric => Self::FEWEST,
            Placement::Lpwl => Self { then: Then::First, ..Self::FEWEST },
            Placement::SglangCacheAware(_) => Self::FIRST,
            Placement::RoundRobin
            | Placement::Random
            | Placement::LeastRequest
            | Placement::TwoChoices
            | Placement::FilterTree
            | Placement::Blend(_)
            | Placement::StickyUntilSaturated(_)
            | Placement::DynamoCost(_)
            | Placement::BoundedLoadHash(_) => Self::LOT,
        }
    }
}

/// The least cost, with ties broken.
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

/// A number from 0 to below 1.
const fn share(rng: &mut Rng) -> f64 {
    random::lot(rng) / (1_u64 << 53) as f64
}
