//! A metric with labels, kept in the labels' order so that a page reads the same each time.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Series by label set. The library's own family hashes with a random seed, so its pages come in another order with
/// every start; and it cannot drop the series of one pool.
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
    /// The series with these labels, made at the first call. Callers bound the label sets.
    pub(super) fn get(&self, labels: &L) -> M {
        if let Some(series) = read(&self.series).get(labels) {
            return series.clone();
        }
        write(&self.series).entry(labels.clone()).or_insert_with(self.make).clone()
    }

    /// Drops the series whose labels do not pass.
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

/// A counter map is never left half-written, so a panic elsewhere does not make it unusable.
pub(super) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// As [`read`], for writing.
pub(super) fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
