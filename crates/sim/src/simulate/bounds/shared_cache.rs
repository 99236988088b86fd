//! A prefix cache shared by all engines, unbounded or as large as the fleet's caches together.

use std::collections::HashSet;
use std::hash::BuildHasherDefault;

use pointsman_core::BlockHash;
use pointsman_workload::Job;

use crate::engine::{BlockPool, IdentityHasher};

/// The shared cache.
#[derive(Debug)]
pub(in crate::simulate) struct SharedCache {
    block_size: u32,
    cached: CachedBlocks,
}

#[derive(Debug)]
enum CachedBlocks {
    /// Every block that was ever computed.
    All(HashSet<BlockHash, BuildHasherDefault<IdentityHasher>>),
    /// The most recently used blocks.
    LeastRecentlyUsed(BlockPool),
}

impl SharedCache {
    pub(in crate::simulate) fn infinite(block_size: u32) -> Self {
        Self { block_size, cached: CachedBlocks::All(HashSet::default()) }
    }

    pub(in crate::simulate) fn pooled(block_size: u32, blocks: u32) -> Self {
        Self { block_size, cached: CachedBlocks::LeastRecentlyUsed(BlockPool::new(blocks)) }
    }

    /// Prompt tokens of a job in the cache. Its whole prompt is cached from now on.
    pub(in crate::simulate) fn fetch(&mut self, job: &Job) -> u32 {
        let blocks = ((job.prompt_tokens / self.block_size) as usize).min(job.hashes.len());
        let found = self.insert(&job.hashes[..blocks]);
        u32::try_from(found).unwrap_or(u32::MAX).saturating_mul(self.block_size)
    }

    /// Caches a job's output, too.
    pub(in crate::simulate) fn add(&mut self, job: &Job) {
        self.insert(&job.hashes);
    }

    /// Caches these blocks; returns how many leading ones were cached before.
    fn insert(&mut self, hashes: &[BlockHash]) -> usize {
        match &mut self.cached {
            CachedBlocks::All(all) => {
                let found = hashes.iter().take_while(|hash| all.contains(hash)).count();
                all.extend(hashes[found..].iter().copied());
                found
            }
            CachedBlocks::LeastRecentlyUsed(pool) => insert_recent(pool, hashes),
        }
    }
}

/// Marks cached blocks as used and allocates the others. Releases from the end, so that a prefix outlives its continuation.
fn insert_recent(pool: &mut BlockPool, hashes: &[BlockHash]) -> usize {
    let mut blocks = Vec::with_capacity(hashes.len());
    pool.find_prefix(hashes, &mut blocks);
    let found = blocks.len();
    for block in &blocks {
        pool.share(*block);
    }
    for hash in &hashes[found..] {
        let Some(block) = pool.allocate() else { break };
        pool.register(block, *hash);
        blocks.push(block);
    }
    for block in blocks.into_iter().rev() {
        pool.release(block);
    }
    found
}
