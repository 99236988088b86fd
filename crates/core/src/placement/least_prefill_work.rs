//! LPWL, the least prefill work left: `argmin P + u`, with nothing to tune.
//!
//! Source: the agentic-kvc repository (gitea.gahow.org), `scripts/` at `d9046322` (2026): pending prefill tokens
//! of the instance and the request's own uncached tokens there; ties go to the fewest requests, then in turn.

use super::round_robin::Turn;
use super::{Candidate, View, affinity};

pub(super) fn weigh(view: &View<'_>, turn: Turn, candidates: &mut [Candidate]) -> usize {
    // The tie goes to the first one: the endpoint after the last choice.
    let next = turn.next(view, candidates);
    candidates.rotate_left(next);
    for candidate in candidates.iter_mut() {
        candidate.cost = affinity::tokens_with(view, candidate);
    }
    candidates.len()
}
