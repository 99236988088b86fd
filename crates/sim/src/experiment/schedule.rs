//! `rates`, `seeds` and the times of an experiment.

use std::time::Duration;

use pointsman_core::seconds;
use pointsman_yaml::{Field, Fields, ValueKind};

use super::values::{above_zero, duration, mistake, time_span};

/// Default number of seeds.
const SEEDS: u32 = 6;

/// Most requests of a run.
const MOST_REQUESTS: f64 = 2e7;

/// Highest rate in requests per second.
const MOST_RATE: f64 = 1e6;

/// The times of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) warm_up: Duration,
    pub(super) duration: Duration,
    pub(super) drain: Duration,
}

pub(super) fn read_times(fields: &mut Fields<'_>) -> Option<Times> {
    let length = fields.get("duration").map_or(Some(Duration::from_secs(120)), |f| time_span(&f));
    let warm_up = fields.get("warmUp").map(|field| (duration(&field), field));
    let drain = fields.get("drain").map_or(Some(Duration::from_secs(600)), |f| duration(&f));
    let length = length?;
    let warm_up = match warm_up {
        None => length / 10,
        Some((warm_up, field)) => {
            let warm_up = warm_up?;
            if warm_up >= length {
                let message = format!(
                    "is {warm_up:?}, not shorter than the duration of {length:?}: nothing would be counted"
                );
                return mistake(&field, message, "make it shorter than duration");
            }
            warm_up
        }
    };
    Some(Times { warm_up, duration: length, drain: drain? })
}

/// Reads the rates: a list, or `{from, to, by}`.
pub(super) fn read_rates(field: &Field<'_>, length: Option<Duration>) -> Option<Vec<f64>> {
    let is_too_many = |rate: f64| length.is_some_and(|length| rate * seconds(length) > MOST_REQUESTS);
    let too_many = || format!("makes more than {MOST_REQUESTS:.0} requests a run");
    let rates = match field.kind() {
        ValueKind::Mapping => {
            let rates = field.fields(read_range).flatten()?;
            if rates.iter().any(|rate| is_too_many(*rate)) {
                field.error(too_many(), "lower the rates, or the duration");
            }
            rates
        }
        ValueKind::Number | ValueKind::String | ValueKind::List => {
            let mut known: Vec<f64> = Vec::new();
            let rates = field.list(200, |item| {
                let rate = above_zero(item, MOST_RATE)?;
                if known.contains(&rate) {
                    return mistake(item, "is listed twice", "remove it");
                }
                if is_too_many(rate) {
                    return mistake(item, too_many(), "lower it, or the duration");
                }
                known.push(rate);
                Some(rate)
            });
            if rates.is_empty() && field.is_sound() {
                field.error("has no rate", "write such as rates: [100, 200]");
            }
            rates
        }
    };
    field.is_sound().then_some(rates).filter(|rates| !rates.is_empty())
}

fn read_range(fields: &mut Fields<'_>) -> Option<Vec<f64>> {
    let mut rate = |name, fix| fields.required(name, fix).and_then(|f| above_zero(&f, MOST_RATE));
    let (from, to, by) =
        (rate("from", "write from: 100"), rate("to", "write to: 1000"), rate("by", "write by: 100"));
    let (from, to, by) = (from?, to?, by?);
    let steps = (to - from) / by;
    if !(0.0..200.0).contains(&steps) {
        fields.error("gives no rate, or more than 200", "write from below to, and a greater step by");
        return None;
    }
    // A rate may exceed `to` by a rounding error.
    Some(
        (0..200)
            .map(|step| from + f64::from(step) * by)
            .take_while(|rate| *rate <= to * (1.0 + 1e-9))
            .collect(),
    )
}

/// Reads the seeds: a number of seeds, or a list.
pub(super) fn read_seeds(field: Option<&Field<'_>>) -> Option<Vec<u64>> {
    let Some(field) = field else { return Some((1..=u64::from(SEEDS)).collect()) };
    if field.kind() != ValueKind::List {
        return field
            .integer(1..=10_000)
            .and_then(|count| u64::try_from(count).ok())
            .map(|count| (1..=count).collect());
    }
    let mut known: Vec<u64> = Vec::new();
    let seeds = field.list(10_000, |item| {
        let seed = item.integer(0..=i64::MAX).and_then(|seed| u64::try_from(seed).ok())?;
        if known.contains(&seed) {
            return mistake(item, "is listed twice", "remove it: the same run would count twice");
        }
        known.push(seed);
        Some(seed)
    });
    if seeds.is_empty() && field.is_sound() {
        field.error("has no seed", "write how many, such as seeds: 6");
    }
    field.is_sound().then_some(seeds)
}
