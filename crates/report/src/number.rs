//! Numbers as text with a unit and three significant digits.

/// Text for values that were not measured.
const NOT_MEASURED: &str = "–";

/// Milliseconds as `85 µs`, `12.3 ms` or `1.24 s`.
#[must_use]
pub fn millis(value: Option<f64>) -> String {
    match value {
        None => NOT_MEASURED.to_owned(),
        Some(value) if value.is_infinite() => infinite(value).to_owned(),
        Some(value) if value.abs() >= 1_000.0 => format!("{} s", three_digits(value / 1_000.0)),
        Some(value) if value.abs() >= 0.1 || value == 0.0 => format!("{} ms", three_digits(value)),
        Some(value) => format!("{} µs", three_digits(value * 1_000.0)),
    }
}

/// Microseconds.
#[must_use]
pub fn micros(value: Option<f64>) -> String {
    with_unit(value, "µs")
}

/// A rate.
#[must_use]
pub fn per_second(value: Option<f64>) -> String {
    match value {
        Some(value) if value >= 1_000.0 => format!("{}/s", grouped(&format!("{value:.0}"))),
        Some(value) if value.is_finite() => format!("{}/s", three_digits(value)),
        Some(_) | None => NOT_MEASURED.to_owned(),
    }
}

/// A share as a percentage.
#[must_use]
pub fn percent(value: Option<f64>) -> String {
    with_unit(value.map(|share| share * 100.0), "%")
}

/// Bytes as mebibytes.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub fn mebibytes(bytes: Option<u64>) -> String {
    with_unit(bytes.map(|bytes| bytes as f64 / 1_048_576.0), "MiB")
}

/// An integer with thousands separators: `44,000`.
#[must_use]
pub fn count(value: u64) -> String {
    grouped(&value.to_string())
}

/// A ratio with two decimals.
pub(crate) fn ratio(value: Option<f64>) -> String {
    value.map_or_else(|| NOT_MEASURED.to_owned(), |ratio| format!("{ratio:.2}"))
}

fn with_unit(value: Option<f64>, unit: &str) -> String {
    match value {
        None => NOT_MEASURED.to_owned(),
        Some(value) if value.is_infinite() => infinite(value).to_owned(),
        Some(value) => format!("{} {unit}", three_digits(value)),
    }
}

const fn infinite(value: f64) -> &'static str {
    if value > 0.0 { "∞" } else { "-∞" }
}

fn three_digits(value: f64) -> String {
    let size = value.abs();
    let decimals = if size >= 99.95 || size == 0.0 {
        0
    } else if size >= 9.995 {
        1
    } else if size >= 0.9995 {
        2
    } else {
        3
    };
    format!("{value:.decimals$}")
}

pub(crate) fn grouped(digits: &str) -> String {
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(found: &str, expect: &str) {
        assert_eq!(found, expect);
    }

    #[test]
    fn units_follow_the_size() {
        check(&millis(Some(0.0)), "0 ms");
        check(&millis(Some(0.085)), "85.0 µs");
        check(&millis(Some(0.13)), "0.130 ms");
        check(&millis(Some(12.345)), "12.3 ms");
        check(&millis(Some(999.4)), "999 ms");
        check(&millis(Some(1_240.0)), "1.24 s");
        check(&millis(Some(-1_240.0)), "-1.24 s");
        check(&millis(Some(f64::INFINITY)), "∞");
        check(&millis(None), "–");
        check(&micros(Some(22.04)), "22.0 µs");
    }

    #[test]
    fn large_numbers_have_thousands_separators() {
        check(&count(0), "0");
        check(&count(999), "999");
        check(&count(44_000), "44,000");
        check(&count(1_234_567), "1,234,567");
        check(&per_second(Some(43_912.4)), "43,912/s");
        check(&per_second(Some(12.5)), "12.5/s");
        check(&mebibytes(Some(16 * 1_048_576)), "16.0 MiB");
        check(&percent(Some(0.613)), "61.3 %");
    }
}
