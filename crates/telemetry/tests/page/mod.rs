//! A strict reader of the Prometheus text format 0.0.4: what breaks a rule of the format fails the test that reads it.

use std::collections::{BTreeMap, BTreeSet};

type Labels = BTreeMap<String, String>;

#[derive(Default)]
pub(crate) struct Page {
    /// Type by family, in order of name.
    kinds: BTreeMap<String, String>,
    /// Series as written, with family, sample name, labels and value.
    samples: BTreeMap<String, Sample>,
}

struct Sample {
    family: String,
    name: String,
    labels: Labels,
    value: f64,
}

impl Page {
    pub(crate) fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line ends with a line feed");
        let mut page = Self::default();
        let mut family = String::new();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').unwrap();
                assert!(help.ends_with('.') && help.len() > 10, "a help text is a sentence: {line}");
                let kind = lines.next().unwrap().strip_prefix(&format!("# TYPE {name} ")).unwrap();
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
                assert!(page.kinds.insert(name.into(), kind.into()).is_none(), "{name} stands twice");
                family = name.into();
            } else {
                page.add(&family, line);
            }
        }
        page.check_histograms();
        page
    }

    fn add(&mut self, family: &str, line: &str) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, parse_labels(labels.strip_suffix('}').unwrap())),
            None => (series, Labels::new()),
        };
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        assert!(name.bytes().all(legal) && !name.as_bytes()[0].is_ascii_digit(), "{line}");
        let suffix = name.strip_prefix(family).unwrap_or_else(|| panic!("{line} stands under {family}"));
        let allowed: &[&str] =
            if self.kinds[family] == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
        assert!(allowed.contains(&suffix), "{line}");
        let value: f64 = value.parse().unwrap();
        assert!(value.is_finite(), "{line}");
        let sample = Sample { family: family.into(), name: name.into(), labels, value };
        assert!(self.samples.insert(series.into(), sample).is_none(), "{series} stands twice");
    }

    /// Buckets rise in edge and count, the last is `+Inf` and holds all.
    fn check_histograms(&self) {
        let mut histograms: BTreeMap<(String, Labels), Vec<(f64, f64)>> = BTreeMap::new();
        for sample in self.samples.values().filter(|sample| sample.name.ends_with("_bucket")) {
            let mut labels = sample.labels.clone();
            let edge = labels.remove("le").unwrap().parse().unwrap();
            histograms.entry((sample.family.clone(), labels)).or_default().push((edge, sample.value));
        }
        let counts: BTreeMap<(&str, &Labels), f64> = self
            .samples
            .values()
            .map(|sample| ((sample.name.as_str(), &sample.labels), sample.value))
            .collect();
        for ((family, labels), mut buckets) in histograms {
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert!(buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{family} {labels:?}");
            let (edge, all) = buckets[buckets.len() - 1];
            let count = counts.get(&(format!("{family}_count").as_str(), &labels)).copied();
            assert_eq!((edge, Some(all)), (f64::INFINITY, count), "{family} {labels:?}");
        }
    }

    /// Families with at least one series: name, type, label names (without a histogram's `le`).
    pub(crate) fn families(&self) -> impl Iterator<Item = (&str, &str, BTreeSet<&str>)> {
        self.kinds.iter().map(|(family, kind)| {
            let samples = self.samples.values().filter(|sample| sample.family == *family);
            let labels = samples.flat_map(|sample| sample.labels.keys()).map(String::as_str);
            (family.as_str(), kind.as_str(), labels.filter(|label| *label != "le").collect())
        })
    }

    pub(crate) fn has_metric(&self, name: &str) -> bool {
        self.samples.values().any(|sample| sample.name == name)
    }

    /// A sample's value, by its series exactly as written.
    pub(crate) fn value(&self, series: &str) -> Option<f64> {
        self.samples.get(series).map(|sample| sample.value)
    }

    /// The sum over all samples of a name.
    pub(crate) fn metric_total(&self, name: &str) -> f64 {
        self.samples.values().filter(|sample| sample.name == name).map(|sample| sample.value).sum()
    }

    /// Every value of a label of a metric.
    pub(crate) fn label_values(&self, name: &str, label: &str) -> BTreeSet<&str> {
        let samples = self.samples.values().filter(|sample| sample.name == name);
        samples.filter_map(|sample| sample.labels.get(label)).map(String::as_str).collect()
    }

    /// The edges of a histogram, as written, in rising order.
    pub(crate) fn buckets(&self, family: &str) -> Vec<&str> {
        let edges = self.label_values(&format!("{family}_bucket"), "le");
        let mut edges: Vec<&str> = edges.into_iter().collect();
        edges.sort_by(|a, b| a.parse::<f64>().unwrap().total_cmp(&b.parse().unwrap()));
        edges
    }
}

fn parse_labels(mut text: &str) -> Labels {
    let mut labels = Labels::new();
    while !text.is_empty() {
        let (name, rest) = text.split_once("=\"").unwrap();
        let mut value = String::new();
        let mut chars = rest.char_indices();
        let end = loop {
            match chars.next().unwrap() {
                (end, '"') => break end,
                (_, '\\') => value.push(match chars.next().unwrap().1 {
                    'n' => '\n',
                    escaped @ ('"' | '\\') => escaped,
                    other => panic!("\\{other} is no escape"),
                }),
                (_, plain) => {
                    assert_ne!(plain, '\n');
                    value.push(plain);
                }
            }
        };
        assert!(labels.insert(name.into(), value).is_none(), "{name} stands twice");
        text = &rest[end + 1..];
        text = match text.strip_prefix(',') {
            Some(more) => {
                assert!(!more.is_empty(), "a comma ends the labels");
                more
            }
            None => {
                assert!(text.is_empty(), "{text} follows the labels");
                text
            }
        };
    }
    labels
}
