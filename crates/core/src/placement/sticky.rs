//! llm-d's "sticky until saturated": a request stays with the endpoints that have its prompt cached until their prefill
//! queues exceed the others' by more than a threshold; among the rest, the fewest uncached tokens in flight win.
//!
//! Source: llm-d blog of 17 August 2026, "Sticky Until Saturated: token-aware routing", and the composition that
//! llm-d-router's `filter/prefixcacheaffinity/README.md` recommends for it: that filter, `token-load-scorer` and
//! `max-score-picker`. In symbols: keep those with a hit of at least 0.80, unless the least *P* among them exceeds the
//! least *P* of the others by more than `τ = R·T`; then `argmin P + L·(1 − hit)`, ties at random.

use super::{Candidate, View, affinity};
use crate::policy::{Affinity, Blend};
use pointsman_random::Rng;

pub(super) fn weigh(
    affinity: &Affinity,
    view: &View<'_>,
    rng: &mut Rng,
    candidates: &mut [Candidate],
) -> usize {
    let kept = affinity::narrow(affinity, view, rng, candidates);
    let most = super::count(Blend::EMPTY.token_load_threshold);
    for candidate in &mut candidates[..kept] {
        // The scorer saturates at its threshold.
        candidate.cost = affinity::tokens_with(view, candidate).min(most);
    }
    kept
}
