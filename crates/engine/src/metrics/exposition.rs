//! The Prometheus text format as Python's client library writes it.

use std::fmt::Write;

use crate::live::Histogram;

/// A page under construction. Writing to a `String` does not fail, so results of `writeln!` are ignored.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) text: String,
    /// The `model_name` label of every series.
    model: String,
    /// The creation time of the counters as the page writes it.
    created: String,
}

impl Page {
    /// An empty page for a model; `created` is in Unix seconds.
    pub(super) fn new(model: &str, created: f64) -> Self {
        Self {
            text: String::with_capacity(48 << 10),
            model: format!(r#"model_name="{}""#, escape_label(model)),
            created: format_number(created),
        }
    }

    pub(super) fn header(&mut self, name: &str, help: &str, kind: &str) {
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Appends one series. Its labels, in order of name, are `engine`, `model_name` and `label`.
    fn series(&mut self, name: &str, label: Option<(&str, &str)>, value: &str) {
        let model = &self.model;
        let _ = match label {
            None => writeln!(self.text, r#"{name}{{engine="0",{model}}} {value}"#),
            Some((label, label_value)) if label < "model_name" => {
                writeln!(self.text, r#"{name}{{engine="0",{label}="{label_value}",{model}}} {value}"#)
            }
            Some((label, label_value)) => {
                writeln!(self.text, r#"{name}{{engine="0",{model},{label}="{label_value}"}} {value}"#)
            }
        };
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.header(name, help, "gauge");
        self.series(name, None, &format_number(value));
    }

    pub(super) fn gauges(&mut self, name: &str, help: &str, label: &str, values: &[(&str, f64)]) {
        self.header(name, help, "gauge");
        for (label_value, value) in values {
            self.series(name, Some((label, label_value)), &format_number(*value));
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "the exposition format has only floats")]
    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.counter_series(name, help, &[(None, value as f64)]);
    }

    pub(super) fn counters(&mut self, name: &str, help: &str, label: &str, values: &[(&str, f64)]) {
        let values: Vec<_> = values.iter().map(|(text, value)| (Some((label, *text)), *value)).collect();
        self.counter_series(name, help, &values);
    }

    fn counter_series(&mut self, name: &str, help: &str, values: &[(Option<(&str, &str)>, f64)]) {
        let total = format!("{name}_total");
        self.header(&total, help, "counter");
        for (label, value) in values {
            self.series(&total, *label, &format_number(*value));
        }
        let labels: Vec<_> = values.iter().map(|(label, _)| *label).collect();
        self.created(name, help, &labels);
    }

    #[expect(clippy::cast_precision_loss, reason = "the exposition format has only floats")]
    pub(super) fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.header(name, help, "histogram");
        let bucket = format!("{name}_bucket");
        for (bound, count) in histogram.cumulative() {
            self.series(&bucket, Some(("le", &format_number(bound))), &format_number(count as f64));
        }
        let count = format_number(histogram.count as f64);
        self.series(&bucket, Some(("le", "+Inf")), &count);
        self.series(&format!("{name}_count"), None, &count);
        self.series(&format!("{name}_sum"), None, &format_number(histogram.sum));
        self.created(name, help, &[None]);
    }

    /// Appends the creation time of a counter or histogram, which the Python client exports as a gauge.
    fn created(&mut self, name: &str, help: &str, labels: &[Option<(&str, &str)>]) {
        let name = format!("{name}_created");
        self.header(&name, help, "gauge");
        let created = self.created.clone();
        for label in labels {
            self.series(&name, *label, &created);
        }
    }
}

/// Formats a number as Python's client library does: at least one decimal, and an exponent from a million on.
pub(super) fn format_number(value: f64) -> String {
    let plain = format!("{value:?}");
    let Some((whole, fraction)) = plain.split_once('.').filter(|_| !plain.contains('e')) else {
        return plain;
    };
    if value <= 0.0 || whole.len() <= 6 {
        return plain;
    }
    let (first, rest) = whole.split_at(1);
    let digits = format!("{rest}{fraction}");
    let exponent = whole.len() - 1;
    let mantissa = digits.trim_end_matches('0');
    let point = if mantissa.is_empty() { "" } else { "." };
    format!("{first}{point}{mantissa}e+{exponent:02}")
}

/// Escapes the value of a label.
pub(super) fn escape_label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_formatted_as_python_formats_them() {
        for (value, text) in [
            (0.0, "0.0"),
            (18653.0, "18653.0"),
            (0.001, "0.001"),
            (999_999.5, "999999.5"),
            (1_000_000.0, "1e+06"),
            (2_263_539_712.0, "2.263539712e+09"),
            (1_795_252_160.734_826, "1.795252160734826e+09"),
        ] {
            assert_eq!(format_number(value), text);
        }
    }

    #[test]
    fn label_values_are_escaped() {
        assert_eq!(escape_label("a\"b\\c\nd"), r#"a\"b\\c\nd"#);
    }
}
