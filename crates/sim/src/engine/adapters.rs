//! LoRA adapter slots.

/// An adapter; the driver assigns the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AdapterId(pub u32);

/// An adapter on the device.
#[derive(Clone, Copy, Debug)]
struct Slot {
    adapter: AdapterId,
    /// Number of running sequences.
    running: u32,
    /// Ordinal of its last use.
    used: u64,
}

/// The adapters on the device, at most `max_loras`; the least recently used idle one is evicted.
///
/// As in vLLM, a request whose adapter would exceed `max_loras` in the batch is passed over and does not block those
/// behind it.
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

    /// A sequence of this adapter joins the batch. Returns whether the adapter had to be loaded. Requires
    /// [`AdapterSlots::admits`]: otherwise there is no idle slot to evict.
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

    /// Unloads an adapter without running sequences.
    pub(super) fn unload(&mut self, adapter: AdapterId) {
        self.slots.retain(|slot| slot.adapter != adapter || slot.running > 0);
    }

    /// Adapters of running sequences, in ascending order.
    pub(super) fn running(&self) -> Vec<AdapterId> {
        let mut running: Vec<_> =
            self.slots.iter().filter(|slot| slot.running > 0).map(|slot| slot.adapter).collect();
        running.sort_unstable();
        running
    }
}
