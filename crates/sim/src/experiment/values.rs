//! Values of an experiment's fields: durations with fractions and microseconds, rates, counts.

use std::time::Duration;

use pointsman_config::document::Field;

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

/// A duration such as `250us`, `1.5s` or `1m30s`; zero is allowed.
pub(super) fn duration(field: &Field<'_>) -> Option<Duration> {
    let written = field.written("a duration")?;
    let duration = parse_duration(written);
    if duration.is_none() {
        field.error(format!("{written:?} is not a duration"), "write it like 250us, 500ms, 1.5s or 1m30s");
    }
    duration
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

/// Longest duration: 30 days.
const LONGEST: f64 = 30.0 * 86_400.0;

/// Parts of a number and a unit (h, m, s, ms, us), fractions allowed, 30 days at most.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() || seconds == 0.0 && rest.len() == text.len() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest.get(..digits)?.parse().ok()?;
        let unit = rest.get(digits..)?;
        let length = unit.find(|c: char| c.is_ascii_digit()).unwrap_or(unit.len());
        let factor = match unit.get(..length)? {
            "h" => 3_600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" => 1e-6,
            _ => return None,
        };
        seconds += number * factor;
        rest = unit.get(length..)?;
    }
    (seconds <= LONGEST).then(|| Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_and_may_have_fractions() {
        #[track_caller]
        fn check(text: &str, microseconds: Option<u64>) {
            assert_eq!(parse_duration(text), microseconds.map(Duration::from_micros), "{text}");
        }
        check("120s", Some(120_000_000));
        check("250us", Some(250));
        check("1.5s", Some(1_500_000));
        check("1m30s", Some(90_000_000));
        check("1h0.5m", Some(3_630_000_000));
        check("0s", Some(0));
        check("720h", Some(2_592_000_000_000));
        for bad in ["", "5", "s", "1.2.3s", "-1s", "1d", "1 s", "721h", "NaNs", "infs", "1s ", "1e3s", "0"] {
            check(bad, None);
        }
    }
}
