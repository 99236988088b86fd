//! Consistent hashing of the prompt's first blocks with bounded load: the first endpoint behind the hash on a ring whose
//! load with this request is at most `c` times the mean; the first one, where no load is.
//!
//! Source: KubeAI, `internal/loadbalancer/balance_chwbl.go` at `08e69e54`, after Mirrokni, Thorup and Zadimoghaddam,
//! "Consistent Hashing with Bounded Loads" (SODA 2018). Load is this router's requests in flight. The hash is that of the
//! prompt's first blocks, adapter included, where KubeAI hashes the adapter and the first 100 characters.

use std::collections::BTreeMap;

use super::{Candidate, View};
use crate::ids::EndpointId;
use crate::policy::BoundedLoad;
use crate::request::RequestFacts;
use pointsman_random::Rng;

/// The chosen endpoint costs 0; the others are fallbacks by load.
pub(super) fn weigh(
    parameters: &BoundedLoad,
    view: &View<'_>,
    ring: &mut Ring,
    candidates: &mut [Candidate],
) -> usize {
    ring.keep(view);
    let limit = limit(parameters, candidates);
    let fits = |candidate: &Candidate| f64::from(candidate.in_flight) + 1.0 <= limit;
    let any_fits = candidates.iter().any(fits);
    let on_ring = |endpoint: EndpointId| {
        candidates.binary_search_by_key(&endpoint, |candidate| view.endpoint(candidate).id).ok()
    };
    let chosen = ring
        .from(key(parameters, view.facts))
        .filter_map(on_ring)
        .find(|position| !any_fits || fits(&candidates[*position]));
    for (position, candidate) in candidates.iter_mut().enumerate() {
        let is_chosen = chosen == Some(position);
        candidate.cost = if is_chosen { 0.0 } else { 1.0 + f64::from(candidate.in_flight) };
    }
    candidates.len()
}

/// Most requests of an endpoint, this one included; unlimited while nothing is in flight.
fn limit(parameters: &BoundedLoad, candidates: &[Candidate]) -> f64 {
    let total: u64 = candidates.iter().map(|candidate| u64::from(candidate.in_flight)).sum();
    if total == 0 {
        return f64::MAX;
    }
    let endpoints = f64::from(u32::try_from(candidates.len()).unwrap_or(u32::MAX));
    (super::count(total) + 1.0) / endpoints * parameters.load_factor
}

/// The prompt's position on the ring, by the hash of its first blocks. Prompts without hashes have their target's position.
fn key(parameters: &BoundedLoad, facts: &RequestFacts) -> u64 {
    let blocks = parameters.prefix_tokens.div_ceil(facts.block_tokens.max(1)).max(1);
    let last = usize::try_from(blocks - 1).unwrap_or(usize::MAX).min(facts.blocks.len().saturating_sub(1));
    let prefix = facts.blocks.get(last).map(|block| block.0);
    mixed(prefix.or(facts.target.map(|target| target.0)).unwrap_or(0))
}

/// Points on a ring of 64-bit numbers: [`BoundedLoad::REPLICATION`] for each endpoint.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ring {
    points: BTreeMap<u64, EndpointId>,
    /// In ascending order.
    members: Vec<EndpointId>,
}

impl Ring {
    /// Adds new endpoints and removes those that are gone.
    fn keep(&mut self, view: &View<'_>) {
        let present = || view.endpoints.iter().map(|endpoint| endpoint.id);
        if present().eq(self.members.iter().copied()) {
            return;
        }
        let mut members: Vec<EndpointId> = present().collect();
        for gone in self.members.iter().filter(|member| members.binary_search(member).is_err()) {
            for point in points(*gone) {
                self.points.remove(&point);
            }
        }
        for new in members.iter().filter(|member| self.members.binary_search(member).is_err()) {
            self.points.extend(points(*new).map(|point| (point, *new)));
        }
        std::mem::swap(&mut self.members, &mut members);
    }

    /// The endpoints along the whole ring from a position on.
    fn from(&self, key: u64) -> impl Iterator<Item = EndpointId> {
        self.points.range(key..).chain(self.points.range(..key)).map(|(_, endpoint)| *endpoint)
    }
}

fn points(endpoint: EndpointId) -> impl Iterator<Item = u64> {
    let first = mixed(!u64::from(endpoint.0));
    (0..u64::from(BoundedLoad::REPLICATION)).map(move |replica| mixed(first.wrapping_add(replica)))
}

/// A hash of a number.
const fn mixed(number: u64) -> u64 {
    Rng::seeded(number).next_u64()
}
