//! How often engines are asked for their state: their gauges more often the more requests go there, and their health
//! while they are suspect or ejected.

use std::time::Duration;

use pointsman_random::Rng;

/// Number of dispatches between two readings, where the bounds allow it.
const DISPATCHES_PER_READING: f64 = 2.0;
/// Longest pause while requests run: gauges change without dispatches too.
const WHILE_RUNNING: Duration = Duration::from_secs(1);

/// The bounds of the interval between two readings of an engine's gauges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaceBounds {
    /// The interval of a busy engine.
    pub shortest: Duration,
    /// The interval of an idle engine.
    pub longest: Duration,
}

impl Default for PaceBounds {
    /// A page costs an engine more than a request, and the core corrects a reading by its own dispatches since.
    fn default() -> Self {
        Self { shortest: Duration::from_secs(2), longest: Duration::from_secs(5) }
    }
}

/// The pace at which one endpoint's gauges are read. The driver of a scheduler asks for a pause after each reading.
#[derive(Clone, Debug)]
pub struct ScrapePace {
    bounds: PaceBounds,
    dispatched: u64,
    rng: Rng,
}

impl ScrapePace {
    /// The pace of an endpoint that nothing was sent to yet; `seed` spreads its intervals.
    #[must_use]
    pub const fn new(bounds: PaceBounds, seed: u64) -> Self {
        Self { bounds, dispatched: 0, rng: Rng::seeded(seed) }
    }

    /// The pause until the next reading. `dispatched` counts all requests ever sent there, `in_flight` those that run,
    /// `passed` is the time since the last call. Drawn within ±10 %, so that endpoints are not read in step.
    pub fn next_pause(&mut self, dispatched: u64, in_flight: u32, passed: Duration) -> Duration {
        let new = dispatched.saturating_sub(std::mem::replace(&mut self.dispatched, dispatched));
        let PaceBounds { shortest, longest } = self.bounds;
        let new = u32::try_from(new).unwrap_or(u32::MAX);
        let mut pause = longest;
        if new > 0 {
            pause = passed.max(Duration::from_millis(1)).mul_f64(DISPATCHES_PER_READING / f64::from(new));
        }
        if in_flight > 0 {
            pause = pause.min(WHILE_RUNNING);
        }
        let draw = u32::try_from(self.rng.below(201)).unwrap_or(100);
        pause.clamp(shortest.min(longest), longest) * (900 + draw) / 1000
    }
}

/// The pace of active health probes of one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbePace {
    /// Mean pause between the end of a probe and the next one.
    pub interval: Duration,
    /// The time in which a probe must be answered.
    pub timeout: Duration,
}

impl Default for ProbePace {
    fn default() -> Self {
        Self { interval: Duration::from_secs(1), timeout: Duration::from_secs(2) }
    }
}

impl ProbePace {
    /// The pause until the next probe, drawn within ±20 %, so that the endpoints of a failed node are not probed in step.
    pub fn next_pause(&self, rng: &mut Rng) -> Duration {
        let draw = u32::try_from(rng.below(401)).unwrap_or(200);
        self.interval * (800 + draw) / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: PaceBounds =
        PaceBounds { shortest: Duration::from_millis(200), longest: Duration::from_secs(5) };

    #[track_caller]
    fn check(dispatched: u64, in_flight: u32, passed: Duration, expected_ms: u64) {
        let mut pace = ScrapePace::new(BOUNDS, 7);
        let pause = pace.next_pause(dispatched, in_flight, passed);
        let expected = Duration::from_millis(expected_ms);
        assert!(
            pause >= expected * 9 / 10 && pause <= expected * 11 / 10,
            "{pause:?} is not about {expected:?}"
        );
    }

    #[test]
    fn an_idle_endpoint_is_read_seldom() {
        check(0, 0, Duration::from_secs(5), 5_000);
    }

    #[test]
    fn a_running_request_alone_makes_it_a_second() {
        check(0, 1, Duration::from_secs(5), 1_000);
    }

    #[test]
    fn the_interval_follows_the_rate_of_dispatches() {
        check(5, 0, Duration::from_secs(1), 400);
        check(1, 0, Duration::from_secs(1), 2_000);
        check(1, 1, Duration::from_secs(1), 1_000);
    }

    #[test]
    fn a_busy_endpoint_is_read_at_the_shortest_interval() {
        check(1_000, 50, Duration::from_secs(1), 200);
    }

    #[test]
    fn only_new_dispatches_count() {
        let mut pace = ScrapePace::new(BOUNDS, 7);
        pace.next_pause(1_000, 0, Duration::from_secs(1));
        assert!(pace.next_pause(1_000, 0, Duration::from_secs(1)) >= Duration::from_millis(4_500));
    }
}
