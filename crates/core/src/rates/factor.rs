//! How much slower than expected something is.

use serde::{Deserialize, Serialize};

use crate::time::{Time, seconds};

/// What the fleet weighs against an endpoint's own measurements, in the measurements' unit (seconds).
const PRIOR: f64 = 2.0;
/// The most that own measurements weigh, so that no history is too long to fade.
const MOST: f64 = 60.0;
/// While measurements come, they fade over about this many seconds; when none come, with the square, so that after
/// some minutes little is left of the slowest one.
const MEMORY: f64 = 10.0;
/// One measurement counts as at most this many times what was expected.
const WILDEST: f64 = 10.0;

/// Where an estimate comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Nothing was measured there: the fleet's figure stands.
    #[default]
    Fleet,
    /// Output tokens as they passed.
    Stream,
    /// The duration of whole replies.
    Reply,
    /// Sums on the engine's metrics page.
    Scrape,
}

/// The ratio of what was measured to what the fleet's line expects: measured over expected time, both with
/// forgetting, shrunk to the fleet's own ratio.
///
/// A ratio needs one number per endpoint where a line needs three. With a few dozen measurements it is within a few
/// percent, at whatever load they were made.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Factor {
    measured: f64,
    expected: f64,
    updated: Time,
    source: Source,
}

impl Factor {
    /// Takes in that something took `measured` seconds which the line expects to take `expected`. What is not finite
    /// and positive is passed over.
    pub(crate) fn observe(&mut self, now: Time, measured: f64, expected: f64, source: Source) {
        if !(measured.is_finite() && measured > 0.0 && expected.is_finite() && expected > 0.0) {
            return;
        }
        let kept = self.kept(now);
        let current = self.value(now, 1.0);
        let measured = measured.clamp(expected * current / WILDEST, expected * current * WILDEST);
        self.measured = self.measured * kept + measured;
        self.expected = self.expected * kept + expected;
        if self.expected > MOST {
            self.measured *= MOST / self.expected;
            self.expected = MOST;
        }
        self.updated = self.updated.max(now);
        self.source = source;
    }

    /// The ratio, shrunk to the fleet's.
    pub(crate) fn value(&self, now: Time, fleet: f64) -> f64 {
        let kept = self.kept(now);
        (self.measured * kept + PRIOR * fleet) / (self.expected * kept + PRIOR)
    }

    /// Where the latest measurement came from.
    pub(crate) const fn source(&self) -> Source {
        self.source
    }

    /// When the latest measurement was made; `None` where there was none.
    pub(crate) fn updated(&self) -> Option<Time> {
        (self.source != Source::Fleet).then_some(self.updated)
    }

    fn kept(&self, now: Time) -> f64 {
        let kept = 1.0 / (1.0 + seconds(now.since(self.updated)) / MEMORY);
        kept * kept
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    fn slow() -> Factor {
        let mut factor = Factor::default();
        for tenth in 0..100 {
            factor.observe(Time::ZERO + Duration::from_millis(100 * tenth), 1.6, 1.0, Source::Stream);
        }
        factor
    }

    #[test]
    fn a_slow_endpoint_is_known_after_a_few_measurements() {
        let value = slow().value(at(10), 1.0);
        assert!((1.5..=1.6).contains(&value), "{value}");
    }

    #[test]
    fn what_is_old_gives_way_to_the_fleet() {
        let factor = slow();
        assert!(factor.value(at(15), 1.0) > 1.4);
        assert!(factor.value(at(300), 1.0) < 1.05);
    }

    #[test]
    fn a_recovered_endpoint_is_believed_soon() {
        let mut factor = slow();
        for tenth in 100..400 {
            factor.observe(Time::ZERO + Duration::from_millis(100 * tenth), 1.0, 1.0, Source::Stream);
        }
        assert!(factor.value(at(40), 1.0) < 1.05);
    }

    #[test]
    fn an_absurd_measurement_is_bounded_and_nonsense_is_passed_over() {
        let mut factor = Factor::default();
        factor.observe(at(1), 1e9, 0.1, Source::Stream);
        assert!(factor.value(at(1), 1.0) < 2.0);
        for measured in [f64::NAN, f64::INFINITY, 0.0, -1.0] {
            factor.observe(at(2), measured, 0.1, Source::Stream);
        }
        factor.observe(at(2), 1.0, f64::NAN, Source::Stream);
        assert_eq!(factor.updated(), Some(at(1)));
    }
}
