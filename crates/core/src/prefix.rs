//! The prefix index: which endpoints hold how much of a prompt in their prefix caches.
//!
//! A prompt is a chain of block hashes, each of which names everything before it too. The index is a radix tree over
//! chains whose nodes hold runs of up to [`LONGEST_RUN`] blocks. For each node it knows the *holders* (an endpoint's
//! cache, from its start or last reset to the next) that have it, and each holder's nodes are kept in the order in
//! which the engine would give them up.
//!
//! That order is vLLM's (`FreeKVCacheBlockQueue`, `vllm/v1/core/kv_cache_utils.py`): blocks that requests in flight use
//! are never given up; when a request ends, its blocks become free from the last to the first; what was free longest
//! goes first. So heads outlive tails, and whoever holds a block holds all blocks before it. Matching relies on that:
//! hashes are chained and holdings are prefixes, so comparing a node's last hash may settle all of it, and a node
//! whose holders were all found deeper down need not be looked at.
//!
//! Costs, with *n* nodes along a chain (blocks ÷ 255, and one for each point where chains parted; 256 at most): a match takes
//! O(n + holders found), an insert O(n·log holders) and one copy of what is new; parting a node that is held takes
//! O(its holders). Memory is 16 bytes per node and holder, 22 per node, 16 + 8 per block for a node of several blocks and
//! 16 + 4 per holder where there are several: at most 39 per block and holder, near 10 for usual prompts.
//! Everything is under a budget; nothing is ever moved or rehashed.

mod cache;
mod cells;
mod check;
mod matched;
mod order;
mod reuse;
mod slab;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::VecDeque;

pub(crate) use cache::{Agreement, Cache};
pub(crate) use cells::Tick;
pub(crate) use matched::PrefixMatch;
pub(crate) use reuse::Reuse;

use crate::ids::BlockHash;
use cells::{Hold, Node, Short};
use order::Order;
use slab::{Array, NONE, Slab};

/// Bytes that the index of one pool may take: some two million blocks and holders in usual prompts of 20 blocks.
pub(crate) const BUDGET: usize = 64 << 20;

/// The most blocks in a node: their number fits a byte, and copying them is quick.
const LONGEST_RUN: usize = 255;

/// The most nodes along a prompt. What lies behind is not held: a client that sends a prompt and then all of its heads
/// parts it block by block, and must not make each request with it slow.
const MOST_NODES: usize = 256;

/// The most requests of one holder that pin blocks, so that pins fit a byte.
const MOST_PINNING: u16 = 255;

/// Holds given up at a time when the index itself is full.
const BATCH: usize = 16;

/// Batches per insert at most; what then does not fit is left out.
const BATCHES: usize = 16;

/// A holder with this share of the longest head counts as having it.
const NEARLY: (u32, u32) = (3, 4);

/// One cache, from its start or last reset to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    slot: u16,
    generation: u32,
}

impl Holder {
    /// Where [`PrefixIndex::find_holders`] writes its match.
    #[must_use]
    pub const fn slot(self) -> usize {
        self.slot as usize
    }
}

/// What an insert did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inserted {
    /// Blocks, from the chain's first, that the holder now has.
    pub blocks: u32,
    /// Whether they are pinned, and have to be released.
    pub pinned: bool,
    /// The blocks of nodes that it had already, in whole or in part.
    pub reused: u32,
    /// The sum, over those, of the prompts that came since each was last used.
    pub idle: u64,
}

impl Inserted {
    const NOTHING: Self = Self { blocks: 0, pinned: false, reused: 0, idle: 0 };
}

/// A holder's state.
#[derive(Clone, Debug)]
struct Slot {
    generation: u32,
    live: bool,
    /// What nobody uses, and what goes first.
    idle: Order,
    /// What requests in flight use.
    active: Order,
    /// Blocks in all holds, unnamed ones included.
    blocks: u32,
    /// Requests that pin.
    pinning: u16,
}

/// How much there may be of each thing, so that all together stay under the budget.
#[derive(Clone, Copy, Debug)]
struct Limits {
    nodes: usize,
    holds: usize,
    /// Bytes of hashes and of arrays of holds.
    heap: usize,
}

impl Limits {
    /// For prompts of usual length: a node per 256 bytes, a hold per 64, and about half of all for hashes.
    fn of(budget: usize) -> Self {
        let (nodes, holds) = (budget / 256, budget / 64);
        let fixed = Slab::<Node>::most_bytes(nodes)
            + Slab::<Array<BlockHash>>::most_bytes(nodes)
            + Slab::<Array<u32>>::most_bytes(nodes)
            + Slab::<Hold>::most_bytes(holds)
            + tree::Table::bytes_for(nodes);
        let most = Short::LIMIT as usize;
        Self { nodes: nodes.min(most), holds: holds.min(most), heap: budget.saturating_sub(fixed) }
    }
}

/// The index of one pool.
#[derive(Clone, Debug)]
pub struct PrefixIndex {
    limits: Limits,
    table: tree::Table,
    nodes: Slab<Node>,
    runs: Slab<Array<BlockHash>>,
    crowds: Slab<Array<u32>>,
    holds: Slab<Hold>,
    /// Bytes in `runs` and `crowds`.
    heap: usize,
    clock: Tick,
    slots: Vec<Slot>,
    free_slots: Vec<u16>,
    /// Slots whose holders left, still to be emptied.
    leaving: VecDeque<u16>,
    /// The nodes along a chain: where each starts in it, and how many blocks agree. Reused.
    walked: Vec<(u32, usize, usize)>,
    /// The holds along a chain. Reused.
    path: Vec<u32>,
}

impl PrefixIndex {
    /// An index that takes at most `budget` bytes. `key` decides where in the table a hash goes, so that nobody can make
    /// prompts that all go to one place.
    #[must_use]
    pub fn new(budget: usize, key: u64) -> Self {
        Self {
            limits: Limits::of(budget),
            table: tree::Table::new(key),
            nodes: Slab::new(),
            runs: Slab::new(),
            crowds: Slab::new(),
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

    /// A new holder with nothing; `None` where there are too many.
    pub fn join(&mut self) -> Option<Holder> {
        let slot = match self.free_slots.pop() {
            Some(slot) => slot,
            None => {
                let slot = u16::try_from(self.slots.len()).ok()?;
                self.slots.push(Slot {
                    generation: 0,
                    live: false,
                    idle: Order::EMPTY,
                    active: Order::EMPTY,
                    blocks: 0,
                    pinning: 0,
                });
                slot
            }
        };
        let state = &mut self.slots[usize::from(slot)];
        state.live = true;
        Some(Holder { slot, generation: state.generation })
    }

    /// Forgets a holder at once; its holds are removed by [`PrefixIndex::sweep`].
    pub fn leave(&mut self, holder: Holder) {
        if self.slot(holder).is_some() {
            self.slots[holder.slot()].live = false;
            self.leaving.push_back(holder.slot);
        }
    }

    /// Removes up to `steps` holds of holders that left.
    pub fn sweep(&mut self, steps: usize) {
        for _ in 0..steps {
            let Some(slot) = self.leaving.front().copied() else { return };
            let state = &mut self.slots[usize::from(slot)];
            // From the tails on, so that what is left are prefixes.
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

    /// A prompt came: the index's time is counted in them.
    pub fn tick(&mut self) {
        self.clock = self.clock.next();
    }

    /// The index's time.
    pub(crate) const fn now(&self) -> Tick {
        self.clock
    }

    /// Writes for each holder's slot how many blocks of the chain, from its first, that holder has. Returns how many
    /// prompts came since one was sent to a holder of nearly all of the longest of these heads, at least 1; `None` where
    /// nobody holds any.
    pub fn find_holders(&mut self, chain: &[BlockHash], lengths: &mut Vec<u32>) -> Option<u32> {
        lengths.clear();
        lengths.resize(self.slots.len(), 0);
        self.walk(chain, MOST_NODES);
        let (mut found, mut longest) = (0, 0);
        let mut idle: Option<u32> = None;
        for (node, start, agreed) in self.walked.iter().rev().copied() {
            let members = self.members(node);
            // Whoever was found deeper down is here too.
            if members.len() == found {
                continue;
            }
            let here = |hold: &Hold| count(start + agreed.min(usize::from(hold.len)));
            for id in members {
                let hold = &self.holds[*id];
                let length = &mut lengths[usize::from(hold.slot)];
                if *length == 0 {
                    *length = here(hold);
                    found += 1;
                    // What one that left had is not to be had any more.
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

    /// The holder has this chain now, and uses it if it is to be pinned, until [`PrefixIndex::release`].
    pub fn insert(&mut self, holder: Holder, chain: &[BlockHash], pin: bool) -> Inserted {
        if self.slot(holder).is_none() {
            return Inserted::NOTHING;
        }
        self.make_room(chain.len());
        let blocks = self.lay(holder.slot, chain);
        if blocks == 0 {
            return Inserted::NOTHING;
        }
        let slot = &mut self.slots[holder.slot()];
        let pinned = pin && slot.pinning < MOST_PINNING;
        slot.pinning += u16::from(pinned);
        let mut inserted = Inserted { blocks: count(blocks), pinned, ..Inserted::NOTHING };
        // The head last: it is to be given up last.
        for position in (0..self.path.len()).rev() {
            let id = self.path[position];
            self.unlink(id);
            let hold = &mut self.holds[id];
            // What is new has not been idle.
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

    /// A request that pinned this chain ended. To be called once per pin, with as many blocks as were inserted.
    pub fn release(&mut self, holder: Holder, chain: &[BlockHash]) {
        if self.slot(holder).is_none() {
            return;
        }
        let slot = &mut self.slots[holder.slot()];
        slot.pinning = slot.pinning.saturating_sub(1);
        // Since then others may have parted nodes, each of them within its own first ones: never many.
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

    /// The holder has blocks that no prompt will ask for (answers, tails that fill no block): they displace others
    /// until they are given up in their turn.
    pub fn add_unnamed(&mut self, holder: Holder, blocks: u32) {
        let mut left = blocks;
        while left > 0 && self.slot(holder).is_some() {
            let newest = self.slots[holder.slot()].idle.newest;
            let grows =
                newest != NONE && self.holds[newest].node() == NONE && self.holds[newest].len < u8::MAX;
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

    /// Blocks that the holder has, unnamed ones included.
    #[must_use]
    pub fn blocks(&self, holder: Holder) -> u32 {
        self.slot(holder).map_or(0, |slot| slot.blocks)
    }

    /// When what the holder would give up next was last used: now where all of it is in use, `None` where it has nothing.
    pub(crate) fn oldest_use(&self, holder: Holder) -> Option<Tick> {
        let slot = self.slot(holder)?;
        match slot.idle.oldest {
            NONE => (slot.blocks > 0).then_some(self.clock),
            oldest => Some(self.holds[oldest].used),
        }
    }

    /// The holder gives up what it has beyond `blocks`, as far as nobody uses it, in at most `steps` pieces.
    pub fn shrink(&mut self, holder: Holder, blocks: u32, steps: usize) {
        for _ in 0..steps {
            let over = self.blocks(holder).saturating_sub(blocks);
            if over == 0 || !self.give_up(holder.slot, over) {
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
            + self.crowds.bytes()
            + self.holds.bytes()
            + self.heap
    }

    fn slot(&self, holder: Holder) -> Option<&Slot> {
        let slot = self.slots.get(holder.slot())?;
        (slot.live && slot.generation == holder.generation).then_some(slot)
    }

    /// Takes up to `most` blocks from what the holder would give up first; false where it can give up nothing.
    fn give_up(&mut self, slot: u16, most: u32) -> bool {
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

    /// Makes room for a chain, at the cost of the largest holders. Every piece of work is bounded: the insert checks
    /// again what there is.
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
                self.give_up(slot, u32::MAX);
            }
        }
    }

    fn unlink(&mut self, id: u32) {
        let Hold { slot, pins, .. } = self.holds[id];
        let slot = &mut self.slots[usize::from(slot)];
        let order = if pins == 0 { &mut slot.idle } else { &mut slot.active };
        order.unlink(&mut self.holds, id);
    }

    /// As the most recently used.
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
