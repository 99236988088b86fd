//! Signs of a backlog in one run: how fast responses ended and whether later requests waited longer.
//!
//! A fleet that cannot keep up is told by a trend: each request waits longer than the one before. What is in flight when
//! the arrivals end says nothing, because some requests always are, and in a short run they are most of it.

use crate::bootstrap::student_975;

/// Number of completed requests below which there is no trend.
const MIN_TREND: usize = 12;

/// Number of groups of consecutive arrivals over which the trend is fitted. Requests near each other share a queue, so
/// their latencies are not independent; the means of groups nearly are.
const GROUPS: usize = 10;

/// Completed requests of one run: pairs of arrival time and end-to-end latency, seconds, by arrival.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Completions {
    by_arrival: Vec<(f64, f64)>,
}

impl Completions {
    /// Takes pairs of arrival time and latency of the completed requests in seconds, in any order. Times count from the
    /// start of the arrivals.
    #[must_use]
    pub fn new(arrivals: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let mut by_arrival: Vec<(f64, f64)> =
            arrivals.into_iter().filter(|(at, latency)| at.is_finite() && latency.is_finite()).collect();
        by_arrival.sort_unstable_by(|left, right| left.0.total_cmp(&right.0));
        Self { by_arrival }
    }

    /// The rate of completions per second; at most the completed requests per second of arrivals, and equal to it unless
    /// a backlog grew.
    ///
    /// Where one did, it is the rate over the middle 80 % of the completions, between the tenth and the ninetieth
    /// percentile of their times. The whole run would include the drain, which is as long as the longest response and
    /// says nothing about capacity; the time until the last arrival would include the start with an empty fleet. The
    /// middle 80 % has the capacity.
    ///
    /// The rate is 0 without completions.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "request counts stay far below 2^53")]
    pub fn rate(&self, arrival_seconds: f64) -> f64 {
        let count = self.by_arrival.len();
        let limit = if arrival_seconds > 0.0 { count as f64 / arrival_seconds } else { 0.0 };
        if !self.backlog_grows() {
            return limit;
        }
        let mut ends: Vec<f64> = self.by_arrival.iter().map(|(at, latency)| at + latency).collect();
        ends.sort_unstable_by(f64::total_cmp);
        let (low, high) = (count / 10, count - 1 - count / 10);
        let span = match (ends.get(low), ends.get(high)) {
            (Some(low), Some(high)) => high - low,
            _ => 0.0,
        };
        if span > 0.0 { ((high - low) as f64 / span).min(limit) } else { limit }
    }

    /// The mean latency of the last third of the arrivals over that of the middle third: about one for a stable queue,
    /// well above one for a growing one, and at most one unless a backlog grew. The first third is excluded, because the
    /// run starts with an empty fleet.
    ///
    /// `None` with fewer than thirty completions.
    #[must_use]
    pub fn latency_growth(&self) -> Option<f64> {
        let third = self.by_arrival.len() / 3;
        if third < 10 {
            return None;
        }
        let middle = mean(self.by_arrival.get(third..2 * third)?).1;
        let last = mean(self.by_arrival.get(2 * third..)?).1;
        let growth = (middle > 0.0).then(|| last / middle)?;
        Some(if self.backlog_grows() { growth } else { growth.min(1.0) })
    }

    /// Whether latency grew with the time of arrival by more than chance explains: the slope over the groups of the last
    /// two thirds is above zero with a probability of 97.5 %.
    fn backlog_grows(&self) -> bool {
        let count = self.by_arrival.len();
        if count < MIN_TREND {
            return false;
        }
        let steady = self.by_arrival.get(count / 3..).unwrap_or_default();
        let size = steady.len().div_ceil(GROUPS).max(1);
        let groups: Vec<(f64, f64)> = steady.chunks(size).map(mean).collect();
        slope(&groups).is_some_and(|(slope, error)| slope - error > 0.0)
    }
}

#[expect(clippy::cast_precision_loss, reason = "request counts stay far below 2^53")]
fn mean(part: &[(f64, f64)]) -> (f64, f64) {
    let count = part.len().max(1) as f64;
    let sum = part.iter().fold((0.0, 0.0), |sum, (at, latency)| (sum.0 + at, sum.1 + latency));
    (sum.0 / count, sum.1 / count)
}

/// The least-squares slope of points, and half the width of its 95 % interval. `None` for fewer than five points, or
/// where all have one abscissa.
#[expect(clippy::cast_precision_loss, reason = "a handful of groups")]
fn slope(points: &[(f64, f64)]) -> Option<(f64, f64)> {
    if points.len() < 5 {
        return None;
    }
    let (centre, level) = mean(points);
    let spread: f64 = points.iter().map(|(at, _)| (at - centre).powi(2)).sum();
    if spread <= 0.0 {
        return None;
    }
    let slope = points.iter().map(|(at, value)| (at - centre) * (value - level)).sum::<f64>() / spread;
    let rest: f64 = points.iter().map(|(at, value)| (value - level - slope * (at - centre)).powi(2)).sum();
    let freedom = points.len() as f64 - 2.0;
    // Twice the rounding of equal latencies, whose slope is not exactly zero.
    let rounding = 1e-9 * level.abs() / spread.sqrt();
    Some((slope, student_975(freedom.max(4.0)) * (rest / freedom / spread).sqrt() + rounding))
}

#[cfg(test)]
mod tests {
    use pointsman_random::Rng;

    use super::*;

    /// `count` arrivals in `seconds`, each with a latency from its index.
    fn run(count: u32, seconds: f64, mut latency: impl FnMut(f64) -> f64) -> Completions {
        let at = |index: u32| f64::from(index) * seconds / f64::from(count);
        Completions::new((0..count).rev().map(|index| (at(index), latency(at(index)))))
    }

    fn check_rate(completions: &Completions, arrival_seconds: f64, expect: f64) {
        let found = completions.rate(arrival_seconds);
        assert!((found - expect).abs() <= 0.01 * expect, "{found}, not {expect}");
    }

    #[test]
    fn the_rate_without_a_backlog_is_that_of_the_arrivals() {
        check_rate(&run(1_000, 100.0, |_| 0.1), 100.0, 10.0);
        check_rate(&run(1_000, 100.0, |_| 30.0), 100.0, 10.0);
        let straggler = run(1_000, 100.0, |at| if at == 50.0 { 500.0 } else { 1.0 });
        check_rate(&straggler, 100.0, 10.0);
    }

    #[test]
    fn the_rate_of_an_overloaded_fleet_is_its_capacity() {
        // Each request waits as long as the arrivals before it exceed half the rate.
        check_rate(&run(1_000, 100.0, |at| 1.0 + at), 100.0, 5.0);
        let found = run(20, 20.0, |at| 5.0 + 4.0 * at).rate(20.0);
        assert!((0.15..0.25).contains(&found), "one request at a time takes 5 s: {found}");
    }

    /// A few seconds of load on an engine that is nearly idle: latencies as long as the run, and no trend.
    #[test]
    fn what_is_in_flight_at_the_end_of_a_short_run_is_no_backlog() {
        let mut random = Rng::seeded(7);
        let mut false_alarms = 0;
        for _ in 0..1_000 {
            let short = run(40, 4.0, |_| 0.2 + 3.0 * random.unit().powi(2));
            if short.rate(4.0) < 9.8 || short.latency_growth().is_some_and(|growth| growth > 1.25) {
                false_alarms += 1;
            }
        }
        assert!(false_alarms < 40, "{false_alarms} of 1000");
        check_rate(&run(5, 2.0, |at| 3.0 + at), 2.0, 2.5);
    }

    #[test]
    fn extremes_have_a_rate() {
        check_rate(&Completions::default(), 1.0, 0.0);
        check_rate(&Completions::new([(0.0, 0.0); 60]), 0.0, 0.0);
        check_rate(&Completions::new([(0.0, f64::NAN), (0.0, f64::INFINITY)]), 1.0, 0.0);
        check_rate(&Completions::new([(3.0, 1.0); 1_000]), 100.0, 10.0);
    }

    #[test]
    fn growth_distinguishes_stable_and_growing_queues() {
        assert_eq!(run(300, 300.0, |_| 10.0).latency_growth(), Some(1.0));
        assert!(run(300, 300.0, |at| 10.0 + at).latency_growth().unwrap() > 1.5);
        assert_eq!(run(29, 29.0, |at| at).latency_growth(), None);
        assert_eq!(Completions::new([(0.0, 0.0); 60]).latency_growth(), None);
    }
}
