//! A placement rule with the state that it keeps from one decision to the next.

#[cfg(test)]
use super::Failure;
use super::bounded_load_hash::{self, Ring};
use super::cache_aware::{self, Trees};
use super::dynamo_cost::{self, ActiveBlocks};
use super::no_hit_lru::ColdOrder;
use super::round_robin::{self, Turn};
use super::{
    Candidate, Ties, View, blend, filter_tree, least_cost, least_prefill_work, least_request, lmetric,
    random, sticky, two_choices,
};
use crate::decision::CostTerm;
use crate::ids::{EndpointId, RequestId};
use crate::policy::{Affinity, Blend, BoundedLoad, CacheAware, DynamoCost, Placement};
use crate::rates::CurrentRates;
use crate::request::RequestFacts;
use pointsman_random::Rng;

/// One pool's rule: its parameters and its state.
#[derive(Clone, Debug, Default)]
pub(crate) enum Rule {
    #[default]
    LeastCost,
    RoundRobin(Turn),
    Random,
    LeastRequest,
    TwoChoices,
    FilterTree,
    Blend(Blend, ColdOrder),
    Sticky(Affinity),
    CacheAware(CacheAware, Trees),
    DynamoCost(DynamoCost, ActiveBlocks),
    LeastPrefillWork(Turn),
    Lmetric,
    BoundedLoadHash(BoundedLoad, Ring),
    /// The default rule with a failure of other routers in it.
    #[cfg(test)]
    Failing(Failure, Trees),
}

impl Rule {
    /// Whether the rule may compare a sample of a large fleet: it looks at nothing but the candidates.
    pub(crate) const fn can_sample(&self) -> bool {
        matches!(self, Self::LeastCost)
    }

    /// The rule in its initial state.
    pub(crate) fn of(placement: &Placement) -> Self {
        match *placement {
            Placement::Pointsman => Self::LeastCost,
            Placement::RoundRobin => Self::RoundRobin(Turn::default()),
            Placement::Random => Self::Random,
            Placement::LeastRequest => Self::LeastRequest,
            Placement::TwoChoices => Self::TwoChoices,
            Placement::FilterTree => Self::FilterTree,
            Placement::Blend(blend) => Self::Blend(blend, ColdOrder::default()),
            Placement::StickyUntilSaturated(affinity) => Self::Sticky(affinity),
            Placement::SglangCacheAware(parameters) => Self::CacheAware(parameters, Trees::default()),
            Placement::DynamoCost(parameters) => Self::DynamoCost(parameters, ActiveBlocks::default()),
            Placement::Lpwl => Self::LeastPrefillWork(Turn::default()),
            Placement::Lmetric => Self::Lmetric,
            Placement::BoundedLoadHash(parameters) => Self::BoundedLoadHash(parameters, Ring::default()),
        }
    }

    /// The default rule, with a failure in it or without.
    #[cfg(test)]
    pub(crate) fn with(failure: Option<Failure>) -> Self {
        failure.map_or(Self::LeastCost, |failure| Self::Failing(failure, Trees::default()))
    }

    /// Changes to another rule or to other parameters. New parameters leave the rule's state as it is.
    pub(crate) fn change(&mut self, placement: &Placement) {
        let mut new = Self::of(placement);
        match (&mut *self, &mut new) {
            (
                Self::RoundRobin(old) | Self::LeastPrefillWork(old),
                Self::RoundRobin(new) | Self::LeastPrefillWork(new),
            ) => *new = *old,
            (Self::Blend(_, old), Self::Blend(_, new)) => std::mem::swap(old, new),
            (Self::CacheAware(_, old), Self::CacheAware(_, new)) => std::mem::swap(old, new),
            (Self::DynamoCost(_, old), Self::DynamoCost(_, new)) => std::mem::swap(old, new),
            (Self::BoundedLoadHash(_, old), Self::BoundedLoadHash(_, new)) => std::mem::swap(old, new),
            _ => {}
        }
        *self = new;
    }

    /// Sets the costs of the candidates, which come in ascending order of endpoint and are at least one. Returns the
    /// number of candidates, at the front, that the choice is from; the others are fallbacks. `None` drops the request.
    pub(crate) fn weigh(
        &mut self,
        view: &View<'_>,
        rng: &mut Rng,
        candidates: &mut [Candidate],
    ) -> Option<usize> {
        Some(match self {
            Self::LeastCost => least_cost::weigh(view, candidates),
            Self::RoundRobin(turn) => round_robin::weigh(view, *turn, candidates),
            Self::Random => random::weigh(rng, candidates),
            Self::LeastRequest => least_request::weigh(candidates),
            Self::TwoChoices => two_choices::weigh(rng, candidates),
            Self::FilterTree => return filter_tree::weigh(view, rng, candidates),
            Self::Blend(blend, cold) => blend::weigh(blend, view, cold, rng, candidates),
            Self::Sticky(affinity) => sticky::weigh(affinity, view, rng, candidates),
            Self::CacheAware(parameters, trees) => cache_aware::weigh(parameters, view, trees, candidates),
            Self::DynamoCost(parameters, active) => dynamo_cost::weigh(parameters, view, active, candidates),
            Self::LeastPrefillWork(turn) => least_prefill_work::weigh(view, *turn, candidates),
            Self::Lmetric => lmetric::weigh(view, candidates),
            Self::BoundedLoadHash(parameters, ring) => {
                bounded_load_hash::weigh(parameters, view, ring, candidates)
            }
            #[cfg(test)]
            Self::Failing(failure, trees) => failure.weigh(view, trees, candidates),
        })
    }

    /// How the rule's authors break ties.
    pub(crate) fn ties(&self, rates: &CurrentRates) -> Ties {
        match self {
            Self::LeastCost => Ties::of_seconds(rates),
            Self::Lmetric => Ties::FEWEST,
            Self::LeastPrefillWork(_) => Ties::FEWEST_THEN_FIRST,
            Self::CacheAware(..) => Ties::FIRST,
            Self::RoundRobin(_)
            | Self::Random
            | Self::LeastRequest
            | Self::TwoChoices
            | Self::FilterTree
            | Self::Blend(..)
            | Self::Sticky(_)
            | Self::DynamoCost(..)
            | Self::BoundedLoadHash(..) => Ties::RANDOM,
            #[cfg(test)]
            Self::Failing(..) => Ties::of_seconds(rates),
        }
    }

    /// The terms of a candidate's cost among `candidates`, in any order; empty where the cost is no sum of delays.
    pub(crate) fn terms(
        &self,
        view: &View<'_>,
        candidates: &[Candidate],
        candidate: &Candidate,
    ) -> Vec<CostTerm> {
        if matches!(self, Self::LeastCost) {
            least_cost::terms(view, candidates, candidate)
        } else {
            Vec::new()
        }
    }

    /// The choice for a request that has `uncached` prompt tokens to prefill there.
    pub(crate) fn chosen(&mut self, endpoint: EndpointId, uncached: u32) {
        match self {
            Self::RoundRobin(turn) | Self::LeastPrefillWork(turn) => turn.took(endpoint),
            Self::Blend(_, cold) => cold.sent(endpoint),
            Self::CacheAware(_, trees) => trees.grow(endpoint, uncached),
            Self::LeastCost
            | Self::Random
            | Self::LeastRequest
            | Self::TwoChoices
            | Self::FilterTree
            | Self::Sticky(_)
            | Self::DynamoCost(..)
            | Self::Lmetric
            | Self::BoundedLoadHash(..) => {}
            #[cfg(test)]
            Self::Failing(_, trees) => trees.grow(endpoint, uncached),
        }
    }

    /// A request is in flight at an endpoint.
    pub(crate) fn begin(&mut self, request: RequestId, endpoint: EndpointId, facts: &RequestFacts) {
        if let Self::DynamoCost(_, active) = self {
            active.begin(request, endpoint, facts);
        }
    }

    /// A request ended, or left its endpoint.
    pub(crate) fn end(&mut self, request: RequestId) {
        if let Self::DynamoCost(_, active) = self {
            active.end(request);
        }
    }

    /// The requests that count as in flight with their endpoints, in no order: for the invariants.
    pub(crate) fn requests(&self) -> impl Iterator<Item = (RequestId, EndpointId)> {
        let active = if let Self::DynamoCost(_, active) = self { Some(active) } else { None };
        active.into_iter().flat_map(ActiveBlocks::requests)
    }
}
