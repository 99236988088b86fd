//! The activity of an endpoint as the tasks of a fleet share it. Lock-free, because every chunk of every stream touches it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use pointsman_core::{EndpointActivity, Liveness, LivenessVerdict, ResponsePhase, Time};
use tokio::sync::Notify;

/// The activity of an endpoint: its liveness evidence, its requests, and the signals that wake its monitor. Shared by all
/// pools that select the endpoint.
#[derive(Debug, Default)]
pub struct Activity {
    /// The evidence that the endpoint is alive.
    pub evidence: EndpointActivity,
    in_flight: AtomicU32,
    dispatched: AtomicU64,
    /// The scraper sleeps long and is to be woken by the next dispatch.
    idle: AtomicBool,
    /// Whether the latest scrape, probe or list of models was answered, whatever the status.
    answers: AtomicBool,
    /// Where the endpoint was reached last.
    reached: ArcSwapOption<SocketAddr>,
    /// Notified when the endpoint is to be probed.
    pub(crate) attention: Notify,
    /// Notified by the next dispatch after [`Activity::announce_next_dispatch`].
    pub(crate) dispatch: Notify,
}

impl Activity {
    /// The activity of an endpoint that became known at `now`: its silence counts from there.
    #[must_use]
    pub fn new(now: Time) -> Self {
        Self { evidence: EndpointActivity::new(now), ..Self::default() }
    }

    /// Requests that were placed here and have not ended.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whether the latest scrape, probe or list of models was answered, whatever the status; false until the first is.
    #[must_use]
    pub fn answers(&self) -> bool {
        self.answers.load(Ordering::Relaxed)
    }

    /// A scrape, probe or list of models was answered or not.
    pub(crate) fn set_answers(&self, answers: bool) {
        self.answers.store(answers, Ordering::Relaxed);
    }

    /// The IP address at which a scrape or probe reached the endpoint last; `None` where none has.
    #[must_use]
    pub fn reached(&self) -> Option<SocketAddr> {
        self.reached.load().as_deref().copied()
    }

    /// A scrape or probe reached the endpoint at this address.
    pub(crate) fn set_reached(&self, address: Option<SocketAddr>) {
        if address.is_some() && address != self.reached() {
            self.reached.store(address.map(Arc::new));
        }
    }

    /// Applies the liveness rule to a request, and has the endpoint probed where the rule says so. Returns when to check
    /// again; `None` where the request stalled.
    #[must_use]
    pub fn check(&self, now: Time, phase: ResponsePhase, liveness: &Liveness) -> Option<Time> {
        match liveness.check(now, phase, &self.evidence) {
            LivenessVerdict::WaitUntil(time) => Some(time),
            LivenessVerdict::Probe(again) => {
                self.suspect();
                Some(again)
            }
            LivenessVerdict::Stalled => None,
        }
    }

    /// Has the endpoint probed until it answers.
    pub fn suspect(&self) {
        if self.evidence.suspect() {
            self.attention.notify_one();
        }
    }

    /// The scheduler ejected the endpoint, or took it back. Returns whether that is a change.
    pub(crate) fn set_ejected(&self, ejected: bool) -> bool {
        let changed = self.evidence.set_ejected(ejected);
        if ejected {
            self.attention.notify_one();
        }
        changed
    }

    /// A request was placed here.
    pub(crate) fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.dispatched.fetch_add(1, Ordering::Relaxed);
        if self.idle.load(Ordering::Relaxed) && self.idle.swap(false, Ordering::Relaxed) {
            self.dispatch.notify_one();
        }
    }

    /// A request that was placed here ended, or is served elsewhere.
    pub(crate) fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// Requests placed here since the start.
    pub(crate) fn dispatched(&self) -> u64 {
        self.dispatched.load(Ordering::Relaxed)
    }

    /// Has the next dispatch notify `dispatch`, once.
    pub(crate) fn announce_next_dispatch(&self) {
        self.idle.store(true, Ordering::Relaxed);
    }
}

/// The activity of one stream: remembers its last byte and reports to the endpoint's [`Activity`].
#[derive(Clone, Copy, Debug)]
pub struct StreamActivity {
    last_byte: Time,
    /// Its output has not begun: its head or a comment came before the prefill is over.
    awaits_output: bool,
}

impl StreamActivity {
    /// A stream whose first bytes came at `now`; with `awaits_output` they are not of its output.
    #[must_use]
    pub fn start(activity: &Activity, now: Time, awaits_output: bool) -> Self {
        activity.evidence.on_bytes(now);
        Self { last_byte: now, awaits_output }
    }

    /// A further chunk came.
    pub fn on_chunk(&mut self, activity: &Activity, now: Time) {
        if !self.awaits_output {
            activity.evidence.on_gap(now.since(self.last_byte));
        }
        activity.evidence.on_bytes(now);
        self.last_byte = now;
    }

    /// The output has begun.
    pub const fn on_output(&mut self) {
        self.awaits_output = false;
    }

    /// The stream goes on at `now` after a pause that was not the engine's.
    pub fn resume(&mut self, activity: &Activity, now: Time) {
        activity.evidence.on_bytes(now);
        self.last_byte = now;
    }

    /// When the last byte came.
    #[must_use]
    pub const fn last_byte(&self) -> Time {
        self.last_byte
    }

    /// [`Activity::check`] for this stream.
    #[must_use]
    pub fn check(&self, activity: &Activity, now: Time, liveness: &Liveness) -> Option<Time> {
        let phase = if self.awaits_output {
            ResponsePhase::AwaitingFirstByte { sent: self.last_byte }
        } else {
            ResponsePhase::Streaming { last_byte: self.last_byte }
        };
        activity.check(now, phase, liveness)
    }
}

#[cfg(test)]
mod tests;
