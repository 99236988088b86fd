//! Random variates of workloads, computed with additions, multiplications, divisions and roots only: a platform's `ln`
//! and `exp` may differ, and equal seeds must give equal workloads on every build.

use std::f64::consts::{LN_2, SQRT_2};

use pointsman_random::{Rng, mix};

/// The purpose of a draw. Each purpose has its own stream, so a change to one leaves the others as they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// Gaps between arrivals.
    Arrivals = 1,
    /// The class of a job.
    Class,
    /// Prompt tokens, or the pair of prompt and output.
    Lengths,
    /// Output tokens.
    Output,
    /// The prefix group of a job.
    Group,
    /// Tokens of a group's shared prefix.
    GroupLength,
    /// Tokens of a session's system prompt.
    SystemPrompt,
    /// Turns of a session.
    Turns,
    /// Think time before a turn.
    ThinkTime,
    /// The adapter or model of a job.
    Adapter,
    /// The priority of a job.
    Priority,
    /// Whether the response is streamed.
    Streamed,
    /// Whether the client bounds the output.
    Bound,
    /// The client's connection.
    Connection,
    /// The first row of a trace.
    Start,
    /// Prompt content.
    Content,
}

/// A stream of random variates.
#[derive(Clone, Debug)]
pub struct Draw(Rng);

impl Draw {
    /// The stream of one purpose for one job, session or group.
    #[must_use]
    pub const fn of(seed: u64, purpose: Purpose, number: u64) -> Self {
        Self(Rng::seeded(mix(mix(seed, purpose as u64), number)))
    }

    /// 64 random bits.
    pub const fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in the open interval (0, 1): `ln` of it is finite.
    pub const fn unit(&mut self) -> f64 {
        ((self.bits() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// Exponential with mean 1.
    pub fn exponential(&mut self) -> f64 {
        -ln(self.unit())
    }

    /// Standard normal, by Marsaglia's polar method.
    pub(super) fn normal(&mut self) -> f64 {
        loop {
            let (x, y) = (2.0 * self.unit() - 1.0, 2.0 * self.unit() - 1.0);
            let square = x * x + y * y;
            if square > 0.0 && square < 1.0 {
                return x * (-2.0 * ln(square) / square).sqrt();
            }
        }
    }

    /// Gamma with this shape and scale 1 (Marsaglia and Tsang, TOMS 2000).
    pub(super) fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            let power = ln(self.unit()) / shape;
            return self.gamma(shape + 1.0) * exp(power);
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let root = 1.0 + c * x;
            if root <= 0.0 {
                continue;
            }
            let v = root * root * root;
            if ln(self.unit()) < 0.5 * x * x + d - d * v + d * ln(v) {
                return d * v;
            }
        }
    }
}

/// Natural logarithm of a positive normal number, within a few units in the last place.
pub(super) fn ln(x: f64) -> f64 {
    const MANTISSA: u64 = (1 << 52) - 1;
    let bits = x.to_bits();
    let mut exponent = f64::from(u16::try_from(bits >> 52 & 0x7ff).unwrap_or(0)) - 1023.0;
    let mut fraction = f64::from_bits(bits & MANTISSA | 1023 << 52);
    if fraction > SQRT_2 {
        fraction /= 2.0;
        exponent += 1.0;
    }
    // ln f = 2 artanh((f − 1)/(f + 1)); the argument is at most 0.172 here, so twelve terms suffice.
    let t = (fraction - 1.0) / (fraction + 1.0);
    let square = t * t;
    let series = (0..12).rev().fold(0.0, |sum, i| sum * square + 1.0 / f64::from(2 * i + 1));
    exponent * LN_2 + 2.0 * t * series
}

/// Exponential function; 0 and infinity beyond the range of a double.
pub(super) fn exp(x: f64) -> f64 {
    if x < -708.0 {
        return 0.0;
    }
    if x > 709.0 {
        return f64::INFINITY;
    }
    let power = (x / LN_2).round();
    let rest = x - power * LN_2;
    let series = (1..16).rev().fold(1.0, |sum, i| 1.0 + sum * rest / f64::from(i));
    series * f64::from_bits(((power + 1023.0) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithm_and_exponential_agree_with_the_platforms() {
        let mut draw = Draw::of(1, Purpose::Class, 1);
        for _ in 0..10_000 {
            let x = (draw.unit() * 80.0 - 40.0).exp();
            assert!((ln(x) - x.ln()).abs() <= 1e-14 * x.ln().abs().max(1.0), "{x}");
            let x = draw.unit() * 1_400.0 - 700.0;
            assert!((exp(x) / x.exp() - 1.0).abs() < 1e-12, "{x}");
        }
        assert_eq!((ln(1.0), exp(0.0), exp(-1e9), exp(1e9)), (0.0, 1.0, 0.0, f64::INFINITY));
    }

    fn mean_and_deviation(draw: impl Fn(&mut Draw) -> f64) -> (f64, f64) {
        let mut stream = Draw::of(3, Purpose::Class, 9);
        let values: Vec<f64> = (0..200_000).map(|_| draw(&mut stream)).collect();
        let mean = values.iter().sum::<f64>() / 200_000.0;
        let variance = values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / 200_000.0;
        (mean, variance.sqrt())
    }

    #[test]
    fn variates_have_the_mean_and_deviation_of_their_distribution() {
        #[track_caller]
        fn check(draw: impl Fn(&mut Draw) -> f64, mean: f64, deviation: f64) {
            let found = mean_and_deviation(draw);
            let near = |a: f64, b: f64| (a - b).abs() < 0.02 * deviation;
            assert!(near(found.0, mean) && near(found.1, deviation), "{found:?}");
        }
        check(Draw::unit, 0.5, 1.0 / 12_f64.sqrt());
        check(Draw::exponential, 1.0, 1.0);
        check(Draw::normal, 0.0, 1.0);
        check(|draw| draw.gamma(4.0), 4.0, 2.0);
        check(|draw| draw.gamma(0.25), 0.25, 0.5);
    }

    #[test]
    fn purposes_and_numbers_have_separate_streams() {
        let first = |seed, purpose, number| Draw::of(seed, purpose, number).bits();
        let base = first(1, Purpose::Class, 1);
        assert_eq!(base, first(1, Purpose::Class, 1));
        for other in [first(2, Purpose::Class, 1), first(1, Purpose::Lengths, 1), first(1, Purpose::Class, 2)]
        {
            assert_ne!(base, other);
        }
    }
}
