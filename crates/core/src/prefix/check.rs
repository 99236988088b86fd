//! Invariants of the index.

use std::collections::BTreeSet;

use super::slab::NONE;
use super::{Holder, PrefixIndex};

impl PrefixIndex {
    /// Compares every list and sum with its elements. `holders` are all that joined and did not leave.
    ///
    /// # Errors
    ///
    /// The first broken invariant found.
    pub(crate) fn check(&self, holders: &[Holder]) -> Result<(), &'static str> {
        let mut live = 0;
        for slot in &self.slots {
            live += usize::from(slot.live);
        }
        if live != holders.len() || holders.iter().any(|holder| self.slot(*holder).is_none()) {
            return Err("the holders are not those of the endpoints");
        }
        if self.slots.len() != live + self.leaving.len() + self.free_slots.len() {
            return Err("a slot is lost");
        }
        let (mut listed, mut held) = (0, BTreeSet::new());
        for number in 0..self.slots.len() {
            listed += self.check_slot(number, &mut held)?;
        }
        if listed != self.holds.len() {
            return Err("a hold is in no list");
        }
        self.check_nodes(&held)?;
        let limits = &self.limits;
        if self.nodes.len() > limits.nodes || self.holds.len() > limits.holds || self.heap > limits.heap {
            return Err("more than the budget allows");
        }
        Ok(())
    }

    /// Checks the holds of a slot. Returns their number and adds their nodes to `held`.
    fn check_slot(&self, number: usize, held: &mut BTreeSet<u32>) -> Result<usize, &'static str> {
        let slot = &self.slots[number];
        let (mut blocks, mut holds) = (0, 0);
        for (order, pinned) in [(slot.idle, false), (slot.active, true)] {
            let (mut id, mut newer) = (order.newest, NONE);
            while id != NONE {
                let hold = &self.holds[id];
                if usize::from(hold.slot) != number || hold.newer() != newer || (hold.pins > 0) != pinned {
                    return Err("a hold is in the wrong list");
                }
                if hold.len == 0 {
                    return Err("an empty hold");
                }
                if hold.node() == NONE && pinned {
                    return Err("unindexed blocks in use");
                }
                if hold.node() != NONE {
                    if self.hold_of(hold.node(), hold.slot) != Some(id) {
                        return Err("a node does not list its holder");
                    }
                    held.insert(hold.node());
                }
                blocks += u32::from(hold.len);
                holds += 1;
                (newer, id) = (id, hold.older());
            }
            if order.oldest != newer {
                return Err("a list does not end with its oldest hold");
            }
        }
        if blocks != slot.blocks {
            return Err("a holder's blocks are miscounted");
        }
        if !slot.live && holds > 0 && !self.leaving.iter().any(|leaving| usize::from(*leaving) == number) {
            return Err("a removed holder is never swept");
        }
        Ok(holds)
    }

    fn check_nodes(&self, held: &BTreeSet<u32>) -> Result<(), &'static str> {
        let (mut runs, mut lists, mut heap) = (0, 0, 0);
        for node in held.iter().copied() {
            if !self.is_in_table(node) {
                return Err("a node is not in the table");
            }
            let cell = &self.nodes[node];
            if cell.run != NONE {
                runs += 1;
                heap += self.runs[cell.run].heap();
                if self.runs[cell.run].as_slice().first() != Some(&cell.first()) {
                    return Err("a node does not start with its hash");
                }
            }
            if let Some(list) = cell.list() {
                lists += 1;
                heap += self.lists[list].heap();
            }
            let members = self.members(node);
            if !members.is_sorted_by_key(|id| self.holds[*id].slot) {
                return Err("a node's holders are out of order");
            }
            if members.iter().any(|id| self.holds[*id].node() != node) {
                return Err("a hold is of another node");
            }
            let longest = members.iter().map(|id| usize::from(self.holds[*id].len)).max();
            if longest != Some(self.len(node)) {
                return Err("a node has blocks without a holder");
            }
        }
        if (held.len(), runs, lists) != (self.nodes.len(), self.runs.len(), self.lists.len()) {
            return Err("a node or an array is unreachable");
        }
        if heap != self.heap {
            return Err("bytes are miscounted");
        }
        Ok(())
    }
}
