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

/// A number below 2²⁴ in three bytes. The highest one stands for [`NONE`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Short([u8; 3]);

impl Short {
    /// The first number that does not fit.
    pub(super) const LIMIT: u32 = (1 << 24) - 1;

    #[expect(
        clippy::cast_possible_truncation,
        reason = "the limits of the index keep all numbers in three bytes"
    )]
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

/// The index's time: prompts that came so far, in a circle. What is older than a circle (16.7 million prompts, some hours at a
/// thousand a second) looks younger than it is; then a copy is made, or spared, that should not be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tick(Short);

impl Tick {
    pub(crate) const START: Self = Self(Short::new(0));

    /// The tick after this one.
    pub(super) const fn next(self) -> Self {
        match self.0.get() + 1 {
            Short::LIMIT => Self::START,
            tick => Self(Short::new(tick)),
        }
    }

    /// Ticks since an earlier one, no more than a circle ago.
    pub(crate) const fn since(self, earlier: Self) -> u32 {
        (self.0.get() + Short::LIMIT - earlier.0.get()) % Short::LIMIT
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
    node: Short,
    newer: Short,
    older: Short,
    /// When a request was last sent that uses them, or an answer filled them.
    pub(super) used: Tick,
}

impl Hold {
    /// A hold that is in no list. `node` is [`NONE`] for blocks that nobody can ask for.
    pub(super) const fn new(slot: u16, node: u32, len: u8, used: Tick) -> Self {
        Self {
            slot,
            len,
            pins: 0,
            node: Short::new(node),
            newer: Short::new(NONE),
            older: Short::new(NONE),
            used,
        }
    }

    pub(super) const fn node(&self) -> u32 {
        self.node.get()
    }

    pub(super) const fn newer(&self) -> u32 {
        self.newer.get()
    }

    pub(super) const fn older(&self) -> u32 {
        self.older.get()
    }

    pub(super) const fn set_newer(&mut self, id: u32) {
        self.newer = Short::new(id);
    }

    pub(super) const fn set_older(&mut self, id: u32) {
        self.older = Short::new(id);
    }
}

impl Cell for Hold {
    fn free(next: u32) -> Self {
        let mut hold = Self::new(0, NONE, 0, Tick::START);
        hold.set_newer(next);
        hold
    }

    fn next_free(&self) -> u32 {
        self.newer()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cells_are_as_small_as_the_memory_budget_assumes() {
        assert_eq!((size_of::<Node>(), size_of::<Hold>()), (20, 16));
        for number in [0, 1, 255, 65_536, Short::LIMIT - 1, NONE] {
            assert_eq!(Short::new(number).get(), number);
        }
        let hash = BlockHash(0x0123_4567_89ab_cdef);
        assert_eq!(Node::new(hash, 1, 2).first(), hash);
    }

    #[test]
    fn time_runs_in_a_circle() {
        let last = Tick(Short::new(Short::LIMIT - 1));
        assert_eq!(last.next(), Tick::START);
        assert_eq!(last.next().next().since(last), 2);
        assert_eq!(last.since(last), 0);
    }
}
