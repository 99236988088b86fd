//! A metric with labels, in the order of its labels so that the page has a stable order.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Series by label set. `prometheus_client`'s own family has a random order and cannot drop the series of one pool.
pub(super) struct Family<L, M> {
    series: Arc<RwLock<BTreeMap<L, M>>>,
    make: fn() -> M,
}

impl<L, M> Clone for Family<L, M> {
    fn clone(&self) -> Self {
        Self { series: Arc::clone(&self.series), make: self.make }
    }
}

impl<L, M> fmt::Debug for Family<L, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Family").field("series", &read(&self.series).len()).finish_non_exhaustive()
    }
}

impl<L, M: Default> Default for Family<L, M> {
    fn default() -> Self {
        Self::new(M::default)
    }
}

impl<L, M> Family<L, M> {
    pub(super) fn new(make: fn() -> M) -> Self {
        Self { series: Arc::default(), make }
    }
}

impl<L: Ord + Clone, M: Clone> Family<L, M> {
    /// The series with these labels, created at the first call. Callers bound the label sets.
    pub(super) fn get(&self, labels: &L) -> M {
        if let Some(series) = read(&self.series).get(labels) {
            return series.clone();
        }
        write(&self.series).entry(labels.clone()).or_insert_with(self.make).clone()
    }

    /// The same, but no series is created once `owner` is gone: what still refers to it must not bring back what was dropped
    /// with it.
    pub(super) fn get_of(&self, labels: &L, owner: &Presence) -> Option<M> {
        if let Some(series) = read(&self.series).get(labels) {
            return Some(series.clone());
        }
        let mut series = write(&self.series);
        // Under the lock: the owner leaves before its series are dropped.
        (!owner.is_gone()).then(|| series.entry(labels.clone()).or_insert_with(self.make).clone())
    }

    /// Drops the series whose labels do not satisfy `keep`.
    pub(super) fn retain(&self, keep: impl Fn(&L) -> bool) {
        write(&self.series).retain(|labels, _| keep(labels));
    }
}

impl<L, M> EncodeMetric for Family<L, M>
where
    L: EncodeLabelSet + Ord,
    M: EncodeMetric + TypedMetric,
{
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for (labels, series) in read(&self.series).iter() {
            series.encode(encoder.encode_family(labels)?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        M::TYPE
    }

    fn is_empty(&self) -> bool {
        read(&self.series).is_empty()
    }
}

/// Whether a pool, endpoint or model with series of its own is still there.
#[derive(Clone, Debug, Default)]
pub(super) struct Presence(Arc<AtomicBool>);

impl Presence {
    pub(super) fn leave(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(super) fn is_gone(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Locks for reading, even after a panic: no map is left half-written.
pub(super) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// Locks for writing; see [`read`].
pub(super) fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
