//! The labels and the value of one sample line of a metrics page.

use std::borrow::Cow;

/// The text between the braces of a sample line, and its value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample<'a> {
    labels: &'a [u8],
    value: &'a [u8],
}

impl<'a> Sample<'a> {
    /// Splits the rest of a line behind the metric name; `None` where it is malformed.
    pub(super) fn split(rest: &'a [u8]) -> Option<Self> {
        let (labels, value) = match rest.trim_ascii_start().strip_prefix(b"{") {
            None => (&[][..], rest),
            Some(inside) => {
                let end = end_of_labels(inside)?;
                (inside.get(..end)?, inside.get(end + 1..)?)
            }
        };
        let value = value.trim_ascii();
        // A timestamp may follow the value.
        let value = value.split(|byte| byte.is_ascii_whitespace()).next()?;
        Some(Self { labels, value })
    }

    /// The value, which may be NaN or infinite.
    pub(super) fn value(self) -> Option<f64> {
        std::str::from_utf8(self.value).ok()?.parse().ok()
    }

    /// A label's value, unescaped.
    pub(super) fn label(self, wanted: &str) -> Option<Cow<'a, str>> {
        self.labels().find(|(name, _)| *name == wanted.as_bytes()).and_then(|(_, value)| unescape(value))
    }

    /// The names and the values of the labels, as they are written, up to the first malformed one.
    pub(super) fn labels(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let mut rest = self.labels;
        std::iter::from_fn(move || {
            let (label, behind) = next_label(rest)?;
            rest = behind;
            Some(label)
        })
    }
}

/// A label's name and value.
type Label<'a> = (&'a [u8], &'a [u8]);

/// The first label and the labels behind it; `None` at the end or where it is malformed.
fn next_label(labels: &[u8]) -> Option<(Label<'_>, &[u8])> {
    let equals = memchr::memchr(b'=', labels)?;
    let name = labels.get(..equals)?.trim_ascii();
    let quoted = labels.get(equals + 1..)?.trim_ascii_start().strip_prefix(b"\"")?;
    let end = end_of_value(quoted)?;
    let behind = quoted.get(end + 1..)?.trim_ascii_start();
    let behind = behind.strip_prefix(b",").unwrap_or(behind).trim_ascii_start();
    Some(((name, quoted.get(..end)?), behind))
}

/// The position of the closing brace. Values may contain braces, too.
fn end_of_labels(inside: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let found = memchr::memchr2(b'"', b'}', inside.get(at..)?)? + at;
        if inside.get(found) == Some(&b'}') {
            return Some(found);
        }
        at = found + 1 + end_of_value(inside.get(found + 1..)?)? + 1;
    }
}

/// The position of the quote that ends a value.
fn end_of_value(quoted: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let found = memchr::memchr2(b'"', b'\\', quoted.get(at..)?)? + at;
        if quoted.get(found) == Some(&b'"') {
            return Some(found);
        }
        at = found + 2;
    }
}

fn unescape(value: &[u8]) -> Option<Cow<'_, str>> {
    let value = std::str::from_utf8(value).ok()?;
    if !value.contains('\\') {
        return Some(Cow::Borrowed(value));
    }
    let mut plain = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(char) = chars.next() {
        plain.push(match char {
            '\\' => match chars.next()? {
                'n' => '\n',
                other => other,
            },
            other => other,
        });
    }
    Some(Cow::Owned(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rest: &str, label: &str, expected: Option<&str>, value: Option<f64>) {
        let sample = Sample::split(rest.as_bytes());
        assert_eq!(sample.and_then(|sample| sample.label(label)).as_deref(), expected);
        assert_eq!(sample.and_then(Sample::value), value);
    }

    #[test]
    fn labels_and_values_are_found_in_all_forms_of_the_text_format() {
        check(" 8", "a", None, Some(8.0));
        check(" 1e3 1395066363000", "a", None, Some(1000.0));
        check(r#"{a="x"} 1"#, "a", Some("x"), Some(1.0));
        check(r#"{a="x",b="y",} 1"#, "b", Some("y"), Some(1.0));
        check(r#"{ a = "x" , b = "y" } 1"#, "b", Some("y"), Some(1.0));
        check(r#"{aa="x",a="y"} 1"#, "a", Some("y"), Some(1.0));
        check(r#"{a=""} 1"#, "a", Some(""), Some(1.0));
        check("{} 1", "a", None, Some(1.0));
        check("\t{a=\"x\"}\t1\t1395066363000", "a", Some("x"), Some(1.0));
        check(" 1 # {trace_id=\"a b\"} 0.5 1.0", "trace_id", None, Some(1.0));
    }

    #[test]
    fn values_may_contain_quotes_braces_and_commas() {
        check(r#"{b="}\"\\,a=",a="x\ny"} 1"#, "a", Some("x\ny"), Some(1.0));
        check(r#"{b="}\"\\,a=",a="x"} 1"#, "b", Some("}\"\\,a="), Some(1.0));
    }

    #[test]
    fn malformed_lines_have_no_label_and_no_value() {
        check(r#"{a="x" 1"#, "a", None, None);
        check(r#"{a="x\"} 1"#, "a", None, None);
        check(r#"{a=x} 1"#, "a", None, Some(1.0));
        check("{a=\"\u{e9}\"} one", "a", Some("\u{e9}"), None);
        check("", "a", None, None);
    }
}
