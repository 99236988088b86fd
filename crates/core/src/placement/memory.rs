//! What policies keep from one decision to the next.

use super::bounded_load_hash::Ring;
use super::cache_aware::Trees;
use super::dynamo_cost::ActiveBlocks;
use super::no_hit_lru::ColdOrder;
use crate::ids::{EndpointId, RequestId};
use crate::policy::Placement;
use crate::request::RequestFacts;

/// The memory of one InferencePool's policy. What the present policy has no use for stays empty.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    /// The endpoint chosen last.
    pub(super) turn: Option<EndpointId>,
    pub(super) active: ActiveBlocks,
    pub(super) ring: Ring,
    pub(super) trees: Trees,
    pub(super) cold: ColdOrder,
    #[cfg(test)]
    pub(crate) failure: Option<super::Failure>,
}

impl Memory {
    /// The policy was set or changed: what another rule remembered is of no use to it.
    pub(crate) fn policy_changed(&mut self, from: &Placement, to: &Placement) {
        if std::mem::discriminant(from) != std::mem::discriminant(to) {
            let Self { active, ring, trees, cold, .. } = self;
            (*active, *ring, *trees, *cold) = Default::default();
        }
    }

    /// The policy's choice for a request with so many prompt tokens that are new there.
    pub(crate) fn chosen(&mut self, placement: &Placement, endpoint: EndpointId, uncached: u32) {
        self.turn = Some(endpoint);
        self.cold.sent(endpoint);
        let has_trees = matches!(placement, Placement::SglangCacheAware(_));
        #[cfg(test)]
        let has_trees = has_trees || self.failure == Some(super::Failure::SmallestTreeOnMiss);
        if has_trees {
            self.trees.grow(endpoint, uncached);
        }
    }

    /// A request is under way at an endpoint.
    pub(crate) fn begin(
        &mut self,
        placement: &Placement,
        request: RequestId,
        endpoint: EndpointId,
        facts: &RequestFacts,
    ) {
        if matches!(placement, Placement::DynamoCost(_)) {
            self.active.begin(request, endpoint, facts);
        }
    }

    /// A request ended, or left the endpoint it was at.
    pub(crate) fn end(&mut self, request: RequestId) {
        self.active.end(request);
    }

    /// The requests that count as under way, for the invariants.
    pub(crate) fn requests(&self) -> impl Iterator<Item = (RequestId, EndpointId)> {
        self.active.requests()
    }
}
