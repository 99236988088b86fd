//! When a request counts as stalled: one rule for live traffic and for simulations.
//!
//! Silence of one connection proves nothing: a request waits for as long as its prefill takes, and a healthy stream
//! pauses while it is preempted or while a long prompt is prefilled beside it. The rule therefore also asks whether the
//! endpoint sends bytes on any other stream and whether it answers active probes.

mod activity;
mod gaps;

use std::time::Duration;

pub use activity::EndpointActivity;

use crate::time::Time;

/// Number of consecutive failed probes after which an endpoint counts as unresponsive.
const FAILED_PROBES: u32 = 2;
/// A stream may pause for this many times the endpoint's p99 gap between chunks.
const GAP_FACTOR: u32 = 20;
/// Before the first byte, an endpoint is probed when the request is silent for `idle / PROBE_DIVISOR` and the endpoint is
/// silent on every stream for `idle / ENDPOINT_DIVISOR`.
const PROBE_DIVISOR: u32 = 2;
const ENDPOINT_DIVISOR: u32 = 8;
/// Bounds of the interval between two checks of a silent request.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);
const LONGEST_INTERVAL: Duration = Duration::from_secs(5);

/// The timeouts of the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Liveness {
    /// The shortest silence of a request after which it can count as stalled.
    pub idle: Duration,
    /// The silence of a stream after which it counts as stalled whatever else is known.
    pub idle_limit: Duration,
}

impl Default for Liveness {
    fn default() -> Self {
        Self { idle: Duration::from_secs(30), idle_limit: Duration::from_mins(5) }
    }
}

/// How far the response to a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponsePhase {
    /// No output has come since the request was sent.
    AwaitingFirstByte {
        /// When the request was sent; where the head of the response or a comment came since, when that came.
        sent: Time,
    },
    /// Bytes come as they are generated.
    Streaming {
        /// When the last byte came.
        last_byte: Time,
    },
}

/// The verdict of the rule on a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LivenessVerdict {
    /// Nothing is wrong. Check again at this time.
    WaitUntil(Time),
    /// The endpoint is suspect: probe it, and check again at this time.
    Probe(Time),
    /// The endpoint stalled: end the attempt.
    Stalled,
}

impl Liveness {
    /// Whether a request stalled at `now`, by its own silence and by what is known of its endpoint.
    #[must_use]
    pub fn check(&self, now: Time, phase: ResponsePhase, endpoint: &EndpointActivity) -> LivenessVerdict {
        match phase {
            ResponsePhase::AwaitingFirstByte { sent } => self.check_first_byte(now, sent, endpoint),
            ResponsePhase::Streaming { last_byte } => self.check_stream(now, last_byte, endpoint),
        }
    }

    /// Interval at which a silent request is checked.
    #[must_use]
    pub fn check_interval(&self) -> Duration {
        (self.idle / ENDPOINT_DIVISOR).clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL)
    }

    /// A long prefill is silent for as long as it takes, and an endpoint that prefills a long prompt may be silent on all
    /// its streams. So silence of both is not enough here: probes must have failed too.
    fn check_first_byte(&self, now: Time, sent: Time, endpoint: &EndpointActivity) -> LivenessVerdict {
        let silent = now.since(sent);
        if silent < self.idle / PROBE_DIVISOR {
            return LivenessVerdict::WaitUntil(sent + self.idle / PROBE_DIVISOR);
        }
        let again = now + self.check_interval();
        if now.since(endpoint.last_byte()) < self.idle / ENDPOINT_DIVISOR {
            LivenessVerdict::WaitUntil(again)
        } else if silent >= self.idle && endpoint.failed_probes() >= FAILED_PROBES {
            LivenessVerdict::Stalled
        } else {
            LivenessVerdict::Probe(again)
        }
    }

    /// A stream that was silent for the timeout has stalled when its endpoint was silent on every stream for as long, or
    /// fails its probes. Either suffices: a decoding endpoint sends tokens every step, and one whose other streams go on
    /// may still have lost this connection.
    fn check_stream(&self, now: Time, last_byte: Time, endpoint: &EndpointActivity) -> LivenessVerdict {
        let silent = now.since(last_byte);
        if silent >= self.idle_limit {
            return LivenessVerdict::Stalled;
        }
        // The endpoint's percentile is worth reading only for a stream that is silent for longer than the least timeout.
        let least = self.idle.min(self.idle_limit);
        let timeout = if silent < least { least } else { self.stream_timeout(endpoint) };
        if silent < timeout {
            return LivenessVerdict::WaitUntil(last_byte + timeout);
        }
        let endpoint_silent = now.since(endpoint.last_byte().max(last_byte));
        if endpoint_silent >= timeout || endpoint.failed_probes() >= FAILED_PROBES {
            return LivenessVerdict::Stalled;
        }
        LivenessVerdict::Probe((now + self.check_interval()).min(last_byte + self.idle_limit))
    }

    fn stream_timeout(&self, endpoint: &EndpointActivity) -> Duration {
        let by_gap = endpoint.p99_gap().map_or(Duration::ZERO, |gap| gap * GAP_FACTOR);
        self.idle.max(by_gap).min(self.idle_limit)
    }
}

#[cfg(test)]
mod tests;
