//! Arrival processes.

use std::time::Duration;

use pointsman_core::{Time, seconds};

use super::draw::{Draw, Purpose};
use super::trace::Trace;

/// The arrival process; the run sets its mean rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrivals {
    /// Poisson process: independent exponential gaps.
    Poisson,
    /// Equal gaps.
    Constant,
    /// Renewal process with gamma-distributed gaps.
    Gamma {
        /// Coefficient of variation of a gap; 1 is Poisson.
        cv: f64,
    },
    /// On-off process: two rates in alternation, Poisson within each; a run starts at a random phase.
    Bursts {
        /// Duration of the high rate.
        on: Duration,
        /// Duration of the low rate.
        off: Duration,
        /// Ratio of the high rate to the low one.
        factor: f64,
    },
    /// The timestamps of the trace, scaled to the rate. Each seed starts at its own row and wraps around at the end.
    Recorded,
}

/// Arrival times of one run, one after the other.
#[derive(Clone, Debug)]
pub struct ArrivalTimes {
    draw: Draw,
    rate: f64,
    /// Seconds from the start; for [`Kind::Bursts`], expected arrivals since the start of a cycle.
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

impl ArrivalTimes {
    /// The arrivals of a seed at a mean rate per second. [`Arrivals::Recorded`] needs a trace and counts as Poisson here.
    #[must_use]
    pub fn new(arrivals: Arrivals, rate: f64, seed: u64) -> Self {
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

    /// Seconds from the start of the run to the next arrival.
    pub fn advance(&mut self) -> f64 {
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

/// A cycle of an on-off process; rates per second, times in seconds.
#[derive(Clone, Debug)]
struct Cycle {
    on: f64,
    off: f64,
    high: f64,
    low: f64,
    /// Phase at which the run starts.
    offset: f64,
}

impl Cycle {
    fn new(on: f64, off: f64, factor: f64, mean: f64, draw: &mut Draw) -> Self {
        let low = mean * (on + off) / (factor * on + off);
        Self { on, off, high: low * factor, low, offset: draw.unit() * (on + off) }
    }

    /// Expected arrivals from the cycle's start to a time within it.
    fn expected(&self, at: f64) -> f64 {
        if at < self.on { at * self.high } else { self.on * self.high + (at - self.on) * self.low }
    }

    /// Inverse of the expected arrivals: seconds from a cycle's start.
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

/// The rows of a trace in order, from a start that the seed draws.
#[derive(Clone, Debug)]
pub(super) struct TraceRows {
    start: usize,
    taken: usize,
    /// Seconds of the run per second of the trace.
    stretch: f64,
}

impl TraceRows {
    pub(super) fn new(trace: &Trace, rate: f64, seed: u64) -> Self {
        let count = trace.rows.len().max(1) as u64;
        let start = usize::try_from(Draw::of(seed, Purpose::Start, 0).bits() % count).unwrap_or(0);
        Self { start, taken: 0, stretch: trace.rate() / rate }
    }

    /// Index of the next row and its arrival in seconds from the start; `None` once every row was taken.
    pub(super) fn advance(&mut self, trace: &Trace) -> Option<(usize, f64)> {
        let count = trace.rows.len();
        if self.taken >= count {
            return None;
        }
        let place = (self.start + self.taken) % count;
        self.taken += 1;
        let (first, here) = (trace.rows[self.start].at, trace.rows[place].at);
        let wrapped = if place < self.start { trace.cycle_seconds() } else { 0.0 };
        let since_zero = |time: Time| seconds(time.since(Time::ZERO));
        Some((place, (since_zero(here) - since_zero(first) + wrapped) * self.stretch))
    }
}

/// Virtual time from seconds since the start; saturates at both ends.
pub(super) fn time(seconds: f64) -> Time {
    Time::from_nanos((seconds * 1e9) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaps(arrivals: Arrivals, rate: f64, seed: u64, count: usize) -> Vec<f64> {
        let mut times = ArrivalTimes::new(arrivals, rate, seed);
        let times: Vec<f64> = (0..count).map(|_| times.advance()).collect();
        assert!(times[0] >= 0.0 && times.is_sorted());
        times.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    #[test]
    fn gaps_have_the_mean_and_variation_of_the_process() {
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
        let mut times = ArrivalTimes::new(Arrivals::Bursts { on, off, factor: 8.0 }, 100.0, 5);
        let offset = match &times.kind {
            Kind::Bursts(cycle) => cycle.offset,
            Kind::Poisson | Kind::Constant | Kind::Gamma { .. } => panic!("no cycle"),
        };
        let (mut high, mut low) = (0.0, 0.0);
        loop {
            let at = times.advance();
            if at >= 4_000.0 {
                break;
            }
            if (at + offset) % 40.0 < 10.0 { high += 1.0 } else { low += 1.0 }
        }
        assert!(((high + low) / 400_000.0_f64 - 1.0).abs() < 0.02);
        assert!(((high / 10.0) / (low / 30.0) / 8.0_f64 - 1.0).abs() < 0.02);
    }

    #[test]
    fn a_higher_rate_compresses_the_same_arrivals() {
        let slow = gaps(Arrivals::Gamma { cv: 2.0 }, 10.0, 9, 100);
        let fast = gaps(Arrivals::Gamma { cv: 2.0 }, 20.0, 9, 100);
        for (slow, fast) in slow.iter().zip(&fast) {
            assert!((slow / fast - 2.0).abs() < 1e-6);
        }
    }
}
