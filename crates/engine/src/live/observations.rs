//! What the server counts for its metrics page, with vLLM's buckets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pointsman_core::{Time, seconds};
use pointsman_sim::engine::AdapterId;

/// A cumulative histogram with fixed bounds.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    bounds: Arc<[f64]>,
    counts: Vec<u64>,
    sum: f64,
    count: u64,
}

impl Histogram {
    fn new(bounds: impl Into<Arc<[f64]>>) -> Self {
        let bounds = bounds.into();
        Self { counts: vec![0; bounds.len()], bounds, sum: 0.0, count: 0 }
    }

    fn observe(&mut self, value: f64) {
        // Values beyond the last bound only show in the count.
        if let Some(count) = self.counts.get_mut(self.bounds.partition_point(|bound| *bound < value)) {
            *count += 1;
        }
        self.sum += value;
        self.count += 1;
    }

    /// Bounds with the number of values at or below each.
    pub(crate) fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let mut total = 0;
        self.bounds.iter().zip(&self.counts).map(move |(bound, count)| {
            total += count;
            (*bound, total)
        })
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn sum(&self) -> f64 {
        self.sum
    }
}

const FIRST_TOKEN: &[f64] = &[
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0,
    80.0, 160.0, 640.0, 2560.0,
];
const PER_TOKEN: &[f64] = &[
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
];
const REQUEST: &[f64] = &[
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0,
    960.0, 1920.0, 7680.0,
];
/// vLLM's bounds for token counts: 1, 2, 5, 10, … up to the model's length.
fn token_bounds(max_model_len: u32) -> Arc<[f64]> {
    let bounds = (0..10).flat_map(|exponent| [1, 2, 5].map(|digit| digit * 10_u64.pow(exponent)));
    let bounds = bounds.filter_map(|bound| u32::try_from(bound).ok());
    bounds.take_while(|bound| *bound <= max_model_len).map(f64::from).collect()
}

/// How a request was served, for the label of its success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Served {
    /// It ended by itself.
    Stop,
    /// It reached its limit.
    Length,
}

/// One sequence as the counters see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Track {
    pub(super) adapter: Option<AdapterId>,
    pub(super) prompt_tokens: u32,
    pub(super) max_tokens: u32,
    pub(super) choices: u32,
    pub(super) served: Served,
    pub(super) arrived: Time,
    pub(super) admitted: Time,
    pub(super) first_token: Time,
    pub(super) last_token: Time,
}

/// Everything counted since the start. Times are the machine's, whatever the speed.
#[derive(Clone, Debug)]
pub(crate) struct Observations {
    pub(crate) time_to_first_token: Histogram,
    pub(crate) inter_token: Histogram,
    pub(crate) per_output_token: Histogram,
    pub(crate) e2e: Histogram,
    pub(crate) queue: Histogram,
    pub(crate) inference: Histogram,
    pub(crate) prefill: Histogram,
    pub(crate) decode: Histogram,
    pub(crate) prompt_tokens: Histogram,
    pub(crate) generation_tokens: Histogram,
    pub(crate) max_tokens: Histogram,
    pub(crate) choices: Histogram,
    pub(crate) served_stop: u64,
    pub(crate) served_length: u64,
    /// Requests served, by adapter; `None` is the base model.
    pub(crate) served_by_adapter: BTreeMap<Option<AdapterId>, u64>,
    /// When each set of running adapters was last seen, in Unix seconds. Series never go away while the server
    /// runs, as vLLM's do not; beyond 256 the oldest does.
    pub(crate) adapter_sets: BTreeMap<String, f64>,
}

impl Observations {
    pub(super) fn new(max_model_len: u32) -> Self {
        let request = || Histogram::new(REQUEST);
        let bounds = token_bounds(max_model_len);
        let tokens = || Histogram::new(Arc::clone(&bounds));
        Self {
            time_to_first_token: Histogram::new(FIRST_TOKEN),
            inter_token: Histogram::new(PER_TOKEN),
            per_output_token: Histogram::new(PER_TOKEN),
            e2e: request(),
            queue: request(),
            inference: request(),
            prefill: request(),
            decode: request(),
            prompt_tokens: tokens(),
            generation_tokens: tokens(),
            max_tokens: tokens(),
            choices: Histogram::new([1.0, 2.0, 5.0, 10.0, 20.0]),
            served_stop: 0,
            served_length: 0,
            served_by_adapter: BTreeMap::new(),
            adapter_sets: BTreeMap::new(),
        }
    }

    pub(super) fn first_token(&mut self, since_arrival: Duration) {
        self.time_to_first_token.observe(seconds(since_arrival));
    }

    pub(super) fn next_token(&mut self, gap: Duration) {
        self.inter_token.observe(seconds(gap));
    }

    /// A request ended at its last token; `real` turns engine time into the machine's.
    pub(super) fn served(&mut self, track: &Track, generated: u32, real: impl Fn(Duration) -> Duration) {
        let span = |from: Time, to: Time| seconds(real(to.since(from)));
        self.e2e.observe(span(track.arrived, track.last_token));
        self.queue.observe(span(track.arrived, track.admitted));
        self.inference.observe(span(track.admitted, track.last_token));
        self.prefill.observe(span(track.admitted, track.first_token));
        self.decode.observe(span(track.first_token, track.last_token));
        if generated > 1 {
            let decode = span(track.first_token, track.last_token);
            self.per_output_token.observe(decode / f64::from(generated - 1));
        }
        self.prompt_tokens.observe(f64::from(track.prompt_tokens));
        self.generation_tokens.observe(f64::from(generated));
        self.max_tokens.observe(f64::from(track.max_tokens));
        self.choices.observe(f64::from(track.choices));
        *self.served_by_adapter.entry(track.adapter).or_default() += 1;
        match track.served {
            Served::Stop => self.served_stop += 1,
            Served::Length => self.served_length += 1,
        }
    }

    pub(super) fn saw_adapters(&mut self, names: String, unix_seconds: f64) {
        self.adapter_sets.insert(names, unix_seconds);
        if self.adapter_sets.len() > 256 {
            let oldest =
                self.adapter_sets.iter().min_by(|a, b| a.1.total_cmp(b.1)).map(|(names, _)| names.clone());
            oldest.map(|names| self.adapter_sets.remove(&names));
        }
    }
}
