//! What the tree is made of. Every byte here is paid per node or per node and holder.

use super::slab::{Cell, NONE};
use crate::ids::BlockHash;

/// Blocks in a row with nothing branching off between them. It is found by the hash of its first block alone: hashes
/// are chained, so this names the whole prefix before it too, and no node needs its parent or its children.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    /// The first block's hash, halved so that the cell needs no 8-byte alignment.
    first: [u32; 2],
    /// The next node in the same bucket of the table.
    pub(super) chain: u32,
    /// Who holds it: a hold, or with [`Node::CROWD`] an array of holds.
    pub(super) holds: u32,
    /// The hashes of all its blocks, where they are more than one.
    pub(super) run: u32,
}

impl Node {
    /// Marks `holds` as the number of an array.
    pub(super) const CROWD: u32 = 1 << 31;

    #[expect(clippy::cast_possible_truncation, reason = "both halves are kept")]
    pub(super) const fn new(first: BlockHash, chain: u32, run: u32) -> Self {
        Self { first: [first.0 as u32, (first.0 >> 32) as u32], chain, holds: NONE, run }
    }

    pub(super) const fn first(&self) -> BlockHash {
        BlockHash(self.first[0] as u64 | (self.first[1] as u64) << 32)
    }

    /// The array of holds, where there is one.
    pub(super) const fn crowd(&self) -> Option<u32> {
        if self.holds != NONE && self.holds & Self::CROWD != 0 {
            Some(self.holds & !Self::CROWD)
        } else {
            None
        }
    }
}

impl Cell for Node {
    fn free(next: u32) -> Self {
        Self::new(BlockHash(0), next, NONE)
    }

    fn next_free(&self) -> u32 {
        self.chain
    }
}

/// That one holder has the first blocks of one node; or, without a node, blocks that nobody can ask for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hold {
    pub(super) slot: u16,
    /// How many of the node's blocks, counted from its first: at least one.
    pub(super) len: u8,
    /// Requests in flight that use them: while there are any, the engine cannot give them up.
    pub(super) pins: u8,
    pub(super) node: u32,
    pub(super) newer: u32,
    pub(super) older: u32,
}

impl Cell for Hold {
    fn free(next: u32) -> Self {
        Self { slot: 0, len: 0, pins: 0, node: NONE, newer: next, older: NONE }
    }

    fn next_free(&self) -> u32 {
        self.newer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cells_are_as_small_as_the_memory_budget_assumes() {
        assert_eq!((size_of::<Node>(), size_of::<Hold>()), (20, 16));
        let hash = BlockHash(0x0123_4567_89ab_cdef);
        assert_eq!(Node::new(hash, 1, 2).first(), hash);
    }
}
