//! Values of an experiment's fields: durations with fractions and microseconds, rates, counts.

use std::time::Duration;

use pointsman_yaml::Field;

/// Reports a mistake in a field, which then has no value.
pub(super) fn mistake<T>(field: &Field<'_>, message: impl Into<String>, fix: impl Into<String>) -> Option<T> {
    field.error(message, fix);
    None
}

/// A number above 0.
pub(super) fn above_zero(field: &Field<'_>, most: f64) -> Option<f64> {
    let written = field.written("a number")?;
    match written.parse::<f64>() {
        Ok(number) if number > 0.0 && number <= most => Some(number),
        Ok(number) if number > most => {
            mistake(field, format!("is {written}, above {most}"), format!("write a number up to {most}"))
        }
        Ok(_) => mistake(field, format!("is {written}: it must be above 0"), "write a number above 0"),
        Err(_) => mistake(field, format!("{written:?} is not a number above 0"), "write a number above 0"),
    }
}

/// Longest duration: 30 days.
const LONGEST: Duration = Duration::from_hours(30 * 24);

/// A duration such as `250us`, `1.5s` or `1m30s`; zero is allowed.
pub(super) fn duration(field: &Field<'_>) -> Option<Duration> {
    let duration = field.duration()?;
    if duration > LONGEST {
        return mistake(field, "is longer than 30 days", "shorten it");
    }
    Some(duration)
}

/// A duration above zero.
pub(super) fn time_span(field: &Field<'_>) -> Option<Duration> {
    let duration = duration(field)?;
    if duration.is_zero() {
        return mistake(field, "is zero", "write a time above 0s");
    }
    Some(duration)
}
