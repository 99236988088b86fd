//! Adapter slots on the device.

/// An adapter, as the driver numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AdapterId(pub u32);

/// A slot that holds an adapter.
#[derive(Clone, Copy, Debug)]
struct Slot {
    adapter: AdapterId,
    /// Sequences of it that run.
    running: u32,
    /// When it was last started, in starts.
    used: u64,
}

/// The adapters on the device: as many as a batch may use; the least recently used idle one makes room.
///
/// vLLM keeps them the same way: a request whose adapter would be one more than `max_loras` in the batch is passed
/// over, without holding up those behind it.
#[derive(Clone, Debug)]
pub(super) struct AdapterSlots {
    slots: Vec<Slot>,
    capacity: usize,
    starts: u64,
}

impl AdapterSlots {
    pub(super) fn new(capacity: u32) -> Self {
        Self { slots: Vec::new(), capacity: capacity as usize, starts: 0 }
    }

    /// Whether a sequence of this adapter may join the batch now.
    pub(super) fn admits(&self, adapter: AdapterId) -> bool {
        let busy = |slot: &&Slot| slot.running > 0;
        self.slots.iter().filter(busy).count() < self.capacity
            || self.slots.iter().filter(busy).any(|slot| slot.adapter == adapter)
    }

    /// A sequence of this adapter joins the batch; true when the adapter had to be loaded for it.
    ///
    /// Call only where [`AdapterSlots::admits`]: otherwise no idle slot exists to give up.
    pub(super) fn start(&mut self, adapter: AdapterId) -> bool {
        self.starts += 1;
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.adapter == adapter) {
            slot.running += 1;
            slot.used = self.starts;
            return false;
        }
        if self.slots.len() >= self.capacity {
            let idle = self.slots.iter().enumerate().filter(|(_, slot)| slot.running == 0);
            if let Some((oldest, _)) = idle.min_by_key(|(_, slot)| slot.used) {
                self.slots.swap_remove(oldest);
            }
        }
        self.slots.push(Slot { adapter, running: 1, used: self.starts });
        true
    }

    /// A sequence of this adapter left the batch.
    pub(super) fn stop(&mut self, adapter: AdapterId) {
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.adapter == adapter) {
            slot.running = slot.running.saturating_sub(1);
        }
    }

    /// Forgets an adapter that nobody runs, so that its next use loads it again.
    pub(super) fn unload(&mut self, adapter: AdapterId) {
        self.slots.retain(|slot| slot.adapter != adapter || slot.running > 0);
    }

    /// Adapters with sequences in the batch, in ascending order.
    pub(super) fn running(&self) -> Vec<AdapterId> {
        let mut running: Vec<_> =
            self.slots.iter().filter(|slot| slot.running > 0).map(|slot| slot.adapter).collect();
        running.sort_unstable();
        running
    }
}
