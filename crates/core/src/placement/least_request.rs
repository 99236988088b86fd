//! The fewest requests in flight from here; ties at random.

use super::Candidate;

pub(super) fn weigh(candidates: &mut [Candidate]) -> usize {
    for candidate in candidates.iter_mut() {
        candidate.cost = f64::from(candidate.in_flight);
    }
    candidates.len()
}
