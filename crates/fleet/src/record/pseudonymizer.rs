//! Pseudonyms for block hashes, so that an event log reveals which prompts share blocks but no prompt.
//!
//! Hashes are replaced before the core sees them, not when they are written: a placement rule may use a hash's value
//! (consistent hashing does), and a replay must see the same value.

use std::hash::{BuildHasher, RandomState};

use pointsman_core::{BlockHash, RequestFacts};

/// A keyed permutation of 64-bit numbers: a Feistel network of four rounds (Luby and Rackoff 1988) over SipHash. The
/// key is random for each file and is not stored, so that a log cannot be searched for a known prompt.
#[derive(Debug)]
pub(crate) struct Pseudonymizer {
    key: RandomState,
}

impl Pseudonymizer {
    pub(super) fn new() -> Self {
        Self { key: RandomState::new() }
    }

    /// Replaces the block hashes of a request. Takes time in proportion to the prompt, so it must not run under a lock.
    pub(crate) fn pseudonymize(&self, facts: RequestFacts) -> RequestFacts {
        let blocks = facts.blocks.iter().map(|block| self.permute(*block)).collect();
        RequestFacts { blocks, ..facts }
    }

    #[expect(clippy::cast_possible_truncation, reason = "halves are taken on purpose")]
    fn permute(&self, block: BlockHash) -> BlockHash {
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
        let seen: BTreeSet<_> = (0..10_000).map(|hash| pseudonymizer.permute(BlockHash(hash))).collect();
        assert_eq!(seen.len(), 10_000);
        assert_eq!(pseudonymizer.permute(BlockHash(7)), pseudonymizer.permute(BlockHash(7)));
    }

    #[test]
    fn each_file_has_its_own_key() {
        assert_ne!(Pseudonymizer::new().permute(BlockHash(7)), Pseudonymizer::new().permute(BlockHash(7)));
    }
}
