//! The seeded random generator that placement, workloads and resampling share. Its state is data, so that a recorded
//! run can be repeated.
//!
//! What this crate must not know: the operating system's randomness, clocks, and what the numbers are used for.

use serde::{Deserialize, Serialize};

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): one addition and a mix per number, passes BigCrush, and its whole
/// state is one integer in the event log. Not for secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rng(u64);

impl Rng {
    /// A generator that starts at `seed`.
    #[must_use]
    pub const fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// The generator of one stream of many under a seed. Streams do not overlap in practice, so a draw more from one
    /// leaves the others as they were.
    #[must_use]
    pub const fn stream(seed: u64, stream: u64) -> Self {
        Self(mix(seed, stream))
    }

    /// The next 64 bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A uniform number in `[0, 1)`.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
    pub const fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A uniform number in `0..bound`, or 0 where `bound` is 0; by multiplication (Lemire 2019) without rejection,
    /// whose bias below 2^32 candidates is under 2^-32.
    #[expect(clippy::cast_possible_truncation, reason = "the product shifted by 64 is below `bound`")]
    pub const fn below(&mut self, bound: usize) -> usize {
        ((self.next_u64() as u128 * bound as u128) >> 64) as usize
    }
}

/// A hash of two numbers in which neither shows: the output of a generator that both seed.
#[must_use]
pub const fn mix(a: u64, b: u64) -> u64 {
    Rng::seeded(a ^ b.wrapping_mul(0xd6e8_feb8_6659_fd93)).next_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_sequence() {
        let draw = |mut rng: Rng| [rng.next_u64(), rng.next_u64(), rng.next_u64()];
        assert_eq!(draw(Rng::seeded(7)), draw(Rng::seeded(7)));
        assert_ne!(draw(Rng::seeded(7)), draw(Rng::seeded(8)));
        assert_ne!(draw(Rng::stream(7, 1)), draw(Rng::stream(7, 2)));
    }

    #[test]
    fn the_first_output_is_the_published_one() {
        assert_eq!(Rng::seeded(0).next_u64(), 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn draws_stay_in_range_and_cover_it() {
        let mut rng = Rng::seeded(1);
        let mut seen = [0_u32; 5];
        for _ in 0..5_000 {
            assert!((0.0..1.0).contains(&rng.unit()));
            seen[rng.below(5)] += 1;
        }
        assert!(seen.iter().all(|&hits| (850..1_150).contains(&hits)), "{seen:?}");
        assert_eq!(rng.below(0), 0);
    }
}
