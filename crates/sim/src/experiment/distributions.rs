//! Distributions of tokens, turns and seconds.

use pointsman_workload::{Choice, Distribution};
use pointsman_yaml::{Field, Fields, ValueKind};

use super::values::{above_zero, duration, mistake};

/// The unit of a distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Whole numbers from 1.
    Count,
    /// Durations, zero allowed where they are fixed.
    Seconds,
}

/// Upper limit of values: tokens or seconds.
const MOST: f64 = 1e7;

/// Default of `max`: this many means of an exponential, which 1 value in 22,000 exceeds, or this many standard deviations
/// above the mean of a log-normal.
const TAIL: f64 = 10.0;

type Reader = fn(&mut Fields<'_>, Unit) -> Option<Distribution>;

/// The kinds of distributions with the readers of their parameters.
const KINDS: [(&str, Reader); 5] = [
    ("fixed", read_fixed),
    ("uniform", read_uniform),
    ("exponential", read_exponential),
    ("lognormal", read_log_normal),
    ("quantiles", read_quantiles),
];

/// Reads a distribution, or a single value.
pub(super) fn read(field: &Field<'_>, unit: Unit) -> Option<Distribution> {
    match field.kind() {
        ValueKind::Mapping => field.fields(|fields| read_kind(fields, unit)).flatten(),
        ValueKind::Number | ValueKind::String | ValueKind::List => {
            value(field, unit).map(Distribution::Fixed)
        }
    }
}

fn value(field: &Field<'_>, unit: Unit) -> Option<f64> {
    match unit {
        Unit::Count => {
            field.integer(1..=10_000_000).and_then(|tokens| u32::try_from(tokens).ok()).map(f64::from)
        }
        Unit::Seconds => duration(field).map(|duration| duration.as_secs_f64()),
    }
}

/// A parameter, not necessarily a whole number.
fn parameter(field: &Field<'_>, unit: Unit) -> Option<f64> {
    match unit {
        Unit::Count => above_zero(field, MOST),
        Unit::Seconds => value(field, unit),
    }
}

fn read_kind(fields: &mut Fields<'_>, unit: Unit) -> Option<Distribution> {
    let kind = fields.required("kind", "write kind: uniform, exponential, lognormal, quantiles or fixed");
    let Some(read) = kind.and_then(|field| field.choice(&KINDS)) else {
        fields.ignore_rest();
        return None;
    };
    read(fields, unit)
}

fn read_fixed(fields: &mut Fields<'_>, unit: Unit) -> Option<Distribution> {
    fields.required_value("value", "write value", |f| value(f, unit)).map(Distribution::Fixed)
}

fn read_exponential(fields: &mut Fields<'_>, unit: Unit) -> Option<Distribution> {
    let mean = mean(fields, unit);
    let max = read_max(fields, unit, mean, 0.0);
    Some(Distribution::Exponential { mean: mean?, max: max? })
}

fn read_log_normal(fields: &mut Fields<'_>, unit: Unit) -> Option<Distribution> {
    let mean = mean(fields, unit);
    let fix = "write sd, the standard deviation";
    let deviation = fields.required_value("sd", fix, |f| positive(f, unit));
    let max = read_max(fields, unit, mean, deviation.unwrap_or(0.0));
    Some(Distribution::LogNormal { mean: mean?, deviation: deviation?, max: max? })
}

fn read_quantiles(fields: &mut Fields<'_>, unit: Unit) -> Option<Distribution> {
    let fix = "write points: [[0, 4], [0.5, 100], [1, 1000]]";
    fields.required_value("points", fix, |field| read_points(field, unit))
}

fn positive(field: &Field<'_>, unit: Unit) -> Option<f64> {
    let number = parameter(field, unit)?;
    if number <= 0.0 {
        return mistake(field, "is zero", "write a greater value, or kind: fixed");
    }
    Some(number)
}

fn mean(fields: &mut Fields<'_>, unit: Unit) -> Option<f64> {
    fields.required("mean", "write mean").and_then(|f| positive(&f, unit))
}

fn read_uniform(fields: &mut Fields<'_>, unit: Unit) -> Option<Distribution> {
    let low = fields.required("low", "write low").and_then(|f| parameter(&f, unit));
    let field = fields.required("high", "write high");
    let high = field.as_ref().and_then(|f| parameter(f, unit));
    let (low, high) = (low?, high?);
    if low > high {
        if let Some(field) = field {
            field.error(format!("is {high}, below low ({low})"), "make it the greater one");
        }
        return None;
    }
    Some(Distribution::Uniform { low, high })
}

fn read_max(fields: &mut Fields<'_>, unit: Unit, mean: Option<f64>, deviation: f64) -> Option<f64> {
    let field = fields.get("max");
    let mean = mean?;
    let spread = if deviation > 0.0 { deviation * TAIL + mean } else { mean * TAIL };
    let Some(field) = field else { return Some(spread.min(MOST)) };
    let max = parameter(&field, unit)?;
    if max < mean {
        return mistake(&field, "is below the mean", "raise it, or lower the mean");
    }
    Some(max)
}

fn read_points(field: &Field<'_>, unit: Unit) -> Option<Distribution> {
    let points = field.list(1_000, |item| {
        let mut numbers = Vec::new();
        item.list(2, |number| {
            let number = if numbers.is_empty() { number.share() } else { parameter(number, unit) };
            numbers.push(number?);
            Some(())
        });
        let [share, value] = numbers[..] else {
            if item.is_sound() {
                item.error("is not a pair", "write [share, value], such as [0.5, 100]");
            }
            return None;
        };
        Some((share, value))
    });
    if !field.is_sound() {
        return None;
    }
    let ends = (points.first().map(|p| p.0), points.last().map(|p| p.0));
    if ends != (Some(0.0), Some(1.0)) {
        return mistake(
            field,
            "does not cover the shares 0 to 1",
            "start with [0, least] and end with [1, most]",
        );
    }
    if !points.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1) {
        return mistake(field, "does not rise", "let shares rise, and values not fall");
    }
    Some(Distribution::Quantiles(points.into()))
}

/// Reads `weights`, or `count` with `zipf`.
pub(super) fn read_choice(fields: &mut Fields<'_>, count: &'static str, most: u32) -> Option<Choice> {
    let (count_field, zipf, weights) = (fields.get(count), fields.get("zipf"), fields.get("weights"));
    if let Some(weights) = weights {
        for field in [&count_field, &zipf].into_iter().flatten() {
            field.error("has no effect beside weights", "remove it, or the weights");
        }
        return read_weights(&weights, most).map(|weights| Choice::weighted(&weights));
    }
    let exponent = zipf.as_ref().map_or(Some(0.0), |field| field.number(0.0..=10.0));
    let Some(field) = count_field else {
        fields.error(format!("has neither {count} nor weights"), format!("write {count}: 10"));
        return None;
    };
    let found = field.integer(1..=i64::from(most)).and_then(|count| u32::try_from(count).ok())?;
    if let Some(zipf) = zipf.filter(|_| found == 1) {
        zipf.error("has no effect: there is one item only", "remove it");
    }
    Some(Choice::zipf(found, exponent?))
}

/// A list of weights above 0.
pub(super) fn read_weights(field: &Field<'_>, most: u32) -> Option<Vec<f64>> {
    let mut sound = true;
    let weights = field.list(most as usize, |item| {
        let weight = above_zero(item, 1e9);
        sound &= weight.is_some();
        weight
    });
    if weights.is_empty() && field.is_sound() {
        field.error("has no weight", "write one for each");
    }
    (sound && !weights.is_empty()).then_some(weights)
}
