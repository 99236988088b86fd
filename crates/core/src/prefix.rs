//! The prefix index: which endpoints have how much of a prompt in their prefix caches.
//!
//! A prompt is a chain of block hashes, each of which names everything before it too. The index is a radix tree over
//! chains whose nodes hold runs of up to [`LONGEST_RUN`] blocks. For each node it knows the *holders* that have it, where a
//! holder is one endpoint's cache between two resets. Each holder's part of a node is a *hold*; its holds are listed in
//! the order in which the engine would evict them.
//!
//! That order is vLLM's (`FreeKVCacheBlockQueue`, `vllm/v1/core/kv_cache_utils.py`): blocks that requests in flight use
//! are never evicted; when a request ends, its blocks become free from the last to the first; the block that has been free
//! for the longest time is evicted first. So earlier blocks of a prompt outlive later ones, and a holder of a block holds
//! all blocks before it. Matching relies on that: comparing a node's last hash may settle the whole node, and a node whose
//! holders were all found deeper in the tree need not be looked at.
//!
//! Costs, with *n* nodes along a chain (blocks ÷ 255, and one for each point where chains diverge; 256 at most): a match
//! takes O(n + holders found), an insert O(n·log holders) and one copy of the new blocks; splitting a node takes O(its
//! holders). Memory is 16 bytes per node and holder, 22 per node, 16 + 8 per block for a node of several blocks and
//! 16 + 4 per holder where there are several: at most 39 per block and holder, near 10 for usual prompts. All of it is
//! under a budget; nothing is ever moved or rehashed.

mod cache;
mod check;
mod lru;
mod matched;
mod nodes;
mod reuse;
mod slab;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::VecDeque;

pub(crate) use cache::{Agreement, Cache};
pub(crate) use matched::PrefixMatch;
pub(crate) use nodes::Tick;
pub(crate) use reuse::Reuse;

use crate::ids::BlockHash;
use lru::LruList;
use nodes::{Hold, Node, U24};
use slab::{Array, NONE, Slab};

/// Bytes of one scheduler's index: some two million blocks times holders for usual prompts of 20 blocks.
pub(crate) const BUDGET: usize = 64 << 20;

/// Most blocks of a node: their number fits a byte, and copying them is fast.
const LONGEST_RUN: usize = 255;

/// Most nodes along a prompt; blocks beyond are not indexed. A client that sends a prompt and then each of its prefixes
/// splits it block by block, and must not make every later request with it slow.
const MAX_NODES: usize = 256;

/// Most requests per holder that pin blocks, so that a hold's pins fit a byte.
const MAX_PINNING: u16 = 255;

/// Holds evicted at a time when the index itself is full.
const BATCH: usize = 16;

/// Most batches per insert; blocks that do not fit then are left out.
const BATCHES: usize = 16;

/// A holder of this fraction of the longest match counts as having it.
const NEARLY: (u32, u32) = (3, 4);

/// One endpoint's cache between two resets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    slot: u16,
    generation: u32,
}

impl Holder {
    /// The position of its match in the result of [`PrefixIndex::find_holders`].
    #[must_use]
    pub const fn slot(self) -> usize {
        self.slot as usize
    }
}

/// The result of an insert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inserted {
    /// Number of the chain's blocks, from the first, that the holder has now.
    pub blocks: u32,
    /// Whether they are pinned until [`PrefixIndex::release`].
    pub pinned: bool,
    /// Blocks in nodes of which the holder had some already.
    pub reused: u32,
    /// Sum over those blocks of the time since their last use, in prompts.
    pub idle: u64,
}

/// A holder's state.
#[derive(Clone, Debug, Default)]
struct Slot {
    generation: u32,
    live: bool,
    /// Holds that no request in flight uses: these can be evicted.
    idle: LruList,
    /// Holds that requests in flight use.
    active: LruList,
    /// Blocks in all its holds, unindexed ones included.
    blocks: u32,
    /// Requests that pin blocks.
    pinning: u16,
}

/// Limits on each kind of allocation that keep their sum under the budget.
#[derive(Clone, Copy, Debug)]
struct Limits {
    nodes: usize,
    holds: usize,
    /// Bytes of hashes and of arrays of holds.
    heap: usize,
}

impl Limits {
    /// Fitted to prompts of usual length: a node per 256 bytes, a hold per 64, and about half of the budget for hashes.
    fn of(budget: usize) -> Self {
        let (nodes, holds) = (budget / 256, budget / 64);
        let fixed = Slab::<Node>::max_bytes(nodes)
            + Slab::<Array<BlockHash>>::max_bytes(nodes)
            + Slab::<Array<u32>>::max_bytes(nodes)
            + Slab::<Hold>::max_bytes(holds)
            + tree::Table::bytes_for(nodes);
        let most = U24::LIMIT as usize;
        Self { nodes: nodes.min(most), holds: holds.min(most), heap: budget.saturating_sub(fixed) }
    }
}

/// The index of one scheduler.
#[derive(Clone, Debug)]
pub struct PrefixIndex {
    limits: Limits,
    table: tree::Table,
    nodes: Slab<Node>,
    runs: Slab<Array<BlockHash>>,
    lists: Slab<Array<u32>>,
    holds: Slab<Hold>,
    /// Bytes in `runs` and `lists`.
    heap: usize,
    clock: Tick,
    slots: Vec<Slot>,
    free_slots: Vec<u16>,
    /// Slots whose holders left and whose holds are not yet swept.
    leaving: VecDeque<u16>,
    /// The nodes along a chain, each with its offset in the chain and the number of blocks that match. Reused.
    walked: Vec<(u32, usize, usize)>,
    /// The holds along a chain. Reused.
    path: Vec<u32>,
}

impl PrefixIndex {
    /// An index of at most `budget` bytes. `key` seeds the hash table, so that no client can send prompts that all collide.
    #[must_use]
    pub fn new(budget: usize, key: u64) -> Self {
        Self {
            limits: Limits::of(budget),
            table: tree::Table::new(key),
            nodes: Slab::new(),
            runs: Slab::new(),
            lists: Slab::new(),
            holds: Slab::new(),
            heap: 0,
            clock: Tick::START,
            slots: Vec::new(),
            free_slots: Vec::new(),
            leaving: VecDeque::new(),
            walked: Vec::new(),
            path: Vec::new(),
        }
    }

    /// Adds a holder without blocks; `None` if there are too many.
    pub fn join(&mut self) -> Option<Holder> {
        let slot = match self.free_slots.pop() {
            Some(slot) => slot,
            None => {
                let slot = u16::try_from(self.slots.len()).ok()?;
                self.slots.push(Slot::default());
                slot
            }
        };
        let state = &mut self.slots[usize::from(slot)];
        state.live = true;
        Some(Holder { slot, generation: state.generation })
    }

    /// Removes a holder; its holds are removed later by [`PrefixIndex::sweep`].
    pub fn leave(&mut self, holder: Holder) {
        if self.slot(holder).is_some() {
            self.slots[holder.slot()].live = false;
            self.leaving.push_back(holder.slot);
        }
    }

    /// Removes up to `steps` holds of removed holders.
    pub fn sweep(&mut self, steps: usize) {
        for _ in 0..steps {
            let Some(slot) = self.leaving.front().copied() else { return };
            let state = &mut self.slots[usize::from(slot)];
            // Last blocks first, so that the rest are prefixes.
            let next = if state.idle.oldest == NONE { state.active.oldest } else { state.idle.oldest };
            if next != NONE {
                self.remove_hold(next);
                continue;
            }
            state.generation = state.generation.wrapping_add(1);
            state.pinning = 0;
            self.leaving.pop_front();
            self.free_slots.push(slot);
        }
    }

    /// Advances the index's time, which is counted in prompts.
    pub fn tick(&mut self) {
        self.clock = self.clock.next();
    }

    pub(crate) const fn now(&self) -> Tick {
        self.clock
    }

    /// Writes for each holder's slot the number of the chain's blocks, from the first, that it has. Returns the time since
    /// the last use of the longest match by a holder of at least three quarters of it, in prompts and at least 1; `None`
    /// where nothing matches.
    pub fn find_holders(&mut self, chain: &[BlockHash], lengths: &mut Vec<u32>) -> Option<u32> {
        lengths.clear();
        lengths.resize(self.slots.len(), 0);
        self.walk(chain, MAX_NODES);
        let (mut found, mut longest) = (0, 0);
        let mut idle: Option<u32> = None;
        for (node, start, common) in self.walked.iter().rev().copied() {
            let members = self.members(node);
            // All its holders were found deeper in the tree.
            if members.len() == found {
                continue;
            }
            let here = |hold: &Hold| count(start + common.min(usize::from(hold.len)));
            for id in members {
                let hold = &self.holds[*id];
                let length = &mut lengths[usize::from(hold.slot)];
                if *length == 0 {
                    *length = here(hold);
                    found += 1;
                    // A removed holder's blocks are gone.
                    if self.slots[usize::from(hold.slot)].live {
                        longest = longest.max(*length);
                    }
                }
            }
            for hold in members.iter().map(|id| &self.holds[*id]) {
                let slot = usize::from(hold.slot);
                let length = lengths[slot];
                if self.slots[slot].live && length == here(hold) && length * NEARLY.1 >= longest * NEARLY.0 {
                    let since = self.clock.since(hold.used).max(1);
                    idle = Some(idle.map_or(since, |idle| idle.min(since)));
                }
            }
        }
        idle
    }

    /// Gives the chain to the holder. With `pin` a request uses it until [`PrefixIndex::release`].
    pub fn insert(&mut self, holder: Holder, chain: &[BlockHash], pin: bool) -> Inserted {
        if self.slot(holder).is_none() {
            return Inserted::default();
        }
        self.make_room(chain.len());
        let blocks = self.extend(holder.slot, chain);
        if blocks == 0 {
            return Inserted::default();
        }
        let slot = &mut self.slots[holder.slot()];
        let pinned = pin && slot.pinning < MAX_PINNING;
        slot.pinning += u16::from(pinned);
        let mut inserted = Inserted { blocks: count(blocks), pinned, ..Inserted::default() };
        // First blocks last: these are evicted last.
        for position in (0..self.path.len()).rev() {
            let id = self.path[position];
            self.unlink(id);
            let hold = &mut self.holds[id];
            // New holds carry the present time and were not idle.
            if pin && hold.used != self.clock {
                inserted.reused += u32::from(hold.len);
                inserted.idle += u64::from(self.clock.since(hold.used)) * u64::from(hold.len);
                hold.used = self.clock;
            }
            hold.pins = hold.pins.saturating_add(u8::from(pinned));
            self.link(id);
        }
        inserted
    }

    /// Unpins a chain when its request ended: once per pin, with the number of blocks that were inserted.
    pub fn release(&mut self, holder: Holder, chain: &[BlockHash]) {
        if self.slot(holder).is_none() {
            return;
        }
        let slot = &mut self.slots[holder.slot()];
        slot.pinning = slot.pinning.saturating_sub(1);
        // Other prompts may have split nodes since, each within its own first nodes: never many.
        self.walk(chain, usize::MAX);
        self.path.clear();
        for position in 0..self.walked.len() {
            let Some(id) = self.hold_of(self.walked[position].0, holder.slot) else { break };
            self.path.push(id);
        }
        for position in (0..self.path.len()).rev() {
            let id = self.path[position];
            self.unlink(id);
            self.holds[id].pins = self.holds[id].pins.saturating_sub(1);
            self.link(id);
        }
    }

    /// Takes from the holder the blocks of a chain behind the first `kept`, except those in use.
    pub fn take_back(&mut self, holder: Holder, chain: &[BlockHash], kept: u32) {
        if self.slot(holder).is_none() {
            return;
        }
        self.walk(chain, usize::MAX);
        let kept = kept as usize;
        for position in (0..self.walked.len()).rev() {
            let (node, start, common) = self.walked[position];
            let Some(id) = self.hold_of(node, holder.slot).filter(|id| self.holds[*id].pins == 0) else {
                continue;
            };
            if start >= kept {
                self.remove_hold(id);
            } else if start + common > kept && usize::from(self.holds[id].len) > kept - start {
                self.shorten(id, u8::try_from(kept - start).unwrap_or(u8::MAX));
            }
        }
    }

    /// Gives the holder blocks that cannot be matched (output, partial blocks): they take room until they are evicted.
    pub fn add_unindexed(&mut self, holder: Holder, blocks: u32) {
        let mut left = blocks;
        while left > 0 && self.slot(holder).is_some() {
            let newest = self.slots[holder.slot()].idle.newest;
            let grows =
                newest != NONE && self.holds[newest].node.get() == NONE && self.holds[newest].len < u8::MAX;
            let id = if grows {
                newest
            } else if self.holds.len() < self.limits.holds {
                let id = self.holds.add(Hold::new(holder.slot, NONE, 0, self.clock));
                self.link(id);
                id
            } else {
                return;
            };
            let hold = &mut self.holds[id];
            let more = u8::try_from(left).unwrap_or(u8::MAX).min(u8::MAX - hold.len);
            hold.used = self.clock;
            hold.len += more;
            self.slots[holder.slot()].blocks += u32::from(more);
            left -= u32::from(more);
        }
    }

    /// Number of the holder's blocks, unindexed ones included.
    #[must_use]
    pub fn blocks(&self, holder: Holder) -> u32 {
        self.slot(holder).map_or(0, |slot| slot.blocks)
    }

    /// The last use of the hold that would be evicted next: now where all are in use, `None` where there is none.
    pub(crate) fn oldest_use(&self, holder: Holder) -> Option<Tick> {
        let slot = self.slot(holder)?;
        match slot.idle.oldest {
            NONE => (slot.blocks > 0).then_some(self.clock),
            oldest => Some(self.holds[oldest].used),
        }
    }

    /// Evicts the holder's blocks beyond `blocks`, except those in use, in at most `steps` pieces.
    pub fn shrink(&mut self, holder: Holder, blocks: u32, steps: usize) {
        for _ in 0..steps {
            let over = self.blocks(holder).saturating_sub(blocks);
            if over == 0 || !self.evict(holder.slot, over) {
                return;
            }
        }
    }

    /// Bytes allocated.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.table.bytes()
            + self.nodes.bytes()
            + self.runs.bytes()
            + self.lists.bytes()
            + self.holds.bytes()
            + self.heap
    }

    fn slot(&self, holder: Holder) -> Option<&Slot> {
        let slot = self.slots.get(holder.slot())?;
        (slot.live && slot.generation == holder.generation).then_some(slot)
    }

    /// Evicts up to `most` blocks of one hold; false where all are in use.
    fn evict(&mut self, slot: u16, most: u32) -> bool {
        let id = self.slots[usize::from(slot)].idle.oldest;
        if id == NONE {
            return false;
        }
        let len = self.holds[id].len;
        match u8::try_from(most) {
            Ok(most) if most < len => self.shorten(id, len - most),
            Ok(_) | Err(_) => self.remove_hold(id),
        }
        true
    }

    /// Makes room for a chain at the cost of the largest holders. The work is bounded: inserts check the limits again.
    fn make_room(&mut self, blocks: usize) {
        let Limits { nodes, holds, heap } = self.limits;
        let new_nodes = (blocks / LONGEST_RUN + 3).min(nodes / 4);
        let new_holds = (blocks + self.slots.len()).min(holds / 4);
        let new_heap = (size_of::<BlockHash>() * blocks + 4 * self.slots.len()).min(heap / 4);
        for _ in 0..BATCHES {
            if self.nodes.len() + new_nodes <= nodes
                && self.holds.len() + new_holds <= holds
                && self.heap + new_heap <= heap
            {
                return;
            }
            if !self.leaving.is_empty() {
                self.sweep(BATCH);
                continue;
            }
            let idle = |(_, slot): &(u16, &Slot)| slot.live && slot.idle.oldest != NONE;
            let largest = (0..).zip(&self.slots).filter(idle).max_by_key(|(_, slot)| slot.blocks);
            let Some((slot, _)) = largest else { return };
            for _ in 0..BATCH {
                self.evict(slot, u32::MAX);
            }
        }
    }

    fn unlink(&mut self, id: u32) {
        let Hold { slot, pins, .. } = self.holds[id];
        let slot = &mut self.slots[usize::from(slot)];
        let order = if pins == 0 { &mut slot.idle } else { &mut slot.active };
        order.unlink(&mut self.holds, id);
    }

    /// Links a hold as the most recently used.
    fn link(&mut self, id: u32) {
        let Hold { slot, pins, .. } = self.holds[id];
        let slot = &mut self.slots[usize::from(slot)];
        let order = if pins == 0 { &mut slot.idle } else { &mut slot.active };
        order.push_newest(&mut self.holds, id);
    }
}

fn count(blocks: usize) -> u32 {
    u32::try_from(blocks).unwrap_or(u32::MAX)
}
