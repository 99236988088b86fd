//! The paged KV cache: reference-counted blocks with a prefix cache keyed by block hash.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use pointsman_core::BlockHash;

/// Index of a block.
pub(crate) type BlockIndex = u32;

const NONE: BlockIndex = BlockIndex::MAX;

/// A hasher for keys that are uniform already. Unlike the standard one it is the same in every run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct IdentityHasher(u64);

impl Hasher for IdentityHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn write_u64(&mut self, value: u64) {
        // The map uses low and high bits; the multiplication fills both for the small numbers of tests and traces.
        let mixed = value.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}

#[derive(Clone, Copy, Debug)]
struct Block {
    /// Number of sequences that use it.
    references: u32,
    /// Neighbours in the free list, valid while no sequence uses it.
    previous: BlockIndex,
    next: BlockIndex,
    /// Hash of its content, once full.
    hash: Option<BlockHash>,
}

/// All blocks of an engine. A block without references is free and keeps its content until it is reallocated, in the order
/// of release (vLLM's `FreeKVCacheBlockQueue`).
#[derive(Clone, Debug)]
pub(crate) struct BlockPool {
    blocks: Vec<Block>,
    /// Free list, the least recently used block first.
    head: BlockIndex,
    tail: BlockIndex,
    free: u32,
    by_hash: HashMap<BlockHash, BlockIndex, BuildHasherDefault<IdentityHasher>>,
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

    /// Number of free blocks, cached content included.
    pub(super) fn free(&self) -> u32 {
        self.free
    }

    pub(super) fn total(&self) -> u32 {
        u32::try_from(self.blocks.len()).unwrap_or(u32::MAX)
    }

    /// Appends the cached leading blocks of `hashes` to `found`; returns how many of them are free.
    pub(crate) fn find_prefix(&self, hashes: &[BlockHash], found: &mut Vec<BlockIndex>) -> u32 {
        let mut idle = 0;
        for hash in hashes {
            let Some(&index) = self.by_hash.get(hash) else { break };
            idle += u32::from(self.blocks[index as usize].references == 0);
            found.push(index);
        }
        idle
    }

    /// Number of leading blocks of `hashes` in the cache.
    pub(super) fn count_prefix(&self, hashes: &[BlockHash]) -> usize {
        hashes.iter().take_while(|hash| self.by_hash.contains_key(hash)).count()
    }

    /// Adds a reference to a block.
    pub(crate) fn share(&mut self, index: BlockIndex) {
        if self.blocks[index as usize].references == 0 {
            self.unlink(index);
        }
        self.blocks[index as usize].references += 1;
    }

    /// References to a block.
    #[cfg(test)]
    pub(super) fn references(&self, index: BlockIndex) -> u32 {
        self.blocks[index as usize].references
    }

    /// Allocates the least recently used free block and drops its content.
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

    /// Registers the content of a full block. An earlier block of the same content stays registered.
    pub(crate) fn register(&mut self, index: BlockIndex, hash: BlockHash) {
        if let std::collections::hash_map::Entry::Vacant(entry) = self.by_hash.entry(hash) {
            entry.insert(index);
            self.blocks[index as usize].hash = Some(hash);
        }
    }

    /// Removes a reference to a block.
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

    /// Drops the content of all blocks, if none is in use.
    pub(super) fn reset(&mut self) -> bool {
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
