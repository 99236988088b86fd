//! The radix tree: lookup, insertion, splitting and removal of nodes.

use super::nodes::{Hold, Node};
use super::slab::{Array, NONE};
use super::{LONGEST_RUN, MAX_NODES, PrefixIndex};
use crate::ids::BlockHash;

/// Mean number of nodes per bucket when the index is full.
const LOAD: usize = 2;

/// The hash table from a node's first block hash to the node. Collisions are chained through the nodes. It is sized for the
/// node limit, so that it never grows, and empty until the first node.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// The first node's number plus one; 0 for none, so that zeroed memory is an empty table.
    buckets: Vec<u32>,
    multiplier: u64,
    offset: u64,
}

impl Table {
    pub(super) fn new(key: u64) -> Self {
        let mut rng = pointsman_random::Rng::seeded(key);
        Self { buckets: Vec::new(), multiplier: rng.next_u64() | 1, offset: rng.next_u64() }
    }

    fn size_for(nodes: usize) -> usize {
        (nodes / LOAD).next_power_of_two()
    }

    pub(super) fn bytes_for(nodes: usize) -> usize {
        Self::size_for(nodes) * size_of::<u32>()
    }

    pub(super) fn bytes(&self) -> usize {
        self.buckets.len() * size_of::<u32>()
    }

    /// Multiply-shift hashing with a secret odd factor (Dietzfelbinger et al. 1997).
    fn bucket(&self, hash: BlockHash) -> usize {
        let mixed = (hash.0 ^ self.offset).wrapping_mul(self.multiplier);
        (mixed >> 32) as usize & (self.buckets.len() - 1)
    }

    fn head(&self, bucket: usize) -> u32 {
        self.buckets[bucket].wrapping_sub(1)
    }

    fn set_head(&mut self, bucket: usize, node: u32) {
        self.buckets[bucket] = node.wrapping_add(1);
    }
}

impl PrefixIndex {
    /// The node that begins with this block.
    fn find(&self, first: BlockHash) -> Option<u32> {
        if self.table.buckets.is_empty() {
            return None;
        }
        let mut node = self.table.head(self.table.bucket(first));
        while node != NONE && self.nodes[node].first() != first {
            node = self.nodes[node].chain;
        }
        (node != NONE).then_some(node)
    }

    pub(super) fn is_in_table(&self, node: u32) -> bool {
        let follow = |node: u32| (node != NONE).then_some(node);
        let head = self.table.head(self.table.bucket(self.nodes[node].first()));
        std::iter::successors(follow(head), |node| follow(self.nodes[*node].chain)).any(|other| other == node)
    }

    pub(super) fn len(&self, node: u32) -> usize {
        match self.nodes[node].run {
            NONE => 1,
            run => self.runs[run].as_slice().len(),
        }
    }

    /// Number of leading blocks that the node and the chain have in common; the first is known to be equal.
    fn common(&self, node: u32, chain: &[BlockHash]) -> usize {
        let run = match self.nodes[node].run {
            NONE => return 1,
            run => self.runs[run].as_slice(),
        };
        let most = run.len().min(chain.len());
        if run[most - 1] == chain[most - 1] {
            return most;
        }
        // Hashes are chained: after the first difference all differ.
        let (mut common, mut different) = (1, most - 1);
        while common < different {
            let middle = common.midpoint(different);
            if run[middle] == chain[middle] { common = middle + 1 } else { different = middle }
        }
        common
    }

    /// The same, by comparing every block: where the hashes form no chain, it may be less.
    fn equal(&self, node: u32, chain: &[BlockHash]) -> usize {
        match self.nodes[node].run {
            NONE => 1,
            run => {
                self.runs[run].as_slice().iter().zip(chain).take_while(|(own, other)| own == other).count()
            }
        }
    }

    /// Fills `walked` with up to `most` nodes along the chain.
    pub(super) fn walk(&mut self, chain: &[BlockHash], most: usize) {
        let mut walked = std::mem::take(&mut self.walked);
        self.walk_into(chain, most, &mut walked);
        self.walked = walked;
    }

    pub(super) fn walk_into(&self, chain: &[BlockHash], most: usize, walked: &mut Vec<(u32, usize, usize)>) {
        walked.clear();
        let mut start = 0;
        while walked.len() < most
            && let Some(node) = chain.get(start).and_then(|first| self.find(*first))
        {
            let common = self.common(node, &chain[start..]);
            walked.push((node, start, common));
            start += common;
            if common < self.len(node) {
                return;
            }
        }
    }

    /// The holds on a node, in ascending order of slot.
    pub(super) fn members(&self, node: u32) -> &[u32] {
        let node = &self.nodes[node];
        match (node.list(), node.holds) {
            (Some(list), _) => self.lists[list].as_slice(),
            (None, NONE) => &[],
            (None, _) => std::slice::from_ref(&node.holds),
        }
    }

    fn position(&self, node: u32, slot: u16) -> Result<usize, usize> {
        self.members(node).binary_search_by_key(&slot, |id| self.holds[*id].slot)
    }

    pub(super) fn hold_of(&self, node: u32, slot: u16) -> Option<u32> {
        self.position(node, slot).ok().map(|position| self.members(node)[position])
    }

    /// Gives the chain to the holder, as far as there is room, and leaves its holds in `path`. Nodes are split where the
    /// chain ends, so that a request's blocks are always whole nodes. Returns the number of blocks given.
    ///
    /// A walk of the given blocks finds the same holds for as long as they are pinned, whatever happens to other chains,
    /// because the blocks are compared one by one and no two nodes begin with the same block. What would break this, which
    /// needs equal hashes of different prompts, is not given.
    pub(super) fn extend(&mut self, slot: u16, chain: &[BlockHash]) -> usize {
        self.path.clear();
        let mut start = 0;
        while self.path.len() < MAX_NODES
            && let Some(node) = chain.get(start).and_then(|first| self.find(*first))
        {
            // A chain that comes back to its own blocks.
            if !self.path.is_empty() && self.hold_of(node, slot).is_some_and(|id| self.path.contains(&id)) {
                return start;
            }
            let common = self.equal(node, &chain[start..]);
            if common < self.len(node) && !self.split(node, common) {
                return start;
            }
            let Some(id) = self.hold_all(node, slot, common) else { return start };
            self.path.push(id);
            start += common;
        }
        for run in chain[start..].chunks(LONGEST_RUN).take(MAX_NODES - self.path.len()) {
            if run.first().is_some_and(|first| self.find(*first).is_some()) {
                return start;
            }
            let Some(id) = self.add_node(slot, run) else { return start };
            self.path.push(id);
            start += run.len();
        }
        start
    }

    /// Gives all of a node's blocks to the holder.
    fn hold_all(&mut self, node: u32, slot: u16, len: usize) -> Option<u32> {
        let len = byte(len);
        match self.position(node, slot) {
            Ok(position) => {
                let id = self.members(node)[position];
                let more = len - self.holds[id].len;
                self.holds[id].len = len;
                self.slots[usize::from(slot)].blocks += u32::from(more);
                Some(id)
            }
            Err(position) => {
                let array = size_of::<u32>() * (self.members(node).len() + 1);
                if self.holds.len() >= self.limits.holds || self.heap + array > self.limits.heap {
                    return None;
                }
                let id = self.holds.add(Hold::new(slot, node, len, self.clock));
                let mut members = self.members(node).to_vec();
                members.insert(position, id);
                self.set_members(node, &members);
                self.slots[usize::from(slot)].blocks += u32::from(len);
                self.link(id);
                Some(id)
            }
        }
    }

    fn add_node(&mut self, slot: u16, blocks: &[BlockHash]) -> Option<u32> {
        let first = *blocks.first()?;
        let heap = if blocks.len() > 1 { size_of_val(blocks) } else { 0 };
        if self.nodes.len() >= self.limits.nodes
            || self.holds.len() >= self.limits.holds
            || self.heap + heap + size_of::<u32>() > self.limits.heap
        {
            return None;
        }
        let run = self.add_run(blocks);
        let node = self.add_to_table(first, run);
        self.hold_all(node, slot, blocks.len())
    }

    fn add_run(&mut self, blocks: &[BlockHash]) -> u32 {
        if blocks.len() < 2 {
            return NONE;
        }
        self.heap += size_of_val(blocks);
        self.runs.add(Array::Used(blocks.into()))
    }

    fn remove_run(&mut self, run: u32) {
        if run != NONE {
            self.heap -= self.runs[run].heap();
            self.runs.remove(run);
        }
    }

    fn add_to_table(&mut self, first: BlockHash, run: u32) -> u32 {
        if self.table.buckets.is_empty() {
            self.table.buckets = vec![0; Table::size_for(self.limits.nodes)];
        }
        let bucket = self.table.bucket(first);
        let node = self.nodes.add(Node::new(first, self.table.head(bucket), run));
        self.table.set_head(bucket, node);
        node
    }

    /// Splits a node: it keeps its first `at` blocks, and a new node gets the others. False where there is no room, or
    /// another node with the first of the others.
    fn split(&mut self, node: u32, at: usize) -> bool {
        let cut = byte(at);
        let members = self.members(node).to_vec();
        let beyond = members.iter().filter(|id| self.holds[**id].len > cut).count();
        if self.nodes.len() >= self.limits.nodes
            || self.holds.len() + beyond > self.limits.holds
            || self.heap + size_of::<u32>() * beyond > self.limits.heap
        {
            return false;
        }
        let run = self.nodes[node].run;
        let first_of_rest = self.runs[run].as_slice().get(at).copied();
        if first_of_rest.is_none_or(|first| self.find(first).is_some()) {
            return false;
        }
        let mut kept = self.runs[run].as_slice().to_vec();
        let tail = kept.split_off(at);
        self.remove_run(run);
        self.nodes[node].run = self.add_run(&kept);
        let Some(first) = tail.first() else { return false };
        let run = self.add_run(&tail);
        let rest = self.add_to_table(*first, run);
        let mut tails = Vec::with_capacity(beyond);
        for id in members {
            let Hold { slot, len, pins, used, .. } = self.holds[id];
            if len <= cut {
                continue;
            }
            self.holds[id].len = cut;
            let tail = self.holds.add(Hold::new(slot, rest, len - cut, used));
            self.holds[tail].pins = pins;
            let slot = &mut self.slots[usize::from(slot)];
            let order = if pins == 0 { &mut slot.idle } else { &mut slot.active };
            order.push_behind(&mut self.holds, tail, id);
            tails.push(tail);
        }
        self.set_members(rest, &tails);
        true
    }

    fn set_members(&mut self, node: u32, members: &[u32]) {
        let list = self.nodes[node].list();
        if let Some(list) = list {
            self.heap -= self.lists[list].heap();
        }
        self.nodes[node].holds = match (members, list) {
            ([] | [_], list) => {
                if let Some(list) = list {
                    self.lists.remove(list);
                }
                members.first().copied().unwrap_or(NONE)
            }
            (_, Some(list)) => {
                self.heap += size_of_val(members);
                self.lists[list] = Array::Used(members.into());
                list | Node::LIST
            }
            (_, None) => {
                self.heap += size_of_val(members);
                self.lists.add(Array::Used(members.into())) | Node::LIST
            }
        };
    }

    pub(super) fn remove_hold(&mut self, id: u32) {
        let (Hold { slot, len, .. }, node) = (self.holds[id], self.holds[id].node.get());
        self.unlink(id);
        self.slots[usize::from(slot)].blocks -= u32::from(len);
        self.holds.remove(id);
        if node == NONE {
            return;
        }
        let members: Vec<u32> = self.members(node).iter().copied().filter(|member| *member != id).collect();
        self.set_members(node, &members);
        if members.is_empty() {
            self.remove_node(node);
        } else if usize::from(len) == self.len(node) {
            self.trim(node);
        }
    }

    /// Shortens a hold to its first `len` blocks, at least one.
    pub(super) fn shorten(&mut self, id: u32, len: u8) {
        let (Hold { slot, len: before, .. }, node) = (self.holds[id], self.holds[id].node.get());
        self.holds[id].len = len;
        self.slots[usize::from(slot)].blocks -= u32::from(before - len);
        if node != NONE && usize::from(before) == self.len(node) {
            self.trim(node);
        }
    }

    /// Removes the node's last blocks if no holder is left for them.
    fn trim(&mut self, node: u32) {
        let longest = self.members(node).iter().map(|id| usize::from(self.holds[*id].len)).max().unwrap_or(0);
        let run = self.nodes[node].run;
        if run == NONE || longest == 0 || longest >= self.len(node) {
            return;
        }
        let kept = self.runs[run].as_slice()[..longest].to_vec();
        self.remove_run(run);
        self.nodes[node].run = self.add_run(&kept);
    }

    fn remove_node(&mut self, node: u32) {
        let Node { chain: next, run, .. } = self.nodes[node];
        let bucket = self.table.bucket(self.nodes[node].first());
        let mut before = self.table.head(bucket);
        if before == node {
            self.table.set_head(bucket, next);
        } else {
            while self.nodes[before].chain != node {
                before = self.nodes[before].chain;
            }
            self.nodes[before].chain = next;
        }
        self.remove_run(run);
        self.nodes.remove(node);
    }
}

/// A number of blocks within one node.
fn byte(blocks: usize) -> u8 {
    u8::try_from(blocks).unwrap_or(u8::MAX)
}
