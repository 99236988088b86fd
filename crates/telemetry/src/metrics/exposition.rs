//! The text formats of the metrics page.

use std::fmt::Write as _;

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

/// The format of a metrics page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposition {
    /// Prometheus text format 0.0.4.
    Prometheus,
    /// OpenMetrics text format 1.0.0, which Prometheus prefers.
    OpenMetrics,
}

impl Exposition {
    /// The format for a request's `Accept` header: OpenMetrics where the header names it, else Prometheus.
    #[must_use]
    pub fn negotiate(accept: Option<&str>) -> Self {
        match accept {
            Some(accept) if accept.contains("application/openmetrics-text") => Self::OpenMetrics,
            Some(_) | None => Self::Prometheus,
        }
    }

    /// The page's `content-type`.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    pub(super) fn render(self, registry: &Registry) -> String {
        let mut page = String::with_capacity(64 << 10);
        if text::encode(&mut page, registry).is_err() {
            // Writing to a string does not fail, so an encoder has a bug. An empty page is better than a partial one.
            return String::from("# EOF\n");
        }
        match self {
            Self::OpenMetrics => page,
            Self::Prometheus => to_prometheus(&page),
        }
    }
}

/// Converts an OpenMetrics page into the Prometheus format. For the metric types of this crate, only comment lines
/// differ: Prometheus includes `_total` in a counter's family name and has no info type.
fn to_prometheus(page: &str) -> String {
    let mut out = String::with_capacity(page.len());
    let mut lines = page.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(help) = line.strip_prefix("# HELP ") else {
            if line != "# EOF" {
                out.push_str(line);
                out.push('\n');
            }
            continue;
        };
        let (name, help) = help.split_once(' ').unwrap_or((help, ""));
        let kind = lines.next_if(|line| line.starts_with("# TYPE ")).and_then(|line| line.rsplit(' ').next());
        let (suffix, kind) = match kind {
            Some("counter") => ("_total", "counter"),
            Some("info") => ("_info", "gauge"),
            Some("histogram") => ("", "histogram"),
            Some(_) | None => ("", "gauge"),
        };
        // Writing to a string does not fail.
        let _ = writeln!(out, "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}");
    }
    out
}
