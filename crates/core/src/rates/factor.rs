//! The ratio of measured to expected times.

use serde::{Deserialize, Serialize};

use crate::time::{Time, seconds};

/// Weight of the mean of all endpoints against an endpoint's own measurements, in seconds of expected time.
const PRIOR: f64 = 2.0;
/// Upper bound of the weight of own measurements, so that a long history fades.
const MAX_WEIGHT: f64 = 60.0;
/// Time constant of forgetting, in seconds. The weight falls with the square of the time, so that after some minutes
/// without measurements little is left of them.
const MEMORY: f64 = 10.0;
/// Largest ratio of one measurement to the present estimate that is believed.
const MAX_RATIO: f64 = 10.0;

/// The origin of an estimate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The mean of all endpoints: nothing was measured at this one.
    #[default]
    Fleet,
    /// Streamed output tokens.
    Stream,
    /// The duration of non-streaming responses. "reply" in earlier event logs.
    #[serde(alias = "reply")]
    Response,
    /// Counters on the engine's metrics page.
    Scrape,
}

/// The ratio of measured to expected time, both with forgetting, shrunk to the ratio over all endpoints.
///
/// A ratio is one parameter per endpoint, a line would be three. A few dozen measurements give it to a few percent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Factor {
    measured: f64,
    expected: f64,
    updated: Time,
    /// The origin of the latest measurement.
    pub(crate) source: Source,
}

impl Factor {
    /// Takes in measured and expected seconds. Values that are not finite and positive are ignored.
    pub(crate) fn observe(&mut self, now: Time, measured: f64, expected: f64, source: Source) {
        if !(measured.is_finite() && measured > 0.0 && expected.is_finite() && expected > 0.0) {
            return;
        }
        let kept = self.kept(now);
        let current = self.value(now, 1.0);
        let measured = measured.clamp(expected * current / MAX_RATIO, expected * current * MAX_RATIO);
        self.measured = self.measured * kept + measured;
        self.expected = self.expected * kept + expected;
        if self.expected > MAX_WEIGHT {
            self.measured *= MAX_WEIGHT / self.expected;
            self.expected = MAX_WEIGHT;
        }
        self.updated = self.updated.max(now);
        self.source = source;
    }

    /// The ratio, shrunk to `fleet`, the one over all endpoints.
    pub(crate) fn value(&self, now: Time, fleet: f64) -> f64 {
        let kept = self.kept(now);
        (self.measured * kept + PRIOR * fleet) / (self.expected * kept + PRIOR)
    }

    /// The time of the latest measurement; `None` before the first.
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
    fn old_measurements_give_way_to_the_mean_of_all() {
        let factor = slow();
        assert!(factor.value(at(15), 1.0) > 1.4);
        assert!(factor.value(at(300), 1.0) < 1.05);
    }

    #[test]
    fn a_recovered_endpoint_is_known_soon() {
        let mut factor = slow();
        for tenth in 100..400 {
            factor.observe(Time::ZERO + Duration::from_millis(100 * tenth), 1.0, 1.0, Source::Stream);
        }
        assert!(factor.value(at(40), 1.0) < 1.05);
    }

    #[test]
    fn an_outlier_is_bounded_and_invalid_values_are_ignored() {
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
