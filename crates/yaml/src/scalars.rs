//! Strings, numbers, durations and quantities.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use crate::duration::{parse_duration, parse_gateway_duration};
use crate::field::Field;
use crate::nearest::nearest;
use crate::node::{Scalar, ScalarType, Value, quoted};

const QUOTE: &str = "put it in quotes";
const PLAIN_NUMBER: &str = "write a number without quotes";

impl<'a> Field<'a> {
    fn scalar(&self, expected: &str, fix: &str) -> Option<&'a Scalar> {
        match &self.node.value {
            Value::Scalar(scalar) => Some(scalar),
            Value::List(_) | Value::Mapping(_) => {
                self.wrong_type(expected, fix);
                None
            }
        }
    }

    /// The text of a scalar as written, whatever its type. `expected` names the value for the error message.
    pub fn written(&self, expected: &str) -> Option<&'a str> {
        self.scalar(expected, &format!("write {expected}")).map(|scalar| &*scalar.text)
    }

    /// A string. A value that Kubernetes reads as a number or a boolean is an error.
    pub fn text(&self) -> Option<&'a str> {
        let scalar = self.scalar("a string", QUOTE)?;
        if scalar.scalar_type() == ScalarType::String {
            return Some(&scalar.text);
        }
        self.wrong_type("a string", QUOTE);
        None
    }

    /// A string of 1 to `max` bytes.
    pub fn text_up_to(&self, max: usize) -> Option<&'a str> {
        let text = self.text()?;
        if text.is_empty() {
            self.error("is empty", "write a value");
            return None;
        }
        if text.len() > max {
            self.error(format!("has {} characters, at most {max} are allowed", text.len()), "shorten it");
            return None;
        }
        Some(text)
    }

    /// A string that `is_valid` accepts; `rule` describes such strings for the error message.
    pub fn text_where(&self, is_valid: impl FnOnce(&str) -> bool, rule: &str) -> Option<&'a str> {
        let text = self.text()?;
        if is_valid(text) {
            return Some(text);
        }
        self.error(format!("{} is not {rule}", quoted(text)), format!("write {rule}"));
        None
    }

    /// An integer in a range.
    pub fn integer(&self, range: RangeInclusive<i64>) -> Option<i64> {
        self.in_range("an integer", &range)
    }

    fn in_range<T>(&self, expected: &str, range: &RangeInclusive<T>) -> Option<T>
    where
        T: FromStr + PartialOrd + Display,
    {
        let fix = format!("write {expected}");
        let scalar = self.scalar(expected, &fix)?;
        let parsed = scalar.text.parse::<T>().ok();
        let Some(number) = parsed.filter(|_| scalar.plain) else {
            let is_quoted = !scalar.plain && scalar.text.parse::<T>().is_ok();
            self.wrong_type(expected, if is_quoted { PLAIN_NUMBER } else { &fix });
            return None;
        };
        let (low, high) = (range.start(), range.end());
        if !range.contains(&number) {
            let fix = format!("write a number from {low} to {high}");
            self.error(format!("is {number}, outside {low} to {high}"), fix);
            return None;
        }
        Some(number)
    }

    /// A TCP port, 1 to 65535.
    pub fn port(&self) -> Option<u16> {
        self.integer(1..=65_535).and_then(|port| u16::try_from(port).ok())
    }

    /// An integer from `low` to the maximum of 32 bits.
    pub fn u32_from(&self, low: u32) -> Option<u32> {
        self.integer(i64::from(low)..=i64::from(u32::MAX)).and_then(|number| u32::try_from(number).ok())
    }

    /// A fraction from 0 to 1.
    pub fn share(&self) -> Option<f64> {
        self.number(0.0..=1.0)
    }

    /// A number in a range.
    pub fn number(&self, range: RangeInclusive<f64>) -> Option<f64> {
        self.in_range("a number", &range)
    }

    /// `true` or `false`.
    pub fn boolean(&self) -> Option<bool> {
        const FIX: &str = "write true or false without quotes";
        let scalar = self.scalar("a boolean", FIX)?;
        match (scalar.plain, &*scalar.text) {
            (true, "true" | "True" | "TRUE") => Some(true),
            (true, "false" | "False" | "FALSE") => Some(false),
            _ => {
                self.wrong_type("a boolean", FIX);
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

    /// One of a closed set of words. A word with `None` is valid in the API but an error here, with `fix`.
    pub fn supported_choice<T: Copy>(&self, choices: &[(&'static str, Option<T>)], fix: &str) -> Option<T> {
        let value = self.choice(choices)?;
        if value.is_none() {
            self.error(format!("{} is not supported", self.node.text().unwrap_or_default()), fix);
        }
        value
    }

    /// A duration of the Gateway API, such as `30s` or `1m30s`: see [`parse_gateway_duration`].
    pub fn gateway_duration(&self) -> Option<Duration> {
        self.parsed("a duration", "500ms, 30s or 1m30s", parse_gateway_duration)
    }

    /// A duration with fractions and microseconds allowed, such as `1.5s` or `250us`: see [`parse_duration`].
    pub fn duration(&self) -> Option<Duration> {
        self.parsed("a duration", "250us, 500ms, 1.5s or 1m30s", parse_duration)
    }

    /// A positive Kubernetes quantity without fraction, such as `1000`, `20k` or `32Mi`.
    pub fn quantity(&self) -> Option<u64> {
        let parse = |text: &str| parse_quantity(text).filter(|quantity| *quantity > 0);
        self.parsed("a quantity above 0", "1000, 20k or 32Mi", parse)
    }

    fn parsed<T>(&self, expected: &str, examples: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let text = self.written(expected)?;
        let value = parse(text);
        if value.is_none() {
            self.error(format!("{} is not {expected}", quoted(text)), format!("write it like {examples}"));
        }
        value
    }
}

/// Parses a Kubernetes quantity without fraction.
#[must_use]
pub fn parse_quantity(text: &str) -> Option<u64> {
    let (number, suffix) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
    let factor = match suffix {
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
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_integers_with_kubernetes_suffixes() {
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
