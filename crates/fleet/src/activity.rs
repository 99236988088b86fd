//! Signs of life of an endpoint, kept without a lock because every chunk of every stream touches them.

mod gaps;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use pointsman_config::Timeouts;
use pointsman_core::Time;
use tokio::sync::Notify;

use gaps::Gaps;

/// How many times its usual longest gap a stream may pause before its silence counts.
const GAP_FACTOR: u32 = 20;
/// So many failed probes in a row stand for a silent endpoint.
const FAILED_PROBES: u32 = 2;

/// What an endpoint's streams and probes say about it. Shared by all pools that select the endpoint.
#[derive(Debug, Default)]
pub struct Activity {
    last_byte: AtomicU64,
    gaps: Gaps,
    failed_probes: AtomicU32,
    in_flight: AtomicU32,
    dispatched: AtomicU64,
    /// The core ejected it: it is probed until it is taken back.
    ejected: AtomicBool,
    /// A stream was silent for too long, or a scrape failed under load: it is probed until a probe is answered.
    suspect: AtomicBool,
    /// The scraper sleeps long and wants to hear of the next dispatch.
    idle: AtomicBool,
    pub(crate) attention: Notify,
    pub(crate) dispatch: Notify,
}

impl Activity {
    /// Those of an endpoint that became known at `now`: its silence counts from there.
    #[must_use]
    pub fn new(now: Time) -> Self {
        Self { last_byte: AtomicU64::new(now.as_nanos()), ..Self::default() }
    }

    /// Bytes of an answer came at `now`, on whatever stream.
    pub fn on_bytes(&self, now: Time) {
        // Two threads may store in the wrong order, which is off by what lies between them.
        self.last_byte.store(now.as_nanos(), Ordering::Relaxed);
    }

    /// A stream went on after a pause of this length.
    pub fn on_gap(&self, gap: Duration) {
        self.gaps.add(gap);
    }

    /// When the last byte came on any stream; where none ever did, when it became known.
    #[must_use]
    pub fn last_byte(&self) -> Time {
        Time::from_nanos(self.last_byte.load(Ordering::Relaxed))
    }

    /// The gap that 99 of 100 gaps within streams stay below, from recent streams; `None` without enough of them.
    #[must_use]
    pub fn p99_gap(&self) -> Option<Duration> {
        self.gaps.p99()
    }

    /// Active probes in a row that were not answered well.
    #[must_use]
    pub fn failed_probes(&self) -> u32 {
        self.failed_probes.load(Ordering::Relaxed)
    }

    /// Requests that were placed here and have not ended.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whether a stream whose last byte came at `since` is to be ended as dead.
    ///
    /// Healthy streams pause (preemption, giant prefills beside them), so silence is judged against the endpoint: the
    /// stream was silent for [`Timeouts::idle`] and for 20 times the endpoint's p99 gap, and meanwhile the endpoint
    /// gave no byte on any stream or failed two probes. Past [`Timeouts::idle_limit`] silence alone decides. A stream
    /// that is only suspicious has its endpoint probed, so that a later call has the answer.
    #[must_use]
    pub fn silent(&self, now: Time, since: Time, timeouts: &Timeouts) -> bool {
        let quiet = now.since(since);
        if quiet >= timeouts.idle_limit {
            return true;
        }
        let patience = self
            .p99_gap()
            .map_or(timeouts.idle, |gap| timeouts.idle.max(gap * GAP_FACTOR))
            .min(timeouts.idle_limit);
        if quiet < patience {
            return false;
        }
        if now.since(self.last_byte().max(since)) >= patience || self.failed_probes() >= FAILED_PROBES {
            return true;
        }
        self.suspect();
        false
    }

    /// Asks for the endpoint to be probed until it answers.
    pub fn suspect(&self) {
        if !self.suspect.swap(true, Ordering::Relaxed) {
            self.attention.notify_one();
        }
    }

    /// Whether that is a change.
    pub(crate) fn set_ejected(&self, ejected: bool) -> bool {
        let was = self.ejected.swap(ejected, Ordering::Relaxed);
        if ejected {
            self.attention.notify_one();
        }
        was != ejected
    }

    pub(crate) fn wants_probe(&self) -> bool {
        self.ejected.load(Ordering::Relaxed) || self.suspect.load(Ordering::Relaxed)
    }

    pub(crate) fn probed(&self, healthy: bool) {
        if healthy {
            self.failed_probes.store(0, Ordering::Relaxed);
            self.suspect.store(false, Ordering::Relaxed);
        } else {
            self.failed_probes.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A request was placed here.
    pub(crate) fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.dispatched.fetch_add(1, Ordering::Relaxed);
        if self.idle.load(Ordering::Relaxed) && self.idle.swap(false, Ordering::Relaxed) {
            self.dispatch.notify_one();
        }
    }

    /// A request that was placed here ended, or was moved elsewhere.
    pub(crate) fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// Requests placed here since the start.
    pub(crate) fn dispatched(&self) -> u64 {
        self.dispatched.load(Ordering::Relaxed)
    }

    /// From now on the next dispatch is announced once through `dispatch`.
    pub(crate) fn announce_next_dispatch(&self) {
        self.idle.store(true, Ordering::Relaxed);
    }
}

/// The beat of one stream: remembers its last byte and reports to the endpoint's [`Activity`].
#[derive(Clone, Copy, Debug)]
pub struct StreamActivity {
    last: Time,
}

impl StreamActivity {
    /// A stream whose first bytes came at `now`.
    #[must_use]
    pub fn start(activity: &Activity, now: Time) -> Self {
        activity.on_bytes(now);
        Self { last: now }
    }

    /// More bytes came.
    pub fn beat(&mut self, activity: &Activity, now: Time) {
        activity.on_gap(now.since(self.last));
        activity.on_bytes(now);
        self.last = now;
    }

    /// When the last byte came.
    #[must_use]
    pub const fn last(&self) -> Time {
        self.last
    }

    /// [`Activity::silent`] for this stream.
    #[must_use]
    pub fn silent(&self, activity: &Activity, now: Time, timeouts: &Timeouts) -> bool {
        activity.silent(now, self.last, timeouts)
    }
}

#[cfg(test)]
mod tests;
