//! SGLang's cache-aware router: the longest match while loads are balanced, else the lowest load.
//!
//! Source: sglang, `sgl-router/src/policies/cache_aware.rs` at `026f853b` and `tree.rs`, defaults of `RouterArgs`, as
//! deployed in 2025 (before pull request 14650 changed what happens on a miss):
//!
//! 1. Where `max − min > abs` and `max > rel·min` of the requests in flight, the endpoint with the fewest is taken.
//! 2. Else, where the longest match is more than the threshold's share of the prompt, an endpoint that has it.
//! 3. Else the endpoint with the smallest tree, to which the least new text was sent, whatever its load.
//!
//! Ties go to the first, since upstream too takes the same endpoint every time. Matches come from Pointsman's prefix
//! index, which is updated by dispatches as upstream's trees are, in blocks of tokens instead of characters. The index
//! evicts blocks that no longer fit the engine, earlier than upstream does.

use std::collections::BTreeMap;

use super::{Candidate, View, count};
use crate::ids::EndpointId;
use crate::policy::CacheAware;

/// Size in tokens at which upstream prunes a tree: `max_tree_size` of 2^26 characters, at four per token.
const LARGEST_TREE: u64 = 1 << 24;

pub(super) fn weigh(
    parameters: &CacheAware,
    view: &View<'_>,
    trees: &mut Trees,
    candidates: &mut [Candidate],
) -> usize {
    trees.keep(view);
    let longest = candidates.iter().map(|candidate| view.cached_tokens(candidate)).max().unwrap_or(0);
    let is_match = f64::from(longest) > parameters.cache_threshold * f64::from(view.facts.prompt_tokens);
    let out_of_balance = is_out_of_balance(parameters, candidates);
    for candidate in candidates.iter_mut() {
        candidate.cost = if out_of_balance {
            f64::from(candidate.in_flight)
        } else if is_match {
            f64::from(view.uncached_tokens(candidate))
        } else {
            count(trees.size(view.endpoint(candidate).id))
        };
    }
    candidates.len()
}

pub(super) fn is_out_of_balance(parameters: &CacheAware, candidates: &[Candidate]) -> bool {
    let loads = || candidates.iter().map(|candidate| candidate.in_flight);
    let (least, most) = (loads().min().unwrap_or(0), loads().max().unwrap_or(0));
    most - least > parameters.balance_abs_threshold
        && f64::from(most) > f64::from(least) * parameters.balance_rel_threshold
}

/// Uncached prompt tokens that were sent to each endpoint.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trees(BTreeMap<EndpointId, u64>);

impl Trees {
    pub(super) fn grow(&mut self, endpoint: EndpointId, tokens: u32) {
        let size = self.0.entry(endpoint).or_default();
        *size = (*size + u64::from(tokens)).min(LARGEST_TREE);
    }

    pub(super) fn size(&self, endpoint: EndpointId) -> u64 {
        self.0.get(&endpoint).copied().unwrap_or(0)
    }

    /// Removes endpoints that are gone.
    pub(super) fn keep(&mut self, view: &View<'_>) {
        if self.0.len() > view.endpoints.len() {
            let known =
                |id: &EndpointId| view.endpoints.binary_search_by_key(id, |endpoint| endpoint.id).is_ok();
            self.0.retain(|id, _| known(id));
        }
    }
}
