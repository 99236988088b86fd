//! When jobs come.

use std::time::Duration;

use pointsman_core::{Time, seconds};

use super::draw::{Draw, Purpose};
use super::trace::Trace;

/// When jobs come, at a mean rate that the run gives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrivals {
    /// Independent users: exponential gaps.
    Poisson,
    /// Equal gaps.
    Constant,
    /// Gamma-distributed gaps.
    Gamma {
        /// Deviation of a gap over its mean; 1 is Poisson.
        cv: f64,
    },
    /// Two rates in turn, Poisson within each; a run starts anywhere in the cycle.
    Bursts {
        /// How long the high rate lasts.
        on: Duration,
        /// How long the low rate lasts.
        off: Duration,
        /// The high rate over the low one.
        factor: f64,
    },
    /// As the trace has them, faster or slower. Each seed starts elsewhere in the trace and goes round at its end.
    Recorded,
}

/// The arrivals of one run.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    draw: Draw,
    rate: f64,
    /// Seconds from the start; in bursts, expected arrivals from the start of a cycle.
    at: f64,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Poisson,
    Constant,
    Gamma { shape: f64 },
    Bursts(Cycle),
}

impl Clock {
    /// The clock of arrivals that follow no trace.
    pub(super) fn new(arrivals: Arrivals, rate: f64, seed: u64) -> Self {
        let mut draw = Draw::of(seed, Purpose::Arrivals, 0);
        let (kind, at) = match arrivals {
            Arrivals::Poisson | Arrivals::Recorded => (Kind::Poisson, 0.0),
            Arrivals::Constant => (Kind::Constant, (draw.unit() - 1.0) / rate),
            Arrivals::Gamma { cv } => (Kind::Gamma { shape: 1.0 / (cv * cv) }, 0.0),
            Arrivals::Bursts { on, off, factor } => {
                let cycle = Cycle::new(seconds(on), seconds(off), factor, rate, &mut draw);
                let at = cycle.expected(cycle.offset);
                (Kind::Bursts(cycle), at)
            }
        };
        Self { draw, rate, at, kind }
    }

    /// Seconds from the start to the next arrival.
    pub(super) fn advance(&mut self) -> f64 {
        match &self.kind {
            Kind::Poisson => self.at += self.draw.exponential() / self.rate,
            Kind::Constant => self.at += 1.0 / self.rate,
            Kind::Gamma { shape } => self.at += self.draw.gamma(*shape) / shape / self.rate,
            Kind::Bursts(cycle) => {
                self.at += self.draw.exponential();
                return cycle.when(self.at) - cycle.offset;
            }
        }
        self.at
    }
}

/// A cycle of two rates.
#[derive(Clone, Debug)]
struct Cycle {
    on: f64,
    off: f64,
    high: f64,
    low: f64,
    /// Where in it the run starts, in seconds.
    offset: f64,
}

impl Cycle {
    fn new(on: f64, off: f64, factor: f64, mean: f64, draw: &mut Draw) -> Self {
        let low = mean * (on + off) / (factor * on + off);
        Self { on, off, high: low * factor, low, offset: draw.unit() * (on + off) }
    }

    /// Arrivals expected from the cycle's start to a time within it.
    fn expected(&self, at: f64) -> f64 {
        if at < self.on { at * self.high } else { self.on * self.high + (at - self.on) * self.low }
    }

    /// When that many arrivals are expected, in seconds from a cycle's start.
    fn when(&self, arrivals: f64) -> f64 {
        let each = self.on * self.high + self.off * self.low;
        let cycles = (arrivals / each).floor();
        let rest = arrivals - cycles * each;
        let within = if rest < self.on * self.high {
            rest / self.high
        } else {
            self.on + (rest - self.on * self.high) / self.low
        };
        cycles * (self.on + self.off) + within
    }
}

/// The rows of a trace in turn, from where the seed starts.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    start: usize,
    taken: usize,
    /// Seconds of the run for one second of the trace.
    stretch: f64,
}

impl Rows {
    pub(super) fn new(trace: &Trace, rate: f64, seed: u64) -> Self {
        let count = trace.rows.len().max(1) as u64;
        let start = usize::try_from(Draw::of(seed, Purpose::Start, 0).bits() % count).unwrap_or(0);
        Self { start, taken: 0, stretch: trace.rate() / rate }
    }

    /// The next row's place, and when it comes in seconds from the start; `None` after one round.
    pub(super) fn advance(&mut self, trace: &Trace) -> Option<(usize, f64)> {
        let count = trace.rows.len();
        if self.taken >= count {
            return None;
        }
        let place = (self.start + self.taken) % count;
        self.taken += 1;
        let (first, here) = (trace.rows[self.start].at, trace.rows[place].at);
        let round = if place < self.start { trace.round() } else { 0.0 };
        Some((
            place,
            (seconds(here.since(Time::ZERO)) - seconds(first.since(Time::ZERO)) + round) * self.stretch,
        ))
    }
}

/// A time in seconds from the start.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates at both ends")]
pub(super) fn time(seconds: f64) -> Time {
    Time::from_nanos((seconds * 1e9) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaps(arrivals: Arrivals, rate: f64, seed: u64, count: usize) -> Vec<f64> {
        let mut clock = Clock::new(arrivals, rate, seed);
        let times: Vec<f64> = (0..count).map(|_| clock.advance()).collect();
        assert!(times[0] >= 0.0 && times.is_sorted());
        times.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    #[test]
    fn gaps_have_the_rates_mean_and_the_arrivals_variation() {
        #[track_caller]
        fn check(arrivals: Arrivals, cv: f64, tolerance: f64) {
            let gaps = gaps(arrivals, 50.0, 3, 400_000);
            let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
            let square = gaps.iter().map(|gap| (gap - mean) * (gap - mean)).sum::<f64>() / gaps.len() as f64;
            let found = square.sqrt() / mean;
            assert!((mean * 50.0 - 1.0).abs() < tolerance, "mean {mean}");
            assert!((found - cv).abs() <= tolerance * cv.max(0.01), "cv {found}");
        }
        check(Arrivals::Poisson, 1.0, 0.01);
        check(Arrivals::Constant, 0.0, 0.01);
        check(Arrivals::Gamma { cv: 0.5 }, 0.5, 0.02);
        check(Arrivals::Gamma { cv: 3.0 }, 3.0, 0.05);
        check(Arrivals::Gamma { cv: 13.0 }, 13.0, 0.1);
    }

    #[test]
    fn bursts_keep_the_mean_rate_and_the_factor() {
        let (on, off) = (Duration::from_secs(10), Duration::from_secs(30));
        let mut clock = Clock::new(Arrivals::Bursts { on, off, factor: 8.0 }, 100.0, 5);
        let offset = match &clock.kind {
            Kind::Bursts(cycle) => cycle.offset,
            Kind::Poisson | Kind::Constant | Kind::Gamma { .. } => panic!("no cycle"),
        };
        let (mut high, mut low) = (0.0, 0.0);
        loop {
            let at = clock.advance();
            if at >= 4_000.0 {
                break;
            }
            if (at + offset) % 40.0 < 10.0 { high += 1.0 } else { low += 1.0 }
        }
        assert!(((high + low) / 400_000.0_f64 - 1.0).abs() < 0.02);
        assert!(((high / 10.0) / (low / 30.0) / 8.0_f64 - 1.0).abs() < 0.02);
    }

    #[test]
    fn a_higher_rate_brings_the_same_arrivals_sooner() {
        let slow = gaps(Arrivals::Gamma { cv: 2.0 }, 10.0, 9, 100);
        let fast = gaps(Arrivals::Gamma { cv: 2.0 }, 20.0, 9, 100);
        for (slow, fast) in slow.iter().zip(&fast) {
            assert!((slow / fast - 2.0).abs() < 1e-6);
        }
    }
}
