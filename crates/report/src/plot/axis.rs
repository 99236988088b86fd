//! Scales and ticks of axes.

/// A mapping from values to positions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scale {
    low: f64,
    high: f64,
    logarithmic: bool,
    from: f64,
    to: f64,
    /// A value and its share of the way, from which on the scale has another pitch.
    bend: Option<(f64, f64)>,
}

/// Ratio of the largest to the smallest value above which a scale is logarithmic.
const LOGARITHMIC_FROM: f64 = 25.0;

impl Scale {
    /// A scale for values, with positions between `from` and `to`: linear from zero to a round number, or
    /// logarithmic for wide ranges.
    pub(crate) fn of_values(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
        for value in values.filter(|value| value.is_finite() && *value > 0.0) {
            least = least.min(value);
            most = most.max(value);
        }
        if most <= 0.0 {
            return Self { low: 0.0, high: 1.0, logarithmic: false, from, to, bend: None };
        }
        if most / least > LOGARITHMIC_FROM {
            let (low, high) = (below(least), above(most));
            return Self { low, high, logarithmic: true, from, to, bend: None };
        }
        let step = round_step(most / 5.0);
        Self { low: 0.0, high: (most / step).ceil() * step, logarithmic: false, from, to, bend: None }
    }

    /// A linear scale from `low` to `high`.
    pub(crate) fn between(low: f64, high: f64, from: f64, to: f64) -> Self {
        let high = if high > low { high } else { low + 1.0 };
        Self { low, high, logarithmic: false, from, to, bend: None }
    }

    /// A linear scale around values, without zero.
    pub(crate) fn around(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| value.is_finite()) {
            least = least.min(value);
            most = most.max(value);
        }
        if least > most {
            return Self::between(0.0, 1.0, from, to);
        }
        let room = if most > least { 0.04 * (most - least) } else { 0.5 * most.abs().max(1.0) };
        Self::between(least - room, most + room, from, to)
    }

    /// Gives the values up to `value` at least `share` of the way; the others are compressed.
    pub(crate) fn with_room_below(self, value: f64, share: f64) -> Self {
        let natural = (value - self.low) / (self.high - self.low);
        let bends = !self.logarithmic && natural > 0.0 && natural < share;
        Self { bend: bends.then_some((value, share)), ..self }
    }

    pub(crate) const fn high(&self) -> f64 {
        self.high
    }

    /// The position of a value, clamped to the scale.
    pub(crate) fn at(&self, value: f64) -> f64 {
        let value = value.clamp(self.low, self.high);
        let share = match self.bend {
            _ if self.logarithmic => (value / self.low).ln() / (self.high / self.low).ln(),
            None => (value - self.low) / (self.high - self.low),
            Some((bend, share)) if value <= bend => share * (value - self.low) / (bend - self.low),
            Some((bend, share)) => share + (1.0 - share) * (value - bend) / (self.high - bend),
        };
        self.from + share * (self.to - self.from)
    }

    /// About six round values of the scale.
    pub(crate) fn ticks(&self) -> Vec<f64> {
        if self.logarithmic { self.decades() } else { self.steps() }
    }

    fn steps(&self) -> Vec<f64> {
        let step = round_step((self.high - self.low) / 5.0);
        let first = (self.low / step - 1e-9).ceil();
        (0..20_u8)
            .map(|index| (first + f64::from(index)) * step)
            .take_while(|&tick| tick <= self.high + step * 1e-9)
            .collect()
    }

    fn decades(&self) -> Vec<f64> {
        let wide = self.high / self.low > 5_000.0;
        let mantissas: &[f64] = if wide { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let mut decade = 10.0_f64.powf(self.low.log10().floor());
        let mut ticks = Vec::new();
        while decade <= self.high * 1.000_001 && ticks.len() < 40 {
            for tick in mantissas.iter().map(|mantissa| mantissa * decade) {
                if tick >= self.low * 0.999_999 && tick <= self.high * 1.000_001 {
                    ticks.push(tick);
                }
            }
            decade *= 10.0;
        }
        ticks
    }
}

/// 1, 2, 2.5 or 5 times a power of ten, at least `step`.
fn round_step(step: f64) -> f64 {
    let decade = 10.0_f64.powf(step.log10().floor());
    let found = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|mantissa| mantissa * decade >= step * 0.999_999);
    found.unwrap_or(10.0) * decade
}

/// 1, 2 or 5 times a power of ten, at most `value`.
fn below(value: f64) -> f64 {
    let decade = 10.0_f64.powf(value.log10().floor());
    let found = [5.0, 2.0, 1.0].into_iter().find(|mantissa| mantissa * decade <= value);
    found.unwrap_or(1.0) * decade
}

/// 1, 2 or 5 times a power of ten, at least `value`.
fn above(value: f64) -> f64 {
    let decade = 10.0_f64.powf(value.log10().floor());
    let found = [1.0, 2.0, 5.0, 10.0].into_iter().find(|mantissa| mantissa * decade >= value);
    found.unwrap_or(10.0) * decade
}

/// The label of a tick, with thousands separators and without trailing zeros.
pub(crate) fn tick_label(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let size = value.abs();
    if (1_000.0..1e15).contains(&size) && (value - value.round()).abs() < 1e-6 {
        let digits = format!("{size:.0}");
        let grouped = crate::number::grouped(&digits);
        return if value < 0.0 { format!("−{grouped}") } else { grouped };
    }
    let text = format!("{value:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "0" || text.is_empty() { format!("{value:e}") } else { text.replace('-', "−") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: &[f64], expect: &[f64]) {
        let ticks = Scale::of_values(values.iter().copied(), 0.0, 100.0).ticks();
        assert_eq!(ticks.len(), expect.len(), "{values:?}: {ticks:?}");
        for (found, expect) in ticks.iter().zip(expect) {
            assert!((found - expect).abs() < 1e-9 * expect.abs().max(1.0), "{values:?}: {ticks:?}");
        }
    }

    #[test]
    fn ticks_are_round_and_cover_the_values() {
        check(&[3.0, 9.0], &[0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        check(&[12.4], &[0.0, 2.5, 5.0, 7.5, 10.0, 12.5]);
        check(&[1.0, 60.0], &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]);
        check(&[0.02, 126.0], &[0.1, 1.0, 10.0, 100.0]);
        check(&[], &[0.0, 0.2, 0.4, 0.6, 0.8, 1.0]);
        check(&[f64::INFINITY, f64::NAN, 0.0, -1.0], &[0.0, 0.2, 0.4, 0.6, 0.8, 1.0]);
    }

    #[test]
    fn positions_follow_the_scale() {
        let linear = Scale::between(0.0, 10.0, 100.0, 0.0);
        assert_eq!([0.0, 5.0, 10.0, 11.0].map(|value| linear.at(value)), [100.0, 50.0, 0.0, 0.0]);
        let logarithmic = Scale::of_values([1.0, 100.0].into_iter(), 0.0, 2.0);
        assert!(logarithmic.logarithmic && (logarithmic.at(10.0) - 1.0).abs() < 1e-9);
        let point = Scale::around([7.0].into_iter(), 0.0, 1.0);
        assert!((point.at(7.0) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn a_bent_scale_gives_room_to_the_lower_values() {
        let bent = Scale::between(0.0, 100.0, 0.0, 10.0).with_room_below(20.0, 0.7);
        assert_eq!([0.0, 10.0, 20.0, 60.0, 100.0].map(|value| bent.at(value)), [0.0, 3.5, 7.0, 8.5, 10.0]);
        let wide = Scale::between(0.0, 100.0, 0.0, 10.0).with_room_below(80.0, 0.7);
        assert_eq!(wide.at(80.0), 8.0, "there is room already");
        assert_eq!(Scale::between(0.0, 1.0, 0.0, 1.0).with_room_below(0.0, 0.7).at(0.5), 0.5);
    }

    #[test]
    fn labels_have_no_trailing_zeros() {
        for (value, expect) in [
            (0.0, "0"),
            (2.5, "2.5"),
            (0.002, "0.002"),
            (12_000.0, "12,000"),
            (-1_500.0, "−1,500"),
            (0.1 + 0.2, "0.3"),
        ] {
            assert_eq!(tick_label(value), expect);
        }
    }
}
