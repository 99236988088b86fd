//! A prefix cache that all engines share: without a bound, or of the fleet's size.

use std::collections::HashSet;
use std::hash::BuildHasherDefault;

use pointsman_core::BlockHash;

use crate::engine::{AsIs, BlockPool};
use crate::job::Job;

/// What was ever computed, or the most recently used of it.
#[derive(Debug)]
pub(in crate::simulate) struct SharedCache {
    block_size: u32,
    held: Held,
}

#[derive(Debug)]
enum Held {
    Everything(HashSet<BlockHash, BuildHasherDefault<AsIs>>),
    Recent(BlockPool),
}

impl SharedCache {
    pub(in crate::simulate) fn infinite(block_size: u32) -> Self {
        Self { block_size, held: Held::Everything(HashSet::default()) }
    }

    pub(in crate::simulate) fn pooled(block_size: u32, blocks: u32) -> Self {
        Self { block_size, held: Held::Recent(BlockPool::new(blocks)) }
    }

    /// Tokens of a job's prompt that are in the cache; all of its prompt is from now on.
    pub(in crate::simulate) fn fetch(&mut self, job: &Job) -> u32 {
        let blocks = ((job.prompt_tokens / self.block_size) as usize).min(job.hashes.len());
        let found = self.hold(&job.hashes[..blocks]);
        u32::try_from(found).unwrap_or(u32::MAX).saturating_mul(self.block_size)
    }

    /// A job's answer is in the cache as well.
    pub(in crate::simulate) fn keep(&mut self, job: &Job) {
        self.hold(&job.hashes);
    }

    /// How many blocks from the start were there.
    fn hold(&mut self, hashes: &[BlockHash]) -> usize {
        match &mut self.held {
            Held::Everything(all) => {
                let found = hashes.iter().take_while(|hash| all.contains(hash)).count();
                all.extend(hashes[found..].iter().copied());
                found
            }
            Held::Recent(pool) => hold_recent(pool, hashes),
        }
    }
}

/// Touches what is there and takes the rest in, heads last, so that they outlive their tails.
fn hold_recent(pool: &mut BlockPool, hashes: &[BlockHash]) -> usize {
    let mut blocks = Vec::with_capacity(hashes.len());
    pool.find_prefix(hashes, &mut blocks);
    let found = blocks.len();
    for block in &blocks {
        pool.share(*block);
    }
    for hash in &hashes[found..] {
        let Some(block) = pool.allocate() else { break };
        pool.name(block, *hash);
        blocks.push(block);
    }
    for block in blocks.into_iter().rev() {
        pool.release(block);
    }
    found
}
