//! The placement rules, one file each.
//!
//! The scheduler gathers the candidates (endpoints that may serve the request), the rule moves those that it compares to
//! the front and sets their costs, and the least cost wins. Nothing is allocated on the way.

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
mod no_hit_lru;
mod random;
mod round_robin;
mod rule;
mod scraped;
mod sticky;
#[cfg(test)]
mod tests;
mod ties;
mod two_choices;

#[cfg(test)]
pub(crate) use failures::Failure;
pub(crate) use rule::Rule;
pub(crate) use ties::{Ties, least};

use crate::cast::count;
use crate::endpoints::Endpoint;
use crate::ids::ModelKey;
use crate::prefix::PrefixMatch;
use crate::rates::CurrentRates;
use crate::request::RequestFacts;

/// The inputs of a rule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) endpoints: &'a [Endpoint],
    pub(crate) rates: &'a CurrentRates,
    pub(crate) facts: &'a RequestFacts,
    /// The prompt in the prefix caches of `endpoints`.
    pub(crate) matched: &'a PrefixMatch,
    /// Share of the endpoints that prefill, in the mean over recent arrivals: *b* of the default rule.
    pub(crate) prefill_busy: f64,
    /// The target model, where it is an adapter.
    pub(crate) adapter: Option<ModelKey>,
}

impl View<'_> {
    fn endpoint(&self, candidate: &Candidate) -> &Endpoint {
        &self.endpoints[candidate.index]
    }

    /// Prompt tokens expected in the endpoint's prefix cache; never more than the prompt.
    fn cached_tokens(&self, candidate: &Candidate) -> u32 {
        self.matched.cached[candidate.index]
    }

    /// Prompt tokens that the endpoint would have to prefill: *u* of the default rule.
    fn uncached_tokens(&self, candidate: &Candidate) -> u32 {
        self.facts.prompt_tokens - self.cached_tokens(candidate)
    }
}

/// An endpoint that may serve the request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Candidate {
    /// Its index in [`View::endpoints`].
    pub(crate) index: usize,
    /// The cost of choosing it, in a unit of the rule's own.
    pub(crate) cost: f64,
    pub(crate) in_flight: u32,
}

/// Moves the candidates for which `keep` holds to the front, in their order, and returns their number.
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
