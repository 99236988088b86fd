//! Uniformly at random.

use super::Candidate;
use crate::rng::Rng;

/// The cost is drawn for each candidate, so that the fallbacks are random too.
pub(super) fn weigh(rng: &mut Rng, candidates: &mut [Candidate]) -> usize {
    for candidate in candidates.iter_mut() {
        candidate.cost = random_cost(rng);
    }
    candidates.len()
}

/// A uniform random integer below 2^53 as a cost: ties practically never occur.
#[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
pub(super) const fn random_cost(rng: &mut Rng) -> f64 {
    (rng.next_u64() >> 11) as f64
}
