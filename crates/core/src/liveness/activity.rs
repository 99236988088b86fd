//! The evidence of an endpoint's activity.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::gaps::GapHistogram;
use crate::time::Time;

/// The activity of one endpoint over all its streams and probes: the evidence that [`Liveness`](super::Liveness) weighs.
///
/// Lock-free, because live drivers touch it for every chunk of every stream, from all threads.
#[derive(Debug, Default)]
pub struct EndpointActivity {
    /// Nanoseconds of a [`Time`].
    last_byte: AtomicU64,
    gaps: GapHistogram,
    failed_probes: AtomicU32,
    /// The scheduler ejected the endpoint: it is probed until it is taken back.
    ejected: AtomicBool,
    /// A request was silent for too long, or a scrape failed under load: the endpoint is probed until it answers.
    suspect: AtomicBool,
}

impl EndpointActivity {
    /// The activity of an endpoint that became known at `now`: its silence counts from there.
    #[must_use]
    pub fn new(now: Time) -> Self {
        Self { last_byte: AtomicU64::new(now.as_nanos()), ..Self::default() }
    }

    /// Response bytes came at `now`, on whatever stream.
    pub fn on_bytes(&self, now: Time) {
        // Two threads may store in the wrong order. The error is the time between their two chunks.
        self.last_byte.store(now.as_nanos(), Ordering::Relaxed);
    }

    /// A stream went on after a pause of this length.
    pub fn on_gap(&self, gap: Duration) {
        self.gaps.add(gap);
    }

    /// When the last byte came on any stream; where none ever did, when the endpoint became known.
    #[must_use]
    pub fn last_byte(&self) -> Time {
        Time::from_nanos(self.last_byte.load(Ordering::Relaxed))
    }

    /// The 99th percentile of the gaps between the chunks of recent streams; `None` before there were 100 gaps.
    #[must_use]
    pub fn p99_gap(&self) -> Option<Duration> {
        self.gaps.p99()
    }

    /// Number of consecutive active probes that failed.
    #[must_use]
    pub fn failed_probes(&self) -> u32 {
        self.failed_probes.load(Ordering::Relaxed)
    }

    /// Marks the endpoint as suspect, to be probed until it answers. Returns whether it was not.
    pub fn suspect(&self) -> bool {
        !self.suspect.swap(true, Ordering::Relaxed)
    }

    /// The scheduler ejected the endpoint, or took it back. Returns whether that is a change.
    pub fn set_ejected(&self, ejected: bool) -> bool {
        self.ejected.swap(ejected, Ordering::Relaxed) != ejected
    }

    /// Whether the endpoint is to be probed.
    #[must_use]
    pub fn wants_probe(&self) -> bool {
        self.ejected.load(Ordering::Relaxed) || self.suspect.load(Ordering::Relaxed)
    }

    /// An active probe ended; `healthy` where it was answered well.
    pub fn probed(&self, healthy: bool) {
        if healthy {
            self.failed_probes.store(0, Ordering::Relaxed);
            self.suspect.store(false, Ordering::Relaxed);
        } else {
            self.failed_probes.fetch_add(1, Ordering::Relaxed);
        }
    }
}
