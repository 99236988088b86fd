//! Timestamps of traces, in nanoseconds.

use super::SECOND;

/// Seconds since the start of the trace, not negative.
pub(super) fn parse_seconds(text: &str) -> Option<i64> {
    from_seconds(text.parse().ok()?)
}

/// Nanoseconds from seconds, not negative.
pub(super) fn from_seconds(seconds: f64) -> Option<i64> {
    // 9e9 s are 285 years, within the range of 64-bit nanoseconds.
    (0.0..9e9).contains(&seconds).then_some((seconds * 1e9) as i64)
}

/// `2023-11-16 18:15:46.6805900`, years 1970 to 2199; fraction and UTC offset are optional.
pub(super) fn parse_date(text: &str) -> Option<i64> {
    let (date, time) = text.split_once([' ', 'T'])?;
    let [year, month, day] = numbers::<3>(date, '-')?;
    let (time, offset) = split_offset(time)?;
    let (clock, fraction) = time.split_once('.').unwrap_or((time, ""));
    let [hour, minute, second] = numbers::<3>(clock, ':')?;
    let is_sound = (1970..2200).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !is_sound {
        return None;
    }
    let seconds = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset;
    Some(seconds * SECOND + nanoseconds(fraction)?)
}

fn numbers<const N: usize>(text: &str, separator: char) -> Option<[i64; N]> {
    let number = |part: &str| {
        let is_short = (1..=4).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        is_short.then(|| part.parse().ok()).flatten()
    };
    let parts: Option<Vec<i64>> = text.split(separator).map(number).collect();
    parts?.try_into().ok()
}

/// A time of day and its UTC offset in seconds.
fn split_offset(text: &str) -> Option<(&str, i64)> {
    if let Some(time) = text.strip_suffix('Z') {
        return Some((time, 0));
    }
    let Some(place) = text.rfind(['+', '-']) else { return Some((text, 0)) };
    let [hours, minutes] = numbers::<2>(&text[place + 1..], ':')?;
    let sign = if text[place..].starts_with('-') { -1 } else { 1 };
    Some((&text[..place], sign * (hours * 3_600 + minutes * 60)))
}

fn nanoseconds(digits: &str) -> Option<i64> {
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let shown = digits.bytes().chain(std::iter::repeat(b'0')).take(9);
    Some(shown.fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')))
}

const fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

const fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let years: i64 = (1970..year).map(|year| if is_leap(year) { 366 } else { 365 }).sum();
    let months: i64 = (1..month).map(|month| days_in(year, month)).sum();
    years + months + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_become_nanoseconds_since_1970() {
        #[track_caller]
        fn check(text: &str, expected: Option<i64>) {
            assert_eq!(parse_date(text), expected, "{text}");
        }
        check("1970-01-01 00:00:00", Some(0));
        check("2023-11-16 18:15:46.6805900", Some(1_700_158_546_680_590_000));
        check("2024-05-10 00:00:00.009930+00:00", Some(1_715_299_200_009_930_000));
        check("2024-02-29T23:59:59Z", Some(1_709_251_199_000_000_000));
        check("2024-05-10 02:00:00+02:00", Some(1_715_299_200_000_000_000));
        check("2024-05-09 23:00:00-01:00", Some(1_715_299_200_000_000_000));
        for bad in [
            "",
            "2023-11-16",
            "2023-02-29 00:00:00",
            "1969-12-31 23:59:59",
            "2200-01-01 00:00:00",
            "18:15:46",
            "2023-11-16 24:00:00",
            "2023-13-16 00:00:00",
            "2023-11-16 18:15:46.x",
            "2023-11-16 18:15",
            "-2023-11-16 18:15:46",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn seconds_are_not_negative_and_finite() {
        assert_eq!(parse_seconds("45.5"), Some(45_500_000_000));
        for bad in ["", "-1", "NaN", "inf", "1e300", "x"] {
            assert_eq!(parse_seconds(bad), None, "{bad}");
        }
    }
}
