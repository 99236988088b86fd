//! `metadata`: names, labels, annotations and creation time.

use std::collections::BTreeMap;
use std::sync::Arc;

use pointsman_yaml::{Field, Fields, Node, quoted};

use crate::endpoint::MetricsPage;
use crate::identity::ObjectName;
use crate::names::{is_dns_label, is_dns_name, is_label_key, is_label_value};

/// The annotation of static endpoints, which must not be applied to a cluster.
pub(crate) const STATIC_ENDPOINTS: &str = "pointsman.dev/static-endpoints";
/// The former name of [`STATIC_ENDPOINTS`], still accepted.
const FORMER_STATIC_ENDPOINTS: &str = "pointsman.dev/laptop-only";
/// The label that names the engine of a slice's endpoints.
pub(crate) const ENGINE_LABEL: &str = "pointsman.dev/engine";
/// The annotation or label with the port of the endpoints' metrics pages, where it is not theirs.
pub(crate) const METRICS_PORT: &str = "pointsman.dev/metrics-port";
/// The annotation with the path of the endpoints' metrics pages, where it is not the engine's usual one.
const METRICS_PATH: &str = "pointsman.dev/metrics-path";

/// The metadata of an object that has an effect.
#[derive(Debug, PartialEq)]
pub(crate) struct Metadata {
    pub(crate) name: ObjectName,
    pub(crate) labels: BTreeMap<Box<str>, Box<str>>,
    /// Whether the object is marked as static endpoints.
    pub(crate) has_static_endpoints: bool,
    /// Where the metrics pages of a slice's endpoints are.
    pub(crate) metrics: MetricsPage,
    /// Creation time in seconds since 1970. Only an API server writes it.
    pub(crate) created: Option<i64>,
}

/// The namespace and name as written, without any check, to name the object in problems.
pub(crate) fn peek(root: &Node) -> (&str, Option<&str>) {
    let metadata = root.entry("metadata");
    let text =
        |name| metadata.and_then(|m| m.entry(name)).filter(|node| !node.is_null()).and_then(Node::text);
    (text("namespace").unwrap_or("default"), text("name"))
}

pub(crate) fn read(metadata: &mut Fields<'_>) -> Option<Metadata> {
    const NAME: &str = "a name of lower case letters, digits, dashes and dots";
    metadata.refuse("generateName", "has no effect outside a cluster", "write metadata.name");
    let name = metadata.required_value("name", "give the object a name", |f| f.text_where(is_dns_name, NAME));
    let namespace = metadata.get("namespace").map_or(Some("default"), |f| {
        f.text_where(is_dns_label, "a name of lower case letters, digits and dashes")
    });
    let labels = metadata.get("labels").map(|f| read_labels(&f)).unwrap_or_default();
    let (has_static_endpoints, mut metrics) =
        metadata.get("annotations").map(|f| read_annotations(&f)).unwrap_or_default();
    if let (None, Some(port)) = (metrics.port, labels.get(METRICS_PORT)) {
        metrics.port = parse_port(port);
        if metrics.port.is_none() {
            let path = format!("metadata.labels[\"{METRICS_PORT}\"]");
            metadata.error_in(&path, format!("{} is not a port", quoted(port)), PORT_FIX);
        }
    }
    let created = metadata.get("creationTimestamp").and_then(|f| read_time(&f));
    // Added by an API server, without effect here.
    for name in [
        "uid",
        "resourceVersion",
        "generation",
        "managedFields",
        "selfLink",
        "ownerReferences",
        "finalizers",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        metadata.ignore(name);
    }
    let name = ObjectName { namespace: Arc::from(namespace?), name: Arc::from(name?) };
    Some(Metadata { name, labels, has_static_endpoints, metrics, created })
}

const PORT_FIX: &str = "write a number from 1 to 65535 in quotes";

fn parse_port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port > 0)
}

/// Reads a mapping of labels.
pub(crate) fn read_labels(field: &Field<'_>) -> BTreeMap<Box<str>, Box<str>> {
    let mut labels = BTreeMap::new();
    for (key, value) in field.string_entries() {
        if !is_label_key(key) {
            value
                .error(format!("{} is not a label key", quoted(key)), "write it like app or example.com/app");
        }
        let rule = "a label value: at most 63 letters, digits, dashes, underscores and dots";
        if let Some(text) = value.text_where(is_label_value, rule) {
            labels.insert(key.into(), text.into());
        }
    }
    labels
}

/// Reads a mapping of annotations. Returns whether it marks static endpoints, and where their metrics pages are.
fn read_annotations(field: &Field<'_>) -> (bool, MetricsPage) {
    let mut has_static_endpoints = false;
    let mut metrics = MetricsPage::default();
    for (key, value) in field.string_entries() {
        let text = value.text().unwrap_or_default();
        if [STATIC_ENDPOINTS, FORMER_STATIC_ENDPOINTS].contains(&key) {
            has_static_endpoints |= text == "true";
        } else if key == METRICS_PORT {
            metrics.port = parse_port(text);
            if metrics.port.is_none() {
                value.error(format!("{} is not a port", quoted(text)), PORT_FIX);
            }
        } else if key == METRICS_PATH {
            metrics.path = value.text_where(MetricsPage::is_path, "a path such as /metrics").map(Into::into);
        } else if key.starts_with("pointsman.dev/") {
            let message = format!("{} is not a known annotation", quoted(key));
            let known = [STATIC_ENDPOINTS, METRICS_PORT, METRICS_PATH].join(", ");
            value.error(message, format!("write one of {known}, or remove it"));
        }
    }
    (has_static_endpoints, metrics)
}

fn read_time(field: &Field<'_>) -> Option<i64> {
    let text = field.text()?;
    let time = parse_time(text);
    if time.is_none() {
        let fix = "write it like \"2026-01-31T12:00:00Z\", or remove it";
        field.error(format!("{} is not a time", quoted(text)), fix);
    }
    time
}

/// Parses an RFC 3339 time to seconds since 1970, without fractions, as an API server does.
fn parse_time(text: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| {
        let digits = text.get(range)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<i64>().ok()).flatten()
    };
    let is = |at: usize, what: &[u8]| text.as_bytes().get(at).is_some_and(|b| what.contains(b));
    let shape = is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":");
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_in_month = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !shape || !(1..=days_in_month).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut rest = text.get(19..)?;
    if let Some(fraction) = rest.strip_prefix('.') {
        rest = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
        if rest.len() == fraction.len() {
            return None;
        }
    }
    let offset = match rest.as_bytes() {
        b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), hours @ .., b':', _, _] if hours.len() == 2 && rest.len() == 6 => {
            let hours: i64 = rest.get(1..3)?.parse().ok()?;
            let minutes: i64 = rest.get(4..6)?.parse().ok()?;
            let seconds = hours * 3600 + minutes * 60;
            if *sign == b'-' { -seconds } else { seconds }
        }
        _ => return None,
    };
    // Days since 0000-03-01: years that begin in March have the leap day at their end.
    let (y, m) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let days =
        365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + (153 * m + 2) / 5 + day - 1;
    Some((days - 719_468) * 86_400 + hour * 3600 + minute * 60 + second - offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_follow_rfc_3339() {
        #[track_caller]
        fn check(text: &str, expected: Option<i64>) {
            assert_eq!(parse_time(text), expected, "{text}");
        }
        check("1970-01-01T00:00:00Z", Some(0));
        check("2026-01-01T00:00:00Z", Some(1_767_225_600));
        check("2024-02-29T12:34:56Z", Some(1_709_210_096));
        check("2024-02-29T12:34:56.789+01:00", Some(1_709_206_496));
        check("1969-12-31T23:59:59Z", Some(-1));
        for bad in [
            "",
            "2026-01-01",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00+1:00",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T24:00:00Z",
            "é026-01-01T00:00:00Z",
        ] {
            check(bad, None);
        }
    }
}
