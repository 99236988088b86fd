//! The LoRA adapters that an engine has loaded.
//!
//! An engine's gauge lists only adapters with a started request, so residency is modelled: an LRU list of the engine's
//! adapter slots, updated by dispatches and corrected by the gauge, which shows the slots and some resident adapters.

use crate::endpoint::AdapterReport;
use crate::ids::ModelKey;

/// Slots of an engine that does not report their number.
const DEFAULT_SLOTS: usize = 8;
/// Upper bound of the slots.
const MAX_SLOTS: usize = 1_024;

/// The adapter slots of one endpoint.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slots {
    /// Least recently used first.
    slots: Vec<Slot>,
    /// The number of slots that the engine reported.
    reported: Option<usize>,
    /// Whether requests wait for a slot, by the engine's gauge.
    deferring: bool,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    adapter: ModelKey,
    /// This router's requests for it in flight.
    in_flight: u32,
    /// Whether the latest gauge lists it.
    listed: bool,
}

impl Slot {
    const fn busy(&self) -> bool {
        self.in_flight > 0 || self.listed
    }
}

/// The state of an adapter at an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Residency {
    /// It is loaded or being loaded.
    Resident,
    /// It must be loaded, and there is a free slot.
    Missing,
    /// It must be loaded in place of one that no request uses.
    MissingAndFull,
    /// It must be loaded, and every slot is in use.
    MissingAndBusy,
}

impl Slots {
    pub(crate) fn residency(&self, adapter: ModelKey) -> Residency {
        match self.slots.iter().find(|slot| slot.adapter == adapter) {
            // Where more adapters have requests than the engine has slots, the latest is not loaded yet.
            Some(slot) if !self.deferring || slot.listed => Residency::Resident,
            Some(_) if self.busy() <= self.capacity() => Residency::Resident,
            Some(_) => Residency::MissingAndBusy,
            None if self.deferring || self.busy() >= self.capacity() => Residency::MissingAndBusy,
            None if self.slots.len() >= self.capacity() => Residency::MissingAndFull,
            None => Residency::Missing,
        }
    }

    /// Counts a dispatched request for `adapter`.
    pub(crate) fn begin(&mut self, adapter: ModelKey) {
        let mut slot = self.take(adapter);
        slot.in_flight += 1;
        self.slots.push(slot);
        self.shrink();
    }

    /// Counts a request for `adapter` out.
    pub(crate) fn end(&mut self, adapter: ModelKey) {
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.adapter == adapter) {
            slot.in_flight = slot.in_flight.saturating_sub(1);
        }
        self.shrink();
    }

    pub(crate) fn reported(&mut self, report: &AdapterReport, deferred: Option<u32>) {
        let slots = usize::try_from(report.max_adapters).unwrap_or(MAX_SLOTS);
        self.reported = (slots > 0).then_some(slots.min(MAX_SLOTS));
        self.deferring = deferred.is_some_and(|waiting| waiting > 0);
        for slot in &mut self.slots {
            slot.listed = false;
        }
        for adapter in report.active.iter().take(self.capacity()) {
            let mut slot = self.take(*adapter);
            slot.listed = true;
            self.slots.push(slot);
        }
        self.shrink();
    }

    /// The adapters assumed to be resident, most recently used last.
    pub(crate) fn resident(&self) -> impl Iterator<Item = ModelKey> {
        self.slots.iter().map(|slot| slot.adapter)
    }

    /// Requests in flight for adapters, for the invariants.
    pub(crate) fn in_flight(&self) -> u32 {
        self.slots.iter().map(|slot| slot.in_flight).sum()
    }

    /// Number of the engine's slots.
    pub(crate) fn capacity(&self) -> usize {
        self.reported.unwrap_or(DEFAULT_SLOTS)
    }

    fn busy(&self) -> usize {
        self.slots.iter().filter(|slot| slot.busy()).count()
    }

    fn take(&mut self, adapter: ModelKey) -> Slot {
        match self.slots.iter().position(|slot| slot.adapter == adapter) {
            Some(position) => self.slots.remove(position),
            None => Slot { adapter, in_flight: 0, listed: false },
        }
    }

    /// Removes the least recently used idle adapters, down to the number of slots. Used ones stay, loaded or waiting.
    fn shrink(&mut self) {
        let mut surplus = self.slots.len().saturating_sub(self.capacity());
        self.slots.retain(|slot| {
            let drop = surplus > 0 && !slot.busy();
            surplus -= usize::from(drop);
            !drop
        });
    }
}

/// The known adapters; any other target is a base model, which needs no slot.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownAdapters(Vec<ModelKey>);

impl KnownAdapters {
    /// Upper bound: further adapters are placed like base models.
    const MAX: usize = 16_384;

    /// The target, where it is an adapter.
    pub(crate) fn adapter(&self, target: Option<ModelKey>) -> Option<ModelKey> {
        target.filter(|target| self.0.binary_search(target).is_ok())
    }

    pub(crate) fn extend(&mut self, adapters: &[ModelKey]) {
        for adapter in adapters {
            if let Err(position) = self.0.binary_search(adapter)
                && self.0.len() < Self::MAX
            {
                self.0.insert(position, *adapter);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ModelKey = ModelKey::of("a");
    const B: ModelKey = ModelKey::of("b");
    const C: ModelKey = ModelKey::of("c");

    fn slots(max_adapters: u32, active: &[ModelKey], deferred: u32) -> Slots {
        let mut slots = Slots::default();
        slots.reported(&AdapterReport { max_adapters, active: active.to_vec() }, Some(deferred));
        slots
    }

    #[test]
    fn the_least_recently_used_idle_adapter_is_replaced() {
        let mut slots = slots(2, &[], 0);
        for adapter in [A, B, A, C] {
            slots.begin(adapter);
            slots.end(adapter);
        }
        assert_eq!(slots.residency(A), Residency::Resident);
        assert_eq!(slots.residency(B), Residency::MissingAndFull);
        assert_eq!(slots.residency(C), Residency::Resident);
    }

    #[test]
    fn an_adapter_with_requests_keeps_its_slot() {
        let mut slots = slots(1, &[], 0);
        slots.begin(A);
        assert_eq!(slots.residency(B), Residency::MissingAndBusy);
        slots.begin(B);
        slots.end(B);
        assert_eq!(slots.residency(A), Residency::Resident);
        assert_eq!(slots.residency(B), Residency::MissingAndBusy);
    }

    #[test]
    fn the_gauge_adds_adapters_that_others_loaded() {
        assert_eq!(slots(4, &[A], 0).residency(A), Residency::Resident);
        assert_eq!(slots(4, &[A], 0).residency(B), Residency::Missing);
        assert_eq!(slots(1, &[A], 0).residency(B), Residency::MissingAndBusy);
    }

    #[test]
    fn deferred_requests_mean_that_slots_are_in_use() {
        assert_eq!(slots(4, &[A], 2).residency(B), Residency::MissingAndBusy);
        assert_eq!(slots(4, &[A], 2).residency(A), Residency::Resident);
    }

    #[test]
    fn absurd_counts_are_bounded() {
        let mut slots = slots(u32::MAX, &[], 0);
        for number in 0..5_000 {
            slots.begin(ModelKey(number));
            slots.end(ModelKey(number));
        }
        assert_eq!(slots.resident().count(), MAX_SLOTS);
    }
}
