//! LPWL, the least prefill work left: `argmin P + u`, nothing to tune.
//!
//! Source: the agentic-kvc repository (gitea.gahow.org), `scripts/` at `d9046322` (2026): pending prefill tokens
//! of the instance and the request's own uncached tokens there; ties go to the fewest requests, then in turn.

use super::{Candidate, View, affinity};
use crate::ids::EndpointId;

pub(super) fn weigh(view: &View<'_>, turn: Option<EndpointId>, candidates: &mut [Candidate]) -> usize {
    // Ties that are left go to the first: the one after the one chosen last.
    let next =
        turn.map_or(0, |last| candidates.partition_point(|candidate| view.endpoint(candidate).id <= last));
    candidates.rotate_left(next);
    for candidate in candidates.iter_mut() {
        candidate.cost = affinity::tokens_with(view, candidate);
    }
    candidates.len()
}
