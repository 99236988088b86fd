//! Block hashes as a recorded fleet sees them: equal where they are equal, and nothing else.
//!
//! They are scrambled before the core gets them, not on their way to the log: a policy may look at what a hash is
//! (consistent hashing does), and must see the same in a replay.

use std::hash::{BuildHasher, RandomState};

use pointsman_core::{BlockHash, RequestFacts};

/// A keyed permutation of 64-bit numbers: a Feistel network of four rounds (Luby and Rackoff 1988) over SipHash. The
/// key is drawn for each file and kept nowhere, so that a log cannot be searched for a known prompt.
#[derive(Debug)]
pub(crate) struct Pseudonymizer {
    key: RandomState,
}

impl Pseudonymizer {
    pub(super) fn new() -> Self {
        Self { key: RandomState::new() }
    }

    /// The same request with other block hashes. Takes time in proportion to the prompt: not for under a lock.
    pub(crate) fn facts(&self, facts: RequestFacts) -> RequestFacts {
        let blocks = facts.blocks.iter().map(|block| self.apply(*block)).collect();
        RequestFacts { blocks, ..facts }
    }

    #[expect(clippy::cast_possible_truncation, reason = "halves are taken on purpose")]
    fn apply(&self, block: BlockHash) -> BlockHash {
        let (mut left, mut right) = ((block.0 >> 32) as u32, block.0 as u32);
        for round in 0..4_u8 {
            (left, right) = (right, left ^ self.key.hash_one((round, right)) as u32);
        }
        BlockHash(u64::from(left) << 32 | u64::from(right))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn equal_hashes_stay_equal_and_different_ones_different() {
        let pseudonymizer = Pseudonymizer::new();
        let seen: BTreeSet<_> = (0..10_000).map(|hash| pseudonymizer.apply(BlockHash(hash))).collect();
        assert_eq!(seen.len(), 10_000);
        assert_eq!(pseudonymizer.apply(BlockHash(7)), pseudonymizer.apply(BlockHash(7)));
    }

    #[test]
    fn each_file_has_its_own_key() {
        assert_ne!(Pseudonymizer::new().apply(BlockHash(7)), Pseudonymizer::new().apply(BlockHash(7)));
    }
}
