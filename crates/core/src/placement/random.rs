//! Uniformly at random.

use super::Candidate;
use pointsman_random::Rng;

/// The cost is drawn for each candidate, so that the fallbacks are random too.
pub(super) fn weigh(rng: &mut Rng, candidates: &mut [Candidate]) -> usize {
    for candidate in candidates.iter_mut() {
        candidate.cost = rng.unit();
    }
    candidates.len()
}
