//! The two text formats that scrapers ask for.

use std::fmt::Write as _;

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

/// The format of a metrics page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposition {
    /// Prometheus text format 0.0.4, which every tool reads.
    Prometheus,
    /// OpenMetrics text format 1.0.0, which Prometheus asks for first.
    OpenMetrics,
}

impl Exposition {
    /// The format for a request's `Accept` header: OpenMetrics where it is named, else the older one.
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
            // Writing to a string does not fail, so an encoder has a bug: a scraper must not take half a page for all.
            return String::from("# EOF\n");
        }
        match self {
            Self::OpenMetrics => page,
            Self::Prometheus => to_prometheus(&page),
        }
    }
}

/// Turns an OpenMetrics page into the older format. They differ in the header lines alone, as far as this crate's
/// metrics go: there a counter's family has the `_total` of its series in its name, and an info metric is a gauge.
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
