//! A histogram of the gaps between the chunks of streams: 40 buckets whose bounds grow by √2, from 1.5 ms to 17 minutes.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const BUCKETS: usize = 40;
/// The first bucket ends at 2^20 ns × √2, about 1.5 ms.
const FIRST_BIT: u32 = 20;
/// √2 in units of 2^-16.
const ROOT_TWO: u64 = 92_682;
/// Number of gaps at which all counts are halved, so that the newest half weighs as much as all before it.
const DECAY_AT: u32 = 8_192;
/// Fewest gaps that a 99th percentile is taken from.
const ENOUGH: u32 = 100;

/// Lock-free counts. Concurrent halving may lose or double a few, which does not matter to an estimate.
#[derive(Debug)]
pub(super) struct GapHistogram {
    counts: [AtomicU32; BUCKETS],
    total: AtomicU32,
}

impl Default for GapHistogram {
    fn default() -> Self {
        Self { counts: [const { AtomicU32::new(0) }; BUCKETS], total: AtomicU32::new(0) }
    }
}

impl GapHistogram {
    pub(super) fn add(&self, gap: Duration) {
        let nanos = u64::try_from(gap.as_nanos()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get(bucket(nanos)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if self.total.fetch_add(1, Ordering::Relaxed) == DECAY_AT {
            self.halve();
        }
    }

    fn halve(&self) {
        let mut total = 0;
        for count in &self.counts {
            let half = count.load(Ordering::Relaxed) / 2;
            count.store(half, Ordering::Relaxed);
            total += half;
        }
        self.total.store(total, Ordering::Relaxed);
    }

    /// The upper bound of the bucket that holds the 99th percentile; `None` without enough gaps.
    pub(super) fn p99(&self) -> Option<Duration> {
        let counts = self.counts.each_ref().map(|count| u64::from(count.load(Ordering::Relaxed)));
        let total: u64 = counts.iter().sum();
        if total < u64::from(ENOUGH) {
            return None;
        }
        let above = total / 100;
        let mut seen = 0;
        for (index, count) in counts.iter().enumerate().rev() {
            seen += count;
            if seen > above {
                return Some(upper_bound(index));
            }
        }
        None
    }
}

fn bucket(nanos: u64) -> usize {
    let top = u64::BITS - 1 - nanos.max(1).leading_zeros();
    if top < FIRST_BIT {
        return 0;
    }
    let mantissa = nanos >> (top - 16);
    let index = 2 * (top - FIRST_BIT) + u32::from(mantissa >= ROOT_TWO);
    (index as usize).min(BUCKETS - 1)
}

fn upper_bound(index: usize) -> Duration {
    let whole = 1_u64 << (FIRST_BIT as usize + index.div_ceil(2));
    Duration::from_nanos(if index.is_multiple_of(2) { (whole >> 16) * ROOT_TWO } else { whole })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_gap_lies_below_its_bucket_bound_and_within_root_two_of_it() {
        for nanos in
            (20..39).flat_map(|bit| [1_u64 << bit, (1 << bit) * 5 / 4, (1 << bit) * 3 / 2, (2 << bit) - 1])
        {
            let bound = u64::try_from(upper_bound(bucket(nanos)).as_nanos()).unwrap();
            assert!(nanos <= bound, "{nanos} > {bound}");
            assert!(bound * 70 / 100 <= nanos, "{nanos} far below {bound}");
        }
    }

    #[test]
    fn a_percentile_needs_enough_gaps() {
        let gaps = GapHistogram::default();
        (0..99).for_each(|_| gaps.add(Duration::from_millis(20)));
        assert_eq!(gaps.p99(), None);
        gaps.add(Duration::from_millis(20));
        assert!(
            gaps.p99().is_some_and(|gap| gap >= Duration::from_millis(20) && gap < Duration::from_millis(30))
        );
    }

    #[test]
    fn old_gaps_fade() {
        let gaps = GapHistogram::default();
        (0..5_000).for_each(|_| gaps.add(Duration::from_secs(2)));
        assert!(gaps.p99().is_some_and(|gap| gap > Duration::from_secs(2)));
        (0..100_000).for_each(|_| gaps.add(Duration::from_millis(10)));
        assert!(gaps.p99().is_some_and(|gap| gap < Duration::from_millis(20)), "{:?}", gaps.p99());
    }
}
