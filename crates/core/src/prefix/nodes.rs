//! The tree's nodes and holds. Every byte here is paid per node or per node and holder.

use super::slab::{Cell, NONE};
use crate::ids::BlockHash;

/// A run of blocks without a branch. It is found by the hash of its first block alone: hashes are chained, so this names
/// the whole prefix before it, and no node needs links to its parent or children.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    /// The first block's hash, halved so that the cell needs no 8-byte alignment.
    first: [u32; 2],
    /// The next node in the same bucket of the table.
    pub(super) chain: u32,
    /// Its hold, or with [`Node::LIST`] its array of holds.
    pub(super) holds: u32,
    /// The array of its blocks' hashes, if there are several.
    pub(super) run: u32,
}

impl Node {
    /// The bit that marks `holds` as an array.
    pub(super) const LIST: u32 = 1 << 31;

    pub(super) const fn new(first: BlockHash, chain: u32, run: u32) -> Self {
        Self { first: [first.0 as u32, (first.0 >> 32) as u32], chain, holds: NONE, run }
    }

    pub(super) const fn first(&self) -> BlockHash {
        BlockHash(self.first[0] as u64 | (self.first[1] as u64) << 32)
    }

    /// The array of holds, if there is one.
    pub(super) const fn list(&self) -> Option<u32> {
        if self.holds != NONE && self.holds & Self::LIST != 0 { Some(self.holds & !Self::LIST) } else { None }
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

/// An unsigned integer of 24 bits. The largest stands for [`NONE`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct U24([u8; 3]);

impl U24 {
    /// The largest value, which stands for [`NONE`].
    pub(super) const LIMIT: u32 = (1 << 24) - 1;

    pub(super) const fn new(number: u32) -> Self {
        Self([number as u8, (number >> 8) as u8, (number >> 16) as u8])
    }

    pub(super) const fn get(self) -> u32 {
        match u32::from_le_bytes([self.0[0], self.0[1], self.0[2], 0]) {
            Self::LIMIT => NONE,
            number => number,
        }
    }
}

/// The index's time: the number of prompts so far, modulo 2²⁴ − 1 (16.7 million, some hours at a thousand a second). An
/// older time looks younger than it is, which can make one placement worse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tick(U24);

impl Tick {
    pub(crate) const START: Self = Self(U24::new(0));

    pub(super) const fn next(self) -> Self {
        match self.0.get() + 1 {
            U24::LIMIT => Self::START,
            tick => Self(U24::new(tick)),
        }
    }

    /// Prompts since an earlier time within one period.
    pub(crate) const fn since(self, earlier: Self) -> u32 {
        (self.0.get() + U24::LIMIT - earlier.0.get()) % U24::LIMIT
    }
}

/// One holder's first blocks of one node; without a node, its unindexed blocks, which no prompt can match.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hold {
    pub(super) slot: u16,
    /// Number of the node's blocks, from the first: at least one.
    pub(super) len: u8,
    /// Requests in flight that use them: the engine cannot evict blocks in use.
    pub(super) pins: u8,
    /// [`NONE`] for unindexed blocks.
    pub(super) node: U24,
    pub(super) newer: U24,
    pub(super) older: U24,
    /// When a request that uses them was last dispatched, or its output filled them.
    pub(super) used: Tick,
}

impl Hold {
    pub(super) const fn new(slot: u16, node: u32, len: u8, used: Tick) -> Self {
        Self { slot, len, pins: 0, node: U24::new(node), newer: U24::new(NONE), older: U24::new(NONE), used }
    }
}

impl Cell for Hold {
    fn free(next: u32) -> Self {
        Self { newer: U24::new(next), ..Self::new(0, NONE, 0, Tick::START) }
    }

    fn next_free(&self) -> u32 {
        self.newer.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_and_holds_are_as_small_as_the_memory_budget_assumes() {
        assert_eq!((size_of::<Node>(), size_of::<Hold>()), (20, 16));
        for number in [0, 1, 255, 65_536, U24::LIMIT - 1, NONE] {
            assert_eq!(U24::new(number).get(), number);
        }
        let hash = BlockHash(0x0123_4567_89ab_cdef);
        assert_eq!(Node::new(hash, 1, 2).first(), hash);
    }

    #[test]
    fn time_wraps_around() {
        let last = Tick(U24::new(U24::LIMIT - 1));
        assert_eq!(last.next(), Tick::START);
        assert_eq!(last.next().next().since(last), 2);
        assert_eq!(last.since(last), 0);
    }
}
