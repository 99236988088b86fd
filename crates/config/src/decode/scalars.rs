//! Texts, numbers, durations and quantities.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::text::nearest;
use super::{Field, Shape};
use crate::source::{Scalar, ScalarType, Value, quoted};

impl<'a> Field<'a> {
    fn scalar(&self, wanted: &str) -> Option<&'a Scalar> {
        match &self.node.value {
            Value::Scalar(scalar) => Some(scalar),
            Value::List(_) | Value::Map(_) => {
                self.wrong_type(wanted);
                None
            }
        }
    }

    /// What kind of value it is.
    #[must_use]
    pub fn shape(&self) -> Shape {
        match &self.node.value {
            Value::List(_) => Shape::List,
            Value::Map(_) => Shape::Map,
            Value::Scalar(scalar) => match scalar.scalar_type() {
                ScalarType::Number => Shape::Number,
                ScalarType::Null | ScalarType::Bool | ScalarType::Text => Shape::Text,
            },
        }
    }

    /// A scalar as it is written, whatever its type; a list or mapping is a mistake, with what was `wanted`.
    pub fn written(&self, wanted: &str) -> Option<&'a str> {
        self.scalar(wanted).map(|scalar| &*scalar.text)
    }

    /// A text. What an API server would read as a number or a boolean is refused.
    pub fn text(&self) -> Option<&'a str> {
        let scalar = self.scalar("a text")?;
        if scalar.scalar_type() == ScalarType::Text {
            return Some(&scalar.text);
        }
        self.wrong_type("a text");
        None
    }

    /// A text of at least one and at most `most` bytes.
    pub fn text_up_to(&self, most: usize) -> Option<&'a str> {
        let text = self.text()?;
        if text.is_empty() {
            self.error("is empty", "write a value");
            return None;
        }
        if text.len() > most {
            self.error(format!("is {} characters long, the most is {most}", text.len()), "shorten it");
            return None;
        }
        Some(text)
    }

    /// A text that `valid` accepts.
    pub fn text_where(&self, valid: impl FnOnce(&str) -> bool, rule: &str) -> Option<&'a str> {
        let text = self.text()?;
        if valid(text) {
            return Some(text);
        }
        self.error(format!("{} is not {rule}", quoted(text)), format!("write {rule}"));
        None
    }

    /// A whole number in a range.
    pub fn integer(&self, range: RangeInclusive<i64>) -> Option<i64> {
        let scalar = self.scalar("a whole number")?;
        let number = if scalar.plain { scalar.text.parse::<i64>().ok() } else { None };
        let Some(number) = number else {
            self.wrong_type("a whole number");
            return None;
        };
        if range.contains(&number) {
            return Some(number);
        }
        let (low, high) = (range.start(), range.end());
        self.error(
            format!("is {number}, outside {low} to {high}"),
            format!("write a number from {low} to {high}"),
        );
        None
    }

    /// A port.
    pub(crate) fn port(&self) -> Option<u16> {
        self.integer(1..=65_535).and_then(|port| u16::try_from(port).ok())
    }

    /// A whole number from `low` to the most that 32 bits hold.
    pub fn u32_from(&self, low: u32) -> Option<u32> {
        self.integer(i64::from(low)..=i64::from(u32::MAX)).and_then(|number| u32::try_from(number).ok())
    }

    /// A number from 0 to 1.
    pub fn share(&self) -> Option<f64> {
        self.number_within(0.0..=1.0, "write a share from 0 to 1".to_owned())
    }

    /// A number in a range.
    pub fn number(&self, range: RangeInclusive<f64>) -> Option<f64> {
        let (low, high) = (*range.start(), *range.end());
        self.number_within(range, format!("write a number from {low} to {high}"))
    }

    fn number_within(&self, range: RangeInclusive<f64>, fix: String) -> Option<f64> {
        let scalar = self.scalar("a number")?;
        let number = if scalar.plain { scalar.text.parse::<f64>().ok() } else { None };
        match number {
            Some(number) if range.contains(&number) => Some(number),
            Some(other) => {
                let (low, high) = (range.start(), range.end());
                self.error(format!("is {other}, outside {low} to {high}"), fix);
                None
            }
            None => {
                self.wrong_type("a number");
                None
            }
        }
    }

    /// `true` or `false`.
    pub fn boolean(&self) -> Option<bool> {
        let scalar = self.scalar("true or false")?;
        match (scalar.plain, &*scalar.text) {
            (true, "true" | "True" | "TRUE") => Some(true),
            (true, "false" | "False" | "FALSE") => Some(false),
            _ => {
                self.wrong_type("true or false");
                None
            }
        }
    }

    /// One of a closed set of words.
    pub fn choice<T: Copy>(&self, choices: &[(&'static str, T)]) -> Option<T> {
        let text = self.text()?;
        if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let words = || choices.iter().map(|(word, _)| *word);
        let all = words().collect::<Vec<_>>().join(", ");
        let fix = match nearest(text, words()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("write one of {all}"),
        };
        self.error(format!("{} is not one of {all}", quoted(text)), fix);
        None
    }

    /// A duration as the Gateway API writes them (GEP-2257), such as `30s` or `1m30s`.
    pub fn duration(&self) -> Option<Duration> {
        let scalar = self.scalar("a duration")?;
        let duration = parse_duration(&scalar.text);
        if duration.is_none() {
            self.error(
                format!("{} is not a duration", quoted(&scalar.text)),
                "write it like 500ms, 30s or 1m30s",
            );
        }
        duration
    }

    /// A number of bytes or requests: a whole number, or a quantity such as `32Mi` or `20k`.
    pub fn quantity(&self) -> Option<u64> {
        let scalar = self.scalar("a number")?;
        let quantity = parse_quantity(&scalar.text).filter(|quantity| *quantity > 0);
        if quantity.is_none() {
            self.error(
                format!("{} is not a quantity above 0", quoted(&scalar.text)),
                "write it like 1000, 20k or 32Mi",
            );
        }
        quantity
    }
}

/// One to four parts of one to five digits and a unit (h, m, s, ms).
fn parse_duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    for _ in 0..4 {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = (1..=5).contains(&digits).then(|| rest[..digits].parse().ok()).flatten()?;
        let unit = &rest[digits..];
        let (milliseconds, length) = match unit.as_bytes() {
            [b'm', b's', ..] => (1, 2),
            [b'h', ..] => (3_600_000, 1),
            [b'm', ..] => (60_000, 1),
            [b's', ..] => (1_000, 1),
            _ => return None,
        };
        total += Duration::from_millis(number * milliseconds);
        rest = &unit[length..];
        if rest.is_empty() {
            return Some(total);
        }
    }
    None
}

/// Kubernetes' quantities, whole numbers only.
fn parse_quantity(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().ok()?;
    let factor = match &text[digits..] {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_follow_gep_2257() {
        #[track_caller]
        fn check(text: &str, milliseconds: Option<u64>) {
            assert_eq!(parse_duration(text), milliseconds.map(Duration::from_millis), "{text}");
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
    fn quantities_are_whole_numbers_with_kubernetes_suffixes() {
        #[track_caller]
        fn check(text: &str, expected: Option<u64>) {
            assert_eq!(parse_quantity(text), expected, "{text}");
        }
        check("1000", Some(1000));
        check("20k", Some(20_000));
        check("32Mi", Some(32 << 20));
        check("1Gi", Some(1 << 30));
        for bad in ["", "Mi", "1.5Gi", "1mi", "-1", "99999999999Ti"] {
            check(bad, None);
        }
    }
}
