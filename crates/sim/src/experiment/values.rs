//! Values of an experiment's fields: durations with fractions and microseconds, rates, counts.

use std::time::Duration;

use pointsman_yaml::Field;

/// A number above 0.
pub(super) fn above_zero(field: &Field<'_>, most: f64) -> Option<f64> {
    let written = field.written("a number")?;
    match written.parse::<f64>() {
        Ok(number) if number > 0.0 && number <= most => Some(number),
        Ok(number) if number > most => {
            field.error(format!("is {written}, above {most}"), format!("write a number up to {most}"));
            None
        }
        Ok(_) => {
            field.error(format!("is {written}: it must be above 0"), "write a number above 0");
            None
        }
        Err(_) => {
            field.error(format!("{written:?} is not a number above 0"), "write a number above 0");
            None
        }
    }
}

/// Longest duration: 30 days.
const LONGEST: Duration = Duration::from_hours(30 * 24);

/// A duration such as `250us`, `1.5s` or `1m30s`; zero is allowed.
pub(super) fn duration(field: &Field<'_>) -> Option<Duration> {
    let duration = field.duration()?;
    if duration > LONGEST {
        field.error("is longer than 30 days", "shorten it");
        return None;
    }
    Some(duration)
}

/// A duration above zero.
pub(super) fn time_span(field: &Field<'_>) -> Option<Duration> {
    let duration = duration(field)?;
    if duration.is_zero() {
        field.error("is zero", "write a time above 0s");
        return None;
    }
    Some(duration)
}
