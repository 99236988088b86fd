//! The better of two distinct candidates drawn at random: the one with fewer requests in flight.
//!
//! Mitzenmacher, "The power of two choices in randomized load balancing", IEEE TPDS 12(10), 2001.

use super::{Candidate, least_request};
use pointsman_random::Rng;

pub(super) fn weigh(rng: &mut Rng, candidates: &mut [Candidate]) -> usize {
    least_request::weigh(candidates);
    let drawn = candidates.len().min(2);
    for position in 0..drawn {
        let other = position + rng.below(candidates.len() - position);
        candidates.swap(position, other);
    }
    drawn
}
