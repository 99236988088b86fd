//! The extractor on a recorded page of 69 kB, beside a parser of all of its lines.
#![allow(clippy::unwrap_used, reason = "a bench")]

use std::collections::BTreeMap;

use divan::{Bencher, black_box};
use pointsman_config::EngineKind;
use pointsman_core::Time;
use pointsman_fleet::scrape::Extractor;

const PAGE: &str = include_str!("../tests/fixtures/vllm-0.32-loaded.txt");

fn main() {
    divan::main();
}

#[divan::bench]
fn extract(bencher: Bencher<'_, '_>) {
    bencher.counter(divan::counter::BytesCount::of_str(PAGE)).bench(|| {
        let mut extractor = Extractor::new(Some(EngineKind::Vllm));
        extractor.feed(black_box(PAGE.as_bytes()));
        extractor.finish(Time::ZERO)
    });
}

/// The page in chunks, as from a socket.
#[divan::bench]
fn extract_in_chunks_of_8_kib(bencher: Bencher<'_, '_>) {
    bencher.counter(divan::counter::BytesCount::of_str(PAGE)).bench(|| {
        let mut extractor = Extractor::new(Some(EngineKind::Vllm));
        black_box(PAGE.as_bytes()).chunks(8_192).for_each(|piece| extractor.feed(piece));
        extractor.finish(Time::ZERO)
    });
}

type Parsed = (BTreeMap<String, String>, f64);

/// A general parser: every line becomes a name, labels and a value.
#[divan::bench]
fn parse_every_line(bencher: Bencher<'_, '_>) {
    bencher.counter(divan::counter::BytesCount::of_str(PAGE)).bench(|| {
        let mut families: BTreeMap<String, Vec<Parsed>> = BTreeMap::new();
        for line in black_box(PAGE).lines().filter(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let labels =
                labels.trim_end_matches('}').split("\",").filter_map(|label| label.split_once("=\""));
            let labels =
                labels.map(|(name, value)| (name.into(), value.trim_end_matches('"').into())).collect();
            families.entry(name.into()).or_default().push((labels, value.parse().unwrap()));
        }
        families
    });
}
