//! Durations as text.

use std::time::Duration;

/// Parses a duration of one or more numbers with units (`h`, `m`, `s`, `ms`, `us`), such as `1m30s` or `1.5s`.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    parts(text)?.into_iter().try_fold(Duration::ZERO, |sum, (number, unit)| {
        let seconds = match unit {
            "h" => 3_600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" => 1e-6,
            _ => return None,
        };
        let part = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        sum.checked_add(part)
    })
}

/// Parses a duration of the Gateway API (GEP-2257): one to four parts of up to five digits and a unit (`h`, `m`, `s`,
/// `ms`).
#[must_use]
pub fn parse_gateway_duration(text: &str) -> Option<Duration> {
    let parts = parts(text)?;
    let is_allowed =
        |(number, unit): &(&str, &str)| number.len() <= 5 && !number.contains('.') && *unit != "us";
    if parts.len() > 4 || !parts.iter().all(is_allowed) {
        return None;
    }
    parse_duration(text)
}

/// Splits `1m30s` into (`1`, `m`) and (`30`, `s`).
fn parts(text: &str) -> Option<Vec<(&str, &str)>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() || parts.is_empty() {
        let (number, behind) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let unit_end = behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len());
        let unit;
        (unit, rest) = behind.split_at(unit_end);
        parts.push((number, unit));
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateway_durations_follow_gep_2257() {
        #[track_caller]
        fn check(text: &str, milliseconds: Option<u64>) {
            assert_eq!(parse_gateway_duration(text), milliseconds.map(Duration::from_millis), "{text}");
        }
        check("30s", Some(30_000));
        check("1m30s", Some(90_000));
        check("1h2m3s4ms", Some(3_723_004));
        check("0s", Some(0));
        check("99999h", Some(359_996_400_000));
        for bad in ["", "30", "s", "1.5s", "-1s", "100000s", "1s1s1s1s1s", "1d", "1 s", "1us"] {
            check(bad, None);
        }
    }

    #[test]
    fn durations_may_have_fractions_and_microseconds() {
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
        let endless = format!("{}h", "9".repeat(400));
        for bad in
            ["", "5", "s", "1.2.3s", "-1s", "1d", "1 s", "NaNs", "infs", "1s ", "1e3s", "0", "é", &endless]
        {
            check(bad, None);
        }
    }
}
