//! Invariants of the index.

use std::collections::{BTreeMap, BTreeSet};

use super::slab::NONE;
use super::{Holder, PrefixIndex};
use crate::ids::BlockHash;

type Checked<T> = Result<T, &'static str>;

fn ensure(holds: bool, broken: &'static str) -> Checked<()> {
    if holds { Ok(()) } else { Err(broken) }
}

impl PrefixIndex {
    /// Compares every list and sum with its elements. `holders` are all that joined and did not leave.
    ///
    /// # Errors
    ///
    /// The first broken invariant found.
    pub(crate) fn check(&self, holders: &[Holder]) -> Checked<()> {
        let live = self.slots.iter().filter(|slot| slot.live).count();
        let known = holders.iter().all(|holder| self.slot(*holder).is_some());
        ensure(live == holders.len() && known, "the holders are not those of the endpoints")?;
        let slots = live + self.leaving.len() + self.free_slots.len();
        ensure(self.slots.len() == slots, "a slot is lost")?;
        let (mut listed, mut held) = (0, BTreeSet::new());
        for number in 0..self.slots.len() {
            listed += self.check_slot(number, &mut held)?;
        }
        ensure(listed == self.holds.len(), "a hold is in no list")?;
        self.check_nodes(&held)?;
        let limits = &self.limits;
        let within_limits = self.nodes.len() <= limits.nodes && self.holds.len() <= limits.holds;
        ensure(within_limits && self.heap <= limits.heap, "more than the budget allows")
    }

    /// Compares the pins of every hold with the requests that use it: `pinned` are the blocks of each request in flight that
    /// pinned some, with their holder.
    ///
    /// # Errors
    ///
    /// A hold has more or fewer pins than requests use it.
    pub(crate) fn check_pins<'a>(
        &self,
        pinned: impl Iterator<Item = (Holder, &'a [BlockHash])>,
    ) -> Checked<()> {
        let mut uses: BTreeMap<u32, u32> = BTreeMap::new();
        let mut requests = vec![0; self.slots.len()];
        let mut walked = Vec::new();
        for (holder, chain) in pinned.filter(|(holder, _)| self.slot(*holder).is_some()) {
            requests[holder.slot()] += 1;
            self.walk_into(chain, usize::MAX, &mut walked);
            let blocks = walked.last().map_or(0, |(_, start, common)| start + common);
            ensure(blocks == chain.len(), "blocks of a request are not in the index")?;
            for (node, _, _) in &walked {
                let hold = self.hold_of(*node, holder.slot);
                let hold = hold.ok_or("an endpoint lost blocks that a request uses")?;
                *uses.entry(hold).or_default() += 1;
            }
        }
        for (slot, requests) in self.slots.iter().zip(requests).filter(|(slot, _)| slot.live) {
            ensure(slot.pinning == requests, "the requests that pin blocks are miscounted")?;
            let mut id = slot.active.newest;
            while id != NONE {
                let hold = &self.holds[id];
                let used = uses.remove(&id).unwrap_or_default();
                ensure(u32::from(hold.pins) == used, "blocks are pinned more often than used")?;
                id = hold.older.get();
            }
        }
        ensure(uses.is_empty(), "blocks that a request uses are not pinned")
    }

    /// Checks the holds of a slot. Returns their number and adds their nodes to `held`.
    fn check_slot(&self, number: usize, held: &mut BTreeSet<u32>) -> Checked<usize> {
        let slot = &self.slots[number];
        let (mut blocks, mut holds) = (0, 0);
        for (order, pinned) in [(slot.idle, false), (slot.active, true)] {
            let (mut id, mut newer) = (order.newest, NONE);
            while id != NONE {
                let hold = &self.holds[id];
                let node = hold.node.get();
                let listed_here = usize::from(hold.slot) == number && hold.newer.get() == newer;
                ensure(listed_here && (hold.pins > 0) == pinned, "a hold is in the wrong list")?;
                ensure(hold.len > 0, "an empty hold")?;
                if node == NONE {
                    ensure(!pinned, "unindexed blocks in use")?;
                } else {
                    let listed = self.hold_of(node, hold.slot) == Some(id);
                    ensure(listed, "a node does not list its holder")?;
                    held.insert(node);
                }
                blocks += u32::from(hold.len);
                holds += 1;
                (newer, id) = (id, hold.older.get());
            }
            ensure(order.oldest == newer, "a list does not end with its oldest hold")?;
        }
        ensure(blocks == slot.blocks, "a holder's blocks are miscounted")?;
        let leaving = || self.leaving.iter().any(|leaving| usize::from(*leaving) == number);
        ensure(slot.live || holds == 0 || leaving(), "a removed holder is never swept")?;
        Ok(holds)
    }

    fn check_nodes(&self, held: &BTreeSet<u32>) -> Checked<()> {
        let (mut runs, mut lists, mut heap) = (0, 0, 0);
        for node in held.iter().copied() {
            ensure(self.is_in_table(node), "a node is not in the table")?;
            let cell = &self.nodes[node];
            if cell.run != NONE {
                runs += 1;
                heap += self.runs[cell.run].heap();
                let first = self.runs[cell.run].as_slice().first();
                ensure(first == Some(&cell.first()), "a node does not start with its hash")?;
            }
            if let Some(list) = cell.list() {
                lists += 1;
                heap += self.lists[list].heap();
            }
            let members = self.members(node);
            let sorted = members.is_sorted_by_key(|id| self.holds[*id].slot);
            ensure(sorted, "a node's holders are out of order")?;
            let own = members.iter().all(|id| self.holds[*id].node.get() == node);
            ensure(own, "a hold is of another node")?;
            let longest = members.iter().map(|id| usize::from(self.holds[*id].len)).max();
            ensure(longest == Some(self.len(node)), "a node has blocks without a holder")?;
        }
        let reachable = (held.len(), runs, lists);
        let allocated = (self.nodes.len(), self.runs.len(), self.lists.len());
        ensure(reachable == allocated, "a node or an array is unreachable")?;
        ensure(heap == self.heap, "bytes are miscounted")
    }
}
