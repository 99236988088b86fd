//! `no-hit-lru-scorer` of llm-d-router: a prompt that is cached nowhere goes to the endpoint that least recently received
//! such a prompt, so that caches fill evenly.
//!
//! Source: `pkg/epp/framework/plugins/scheduling/scorer/nohitlru/no_hit_lru.go` at `0b59e4ed`.

use super::{Candidate, View};
use crate::ids::EndpointId;

/// Most endpoints in the order: upstream's default of `lruSize`.
const MAX_ENDPOINTS: usize = 1_024;

/// The order in which endpoints last received a prompt that was cached nowhere.
#[derive(Clone, Debug, Default)]
pub(crate) struct ColdOrder {
    /// Least recent first.
    order: Vec<EndpointId>,
    /// Whether the prompt being placed is cached nowhere.
    cold: bool,
}

impl ColdOrder {
    /// Takes in a prompt that is about to be placed at one of the candidates.
    pub(super) fn consider(&mut self, view: &View<'_>, candidates: &[Candidate]) {
        self.cold = candidates.iter().all(|candidate| view.cached_tokens(candidate) == 0);
    }

    /// The prompt was sent to an endpoint.
    pub(super) fn sent(&mut self, endpoint: EndpointId) {
        if !std::mem::take(&mut self.cold) {
            return;
        }
        match self.order.iter().position(|known| *known == endpoint) {
            Some(position) => _ = self.order.remove(position),
            None if self.order.len() >= MAX_ENDPOINTS => _ = self.order.remove(0),
            None => {}
        }
        self.order.push(endpoint);
    }

    /// The score of the candidate at `position`, 0 to 1: endpoints that never received such a prompt come first, in their
    /// order, then the least recent; 0.5 for all where some of the prompt is cached anywhere.
    pub(super) fn score(&self, view: &View<'_>, candidates: &[Candidate], position: usize) -> f64 {
        if !self.cold {
            return 0.5;
        }
        if candidates.len() <= 1 {
            return 1.0;
        }
        let place = |candidate: &Candidate| {
            let id = view.endpoint(candidate).id;
            self.order.iter().position(|known| *known == id)
        };
        let new_among =
            |some: &[Candidate]| some.iter().filter(|candidate| place(candidate).is_none()).count();
        let rank = match place(&candidates[position]) {
            Some(place) => new_among(candidates) + place,
            None => new_among(&candidates[..position]),
        };
        let number = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        (1.0 - number(rank) / number(candidates.len() - 1)).max(0.0)
    }
}
