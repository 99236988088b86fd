//! Nodes: found, parted, added and removed.

use super::cells::{Hold, Node};
use super::slab::{Array, NONE};
use super::{LONGEST_RUN, MOST_NODES, PrefixIndex};
use crate::ids::BlockHash;

/// Nodes per bucket when the index is full.
const LOAD: usize = 2;

/// Where a node is found by its first hash: lists of nodes, as many as the node limit asks for, so that it never has
/// to grow. Empty until the first node.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// A node's number plus one; 0 is the end, so that untouched memory is an empty table.
    buckets: Vec<u32>,
    multiplier: u64,
    offset: u64,
}

impl Table {
    pub(super) fn new(key: u64) -> Self {
        let mut rng = crate::rng::Rng::seeded(key);
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

    /// Multiply and shift with a secret odd factor (Dietzfelbinger et al. 1997).
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
    /// The node that starts with this block.
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

    /// Whether the table leads to the node.
    pub(super) fn is_entered(&self, node: u32) -> bool {
        let follow = |node: u32| (node != NONE).then_some(node);
        let head = self.table.head(self.table.bucket(self.nodes[node].first()));
        std::iter::successors(follow(head), |node| follow(self.nodes[*node].chain)).any(|other| other == node)
    }

    /// How many blocks the node has.
    pub(super) fn len(&self, node: u32) -> usize {
        match self.nodes[node].run {
            NONE => 1,
            run => self.runs[run].as_slice().len(),
        }
    }

    /// How many of the node's blocks the chain begins with, where the first one agrees.
    fn agreed(&self, node: u32, chain: &[BlockHash]) -> usize {
        let run = match self.nodes[node].run {
            NONE => return 1,
            run => self.runs[run].as_slice(),
        };
        let most = run.len().min(chain.len());
        if run[most - 1] == chain[most - 1] {
            return most;
        }
        // Where two chains part, they stay apart.
        let (mut agreed, mut apart) = (1, most - 1);
        while agreed < apart {
            let middle = agreed.midpoint(apart);
            if run[middle] == chain[middle] { agreed = middle + 1 } else { apart = middle }
        }
        agreed
    }

    /// Notes up to `most` nodes along the chain.
    pub(super) fn walk(&mut self, chain: &[BlockHash], most: usize) {
        self.walked.clear();
        let mut start = 0;
        while self.walked.len() < most
            && let Some(node) = chain.get(start).and_then(|first| self.find(*first))
        {
            let agreed = self.agreed(node, &chain[start..]);
            self.walked.push((node, start, agreed));
            start += agreed;
            if agreed < self.len(node) {
                return;
            }
        }
    }

    /// The holds on a node, in ascending order of slot.
    pub(super) fn members(&self, node: u32) -> &[u32] {
        let node = &self.nodes[node];
        match (node.crowd(), node.holds) {
            (Some(crowd), _) => self.crowds[crowd].as_slice(),
            (None, NONE) => &[],
            (None, _) => std::slice::from_ref(&node.holds),
        }
    }

    fn position(&self, node: u32, slot: u16) -> Result<usize, usize> {
        self.members(node).binary_search_by_key(&slot, |id| self.holds[*id].slot)
    }

    /// A holder's hold on a node.
    pub(super) fn hold_of(&self, node: u32, slot: u16) -> Option<u32> {
        self.position(node, slot).ok().map(|position| self.members(node)[position])
    }

    /// Makes the chain the holder's, as far as there is room, and leaves its holds in `path`. Nodes end where the chain
    /// ends, so that a request's blocks are always whole nodes. Returns how many blocks the holder has now.
    pub(super) fn lay(&mut self, slot: u16, chain: &[BlockHash]) -> usize {
        self.path.clear();
        let mut start = 0;
        while self.path.len() < MOST_NODES
            && let Some(node) = chain.get(start).and_then(|first| self.find(*first))
        {
            let agreed = self.agreed(node, &chain[start..]);
            if agreed < self.len(node) && !self.part(node, agreed) {
                return start;
            }
            let Some(id) = self.hold_whole(node, slot, agreed) else { return start };
            self.path.push(id);
            start += agreed;
        }
        for run in chain[start..].chunks(LONGEST_RUN).take(MOST_NODES - self.path.len()) {
            let Some(id) = self.add_node(slot, run) else { return start };
            self.path.push(id);
            start += run.len();
        }
        start
    }

    /// The holder has all of a node's blocks.
    fn hold_whole(&mut self, node: u32, slot: u16, len: usize) -> Option<u32> {
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

    /// A node of its own for blocks that nobody had.
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
        let node = self.enter(first, run);
        self.hold_whole(node, slot, blocks.len())
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

    /// A node in the table.
    fn enter(&mut self, first: BlockHash, run: u32) -> u32 {
        if self.table.buckets.is_empty() {
            self.table.buckets = vec![0; Table::size_for(self.limits.nodes)];
        }
        let bucket = self.table.bucket(first);
        let node = self.nodes.add(Node::new(first, self.table.head(bucket), run));
        self.table.set_head(bucket, node);
        node
    }

    /// Parts a node behind its first `at` blocks: it keeps those, and a new node gets the others. False where there is
    /// no room.
    fn part(&mut self, node: u32, at: usize) -> bool {
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
        let (head, tail) = {
            let (head, tail) = self.runs[run].as_slice().split_at(at);
            (head.to_vec(), tail.to_vec())
        };
        self.remove_run(run);
        self.nodes[node].run = self.add_run(&head);
        let Some(first) = tail.first() else { return false };
        let run = self.add_run(&tail);
        let rest = self.enter(*first, run);
        let mut parted = Vec::with_capacity(beyond);
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
            parted.push(tail);
        }
        self.set_members(rest, &parted);
        true
    }

    fn set_members(&mut self, node: u32, members: &[u32]) {
        let crowd = self.nodes[node].crowd();
        if let Some(crowd) = crowd {
            self.heap -= self.crowds[crowd].heap();
        }
        self.nodes[node].holds = match (members, crowd) {
            ([] | [_], crowd) => {
                if let Some(crowd) = crowd {
                    self.crowds.remove(crowd);
                }
                members.first().copied().unwrap_or(NONE)
            }
            (_, Some(crowd)) => {
                self.heap += size_of_val(members);
                self.crowds[crowd] = Array::Used(members.into());
                crowd | Node::CROWD
            }
            (_, None) => {
                self.heap += size_of_val(members);
                self.crowds.add(Array::Used(members.into())) | Node::CROWD
            }
        };
    }

    /// The holder gives up all of a hold.
    pub(super) fn remove_hold(&mut self, id: u32) {
        let (Hold { slot, len, .. }, node) = (self.holds[id], self.holds[id].node());
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
            self.fit(node);
        }
    }

    /// The holder gives up the last blocks of a hold and keeps `len`, at least one.
    pub(super) fn shorten(&mut self, id: u32, len: u8) {
        let (Hold { slot, len: before, .. }, node) = (self.holds[id], self.holds[id].node());
        self.holds[id].len = len;
        self.slots[usize::from(slot)].blocks -= u32::from(before - len);
        if node != NONE && usize::from(before) == self.len(node) {
            self.fit(node);
        }
    }

    /// Drops blocks that nobody holds any more.
    fn fit(&mut self, node: u32) {
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

/// A number of blocks in one node.
fn byte(blocks: usize) -> u8 {
    u8::try_from(blocks).unwrap_or(u8::MAX)
}
