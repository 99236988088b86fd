//! Uniformly at random.

use super::Candidate;
use crate::rng::Rng;

/// The cost is a lot drawn for each, so that the fallbacks are random too.
pub(super) fn weigh(rng: &mut Rng, candidates: &mut [Candidate]) -> usize {
    for candidate in candidates.iter_mut() {
        candidate.cost = lot(rng);
    }
    candidates.len()
}

/// A number from 0 to below 2^53: two are equal about never.
#[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
pub(super) const fn lot(rng: &mut Rng) -> f64 {
    (rng.next_u64() >> 11) as f64
}
