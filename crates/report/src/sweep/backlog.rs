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

/// One completed request, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Completion {
    /// Time of arrival since the start of the arrivals.
    pub at: f64,
    /// Time to first token; `None` for a non-streaming response.
    pub ttft: Option<f64>,
    /// End-to-end latency.
    pub e2e: f64,
}

/// The completed requests of one run, by arrival.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Completions {
    /// Time of arrival and end-to-end latency.
    latencies: Vec<(f64, f64)>,
    /// Time of arrival and time to first token.
    first_tokens: Vec<(f64, f64)>,
}

impl Completions {
    /// Takes the completed requests in any order.
    #[must_use]
    pub fn new(completions: impl IntoIterator<Item = Completion>) -> Self {
        let mut found = Self::default();
        for Completion { at, ttft, e2e } in completions.into_iter().filter(|one| one.at.is_finite()) {
            found.latencies.extend(Some((at, e2e)).filter(|_| e2e.is_finite()));
            found.first_tokens.extend(ttft.filter(|ttft| ttft.is_finite()).map(|ttft| (at, ttft)));
        }
        for points in [&mut found.latencies, &mut found.first_tokens] {
            points.sort_unstable_by(|left, right| left.0.total_cmp(&right.0));
        }
        found
    }

    /// The rate of completions per second; at most the completed requests per second of arrivals, and equal to it unless
    /// a backlog grew.
    ///
    /// Where each request waits `s` seconds longer than one that arrived a second before, requests end `1 + s` times as
    /// slowly as they arrive. Times to first tokens show this earlier than latencies, which depend on the lengths of
    /// outputs too. In a long run the rate over the middle 80 % of the completions is more exact: the whole run would
    /// include the drain, which is as long as the longest response and says nothing about capacity. The greater of the
    /// two counts, because the latter is too small for short runs.
    ///
    /// The rate is 0 without completions.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "request counts stay far below 2^53")]
    pub fn rate(&self, arrival_seconds: f64) -> f64 {
        let limit = if arrival_seconds > 0.0 { self.latencies.len() as f64 / arrival_seconds } else { 0.0 };
        let trends = [evident_slope(&self.latencies), evident_slope(&self.first_tokens)];
        let Some(slope) = trends.into_iter().flatten().reduce(f64::max) else { return limit };
        (limit / (1.0 + slope)).max(self.middle_rate().min(limit))
    }

    /// The rate between the tenth and the ninetieth percentile of the times of completion; 0 where it is not defined.
    #[expect(clippy::cast_precision_loss, reason = "request counts stay far below 2^53")]
    fn middle_rate(&self) -> f64 {
        let mut ends: Vec<f64> = self.latencies.iter().map(|(at, latency)| at + latency).collect();
        ends.sort_unstable_by(f64::total_cmp);
        let (low, high) = (ends.len() / 10, ends.len().saturating_sub(1 + ends.len() / 10));
        match (ends.get(low), ends.get(high)) {
            (Some(first), Some(last)) if last > first => (high - low) as f64 / (last - first),
            _ => 0.0,
        }
    }

    /// The mean latency of the last third of the arrivals over that of the middle third: about one for a stable queue,
    /// well above one for a growing one, and at most one unless latency grew by more than chance explains. The first
    /// third is excluded, because the run starts with an empty fleet.
    ///
    /// `None` with fewer than thirty completions.
    #[must_use]
    pub fn latency_growth(&self) -> Option<f64> {
        let third = self.latencies.len() / 3;
        if third < 10 {
            return None;
        }
        let middle = mean(self.latencies.get(third..2 * third)?).1;
        let last = mean(self.latencies.get(2 * third..)?).1;
        let growth = (middle > 0.0).then(|| last / middle)?;
        Some(if evident_slope(&self.latencies).is_some() { growth } else { growth.min(1.0) })
    }
}

/// The growth of a latency with the time of arrival, seconds per second, over the last two thirds of the arrivals; `None`
/// unless it is above zero with a probability of 97.5 %.
fn evident_slope(by_arrival: &[(f64, f64)]) -> Option<f64> {
    if by_arrival.len() < MIN_TREND {
        return None;
    }
    let steady = by_arrival.get(by_arrival.len() / 3..)?;
    let groups: Vec<(f64, f64)> = steady.chunks(steady.len().div_ceil(GROUPS)).map(mean).collect();
    slope(&groups).filter(|(slope, error)| slope > error).map(|(slope, _)| slope)
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

    /// `count` arrivals in `seconds`, each with a latency from its time.
    fn run(count: u32, seconds: f64, mut latency: impl FnMut(f64) -> f64) -> Completions {
        let at = |index: u32| f64::from(index) * seconds / f64::from(count);
        completions((0..count).rev().map(|index| (at(index), latency(at(index)))))
    }

    fn completions(found: impl IntoIterator<Item = (f64, f64)>) -> Completions {
        Completions::new(found.into_iter().map(|(at, e2e)| Completion { at, ttft: None, e2e }))
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

    /// Responses of random lengths that take as long as the run hide a queue that grows; first tokens show it.
    #[test]
    fn first_tokens_show_a_backlog_that_lengths_hide() {
        let mut random = Rng::seeded(3);
        let mut run = |slope: f64| {
            Completions::new((0..400).map(|index| {
                let at = f64::from(index) * 0.05;
                let ttft = 0.1 + slope * at;
                Completion { at, ttft: Some(ttft), e2e: ttft + 40.0 * random.unit().powi(3) }
            }))
        };
        check_rate(&run(0.25), 20.0, 16.0);
        check_rate(&run(0.001), 20.0, 20.0);
    }

    #[test]
    fn extremes_have_a_rate() {
        check_rate(&Completions::default(), 1.0, 0.0);
        check_rate(&completions([(0.0, 0.0); 60]), 0.0, 0.0);
        check_rate(&completions([(0.0, f64::NAN), (0.0, f64::INFINITY)]), 1.0, 0.0);
        check_rate(&completions([(3.0, 1.0); 1_000]), 100.0, 10.0);
    }

    #[test]
    fn growth_distinguishes_stable_and_growing_queues() {
        assert_eq!(run(300, 300.0, |_| 10.0).latency_growth(), Some(1.0));
        assert!(run(300, 300.0, |at| 10.0 + at).latency_growth().unwrap() > 1.5);
        assert_eq!(run(29, 29.0, |at| at).latency_growth(), None);
        assert_eq!(completions([(0.0, 0.0); 60]).latency_growth(), None);
    }
}
