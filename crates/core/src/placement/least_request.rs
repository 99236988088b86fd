//! The fewest of this router's requests in flight; ties are broken at random.

use super::Candidate;

pub(super) fn weigh(candidates: &mut [Candidate]) -> usize {
    for candidate in candidates.iter_mut() {
        candidate.cost = f64::from(candidate.in_flight);
    }
    candidates.len()
}
