//! The paged KV cache: blocks with reference counts, found again by the hash of what they hold.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use pointsman_core::BlockHash;

/// Index of a block.
pub(crate) type BlockIndex = u32;

const NONE: BlockIndex = BlockIndex::MAX;

/// Block hashes are uniform already: the map takes them as they are, and so behaves alike in every run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn write_u64(&mut self, value: u64) {
        // Small maps index by the low bits and tag by the high ones; a multiplication fills both for hashes that
        // a test or a trace numbers 1, 2, 3.
        let mixed = value.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}

#[derive(Clone, Copy, Debug)]
struct Block {
    /// Sequences that hold it.
    references: u32,
    /// Neighbours in the free list; meaningful while nobody holds it.
    previous: BlockIndex,
    next: BlockIndex,
    /// What it holds, once full.
    hash: Option<BlockHash>,
}

/// All blocks of an engine. A block that nobody holds is free, keeps its content until it is handed out again,
/// and is handed out in the order of release (vLLM's `FreeKVCacheBlockQueue`).
#[derive(Clone, Debug)]
pub(crate) struct BlockPool {
    blocks: Vec<Block>,
    /// Free blocks, the longest unused first.
    head: BlockIndex,
    tail: BlockIndex,
    free: u32,
    by_hash: HashMap<BlockHash, BlockIndex, BuildHasherDefault<AsIs>>,
}

impl BlockPool {
    pub(crate) fn new(count: u32) -> Self {
        let block = |index: u32| Block {
            references: 0,
            previous: if index == 0 { NONE } else { index - 1 },
            next: if index + 1 == count { NONE } else { index + 1 },
            hash: None,
        };
        Self {
            blocks: (0..count).map(block).collect(),
            head: if count == 0 { NONE } else { 0 },
            tail: count.checked_sub(1).unwrap_or(NONE),
            free: count,
            by_hash: HashMap::default(),
        }
    }

    /// Blocks that nobody holds, whatever they still contain.
    pub(super) fn free(&self) -> u32 {
        self.free
    }

    pub(super) fn total(&self) -> u32 {
        u32::try_from(self.blocks.len()).unwrap_or(u32::MAX)
    }

    /// The leading blocks of `hashes` that are in the cache, appended to `found`; returns how many of them are
    /// free and would be taken off the free list.
    pub(crate) fn find_prefix(&self, hashes: &[BlockHash], found: &mut Vec<BlockIndex>) -> u32 {
        let mut idle = 0;
        for hash in hashes {
            let Some(&index) = self.by_hash.get(hash) else { break };
            idle += u32::from(self.blocks[index as usize].references == 0);
            found.push(index);
        }
        idle
    }

    /// How many of the leading blocks of `hashes` are in the cache.
    pub(super) fn count_prefix(&self, hashes: &[BlockHash]) -> usize {
        hashes.iter().take_while(|hash| self.by_hash.contains_key(hash)).count()
    }

    /// One more sequence holds this block.
    pub(crate) fn share(&mut self, index: BlockIndex) {
        if self.blocks[index as usize].references == 0 {
            self.unlink(index);
        }
        self.blocks[index as usize].references += 1;
    }

    /// How many sequences hold this block.
    #[cfg(test)]
    pub(super) fn references(&self, index: BlockIndex) -> u32 {
        self.blocks[index as usize].references
    }

    /// Takes the longest unused free block, forgetting what it held.
    pub(crate) fn allocate(&mut self) -> Option<BlockIndex> {
        let index = self.head;
        if index == NONE {
            return None;
        }
        self.unlink(index);
        let block = &mut self.blocks[index as usize];
        block.references = 1;
        if let Some(hash) = block.hash.take() {
            self.by_hash.remove(&hash);
        }
        Some(index)
    }

    /// Names what a full block holds. Where another block holds the same, that one stays the one that is found.
    pub(crate) fn name(&mut self, index: BlockIndex, hash: BlockHash) {
        if let std::collections::hash_map::Entry::Vacant(entry) = self.by_hash.entry(hash) {
            entry.insert(index);
            self.blocks[index as usize].hash = Some(hash);
        }
    }

    /// One sequence lets go of this block.
    pub(crate) fn release(&mut self, index: BlockIndex) {
        let tail = self.tail;
        let block = &mut self.blocks[index as usize];
        block.references -= 1;
        if block.references > 0 {
            return;
        }
        (block.previous, block.next) = (tail, NONE);
        match self.blocks.get_mut(tail as usize) {
            Some(last) => last.next = index,
            None => self.head = index,
        }
        self.tail = index;
        self.free += 1;
    }

    /// Forgets the content of every block; only done while nobody holds one.
    pub(super) fn forget(&mut self) -> bool {
        if self.free < self.total() {
            return false;
        }
        self.by_hash.clear();
        for block in &mut self.blocks {
            block.hash = None;
        }
        true
    }

    fn unlink(&mut self, index: BlockIndex) {
        let Block { previous, next, .. } = self.blocks[index as usize];
        match self.blocks.get_mut(previous as usize) {
            Some(block) => block.next = next,
            None => self.head = next,
        }
        match self.blocks.get_mut(next as usize) {
            Some(block) => block.previous = previous,
            None => self.tail = previous,
        }
        self.free -= 1;
    }
}
