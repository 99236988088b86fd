//! Validates and combines the samples of a page into a load report.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use pointsman_config::EngineKind;
use pointsman_core::{AdapterReport, EngineTotals, LoadReport, ModelKey, Time};

use super::labels::Sample;
use super::profile::{Name, Number, Series, is_copy};

/// The largest plausible count of requests, blocks or max_num_seqs slots.
const MAX_COUNT: f64 = 1e9;
/// The largest plausible total of tokens or seconds.
const MAX_TOTAL: f64 = 1e18;
/// The largest plausible cache use. Engines round, so a full cache may read a little more than 1.
const MAX_KV_USE: f64 = 1.01;
/// The largest number of adapters that is read from a list.
const MAX_ADAPTERS: usize = 4_096;
/// The largest number of parts that are told from their copies. Engines have a few data-parallel ranks.
const MAX_PARTS: usize = 4_096;

/// A number while the page is read. Several series of one name are combined.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Slot {
    #[default]
    Unseen,
    Seen {
        rank: u8,
        value: f64,
    },
    /// One of the series had an implausible value, so their combination would be wrong.
    Invalid {
        rank: u8,
    },
}

/// One part of an engine by the series of one name, of which copies may follow.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Part {
    number: Number,
    rank: u8,
    /// The hash of the labels that distinguish parts.
    labels: u64,
    /// The largest value of its copies so far.
    value: f64,
}

/// The samples of one engine on a page, read so far.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reading {
    engine: EngineKind,
    numbers: [Slot; Number::COUNT],
    /// The parts of the numbers that are sums.
    parts: Vec<Part>,
    adapters: Option<(f64, AdapterReport)>,
}

impl Reading {
    pub(super) fn of(engine: EngineKind) -> Self {
        Self { engine, numbers: Default::default(), parts: Vec::new(), adapters: None }
    }

    /// The engine whose series are read.
    pub(super) const fn engine(&self) -> EngineKind {
        self.engine
    }

    /// Adds one sample.
    pub(super) fn take(&mut self, name: &Name, sample: Sample<'_>) {
        let value = sample.value();
        let label = |label| sample.label(label);
        let labelled = |label| sample.label(label)?.parse::<f64>().ok();
        match name.series {
            Series::Number(number) => {
                let value = value.filter(|value| is_plausible(number, *value));
                let value = value.map(|value| self.beyond_copies(number, name.rank, sample, value));
                self.add(number, name.rank, value);
            }
            Series::WaitingByReason => {
                if label("reason").as_deref() == Some("deferred") {
                    self.add(Number::Deferred, 0, value);
                }
            }
            Series::VllmCacheConfig => {
                self.add_known(Number::BlockSize, labelled("block_size"));
                self.add_known(Number::KvBlocks, labelled("num_gpu_blocks"));
                self.add_known(Number::KvTokens, labelled("kv_cache_size_tokens"));
            }
            Series::SglangCacheConfig => {
                self.add_known(Number::BlockSize, labelled("page_size"));
                let blocks = labelled("num_pages").filter(|blocks| is_plausible(Number::KvBlocks, *blocks));
                if let Some(blocks) = blocks {
                    let blocks = self.beyond_copies(Number::KvBlocks, 0, sample, blocks);
                    self.add(Number::KvBlocks, 0, Some(blocks));
                }
            }
            Series::LoraInfo => self.adapters(value, sample),
            Series::TritonRequests => match label("request_type").as_deref() {
                Some("waiting") => self.add(Number::Waiting, 0, value),
                Some("scheduled") => self.add(Number::Running, 0, value),
                Some("max") => self.add(Number::MaxRunning, 0, value),
                Some(_) | None => {}
            },
            Series::TritonBlocks => match label("kv_cache_block_type").as_deref() {
                Some("fraction") => self.add(Number::KvUse, 0, value),
                Some("max") => self.add(Number::KvBlocks, 0, value),
                Some("tokens_per") => self.add(Number::BlockSize, 0, value),
                Some(_) | None => {}
            },
        }
    }

    /// Adds the number in a label, which is `None` where the engine does not know it.
    fn add_known(&mut self, number: Number, value: Option<f64>) {
        if value.is_some() {
            self.add(number, 0, value);
        }
    }

    /// What a sample adds to the sum of the parts: all of the first copy of a part, and of a later one what exceeds the
    /// largest before. A series that a page has twice is a copy at every engine.
    fn beyond_copies(&mut self, number: Number, rank: u8, sample: Sample<'_>, value: f64) -> f64 {
        let (_, is_sum) = rule(number);
        if !is_sum {
            return value;
        }
        let labels = part_of(self.engine, number, sample);
        let known = |part: &&mut Part| (part.number, part.rank, part.labels) == (number, rank, labels);
        if let Some(part) = self.parts.iter_mut().find(known) {
            let before = part.value;
            part.value = before.max(value);
            return part.value - before;
        }
        if self.parts.len() < MAX_PARTS {
            self.parts.push(Part { number, rank, labels, value });
        }
        value
    }

    fn add(&mut self, number: Number, rank: u8, value: Option<f64>) {
        let Some(slot) = self.numbers.get_mut(number as usize) else { return };
        let (_, is_sum) = rule(number);
        let value = value.filter(|value| is_plausible(number, *value));
        let known = match *slot {
            Slot::Unseen => None,
            Slot::Seen { rank: other, value } => Some((other, Some(value))),
            Slot::Invalid { rank: other } => Some((other, None)),
        };
        *slot = match (known, value) {
            (Some((other, _)), _) if other < rank => return,
            (Some((other, None)), _) if other == rank => return,
            (Some((other, Some(before))), Some(value)) if other == rank => {
                Slot::Seen { rank, value: if is_sum { before + value } else { before.max(value) } }
            }
            (_, Some(value)) => Slot::Seen { rank, value },
            (_, None) => Slot::Invalid { rank },
        };
    }

    /// Uses the series with the latest time, which is its value. vLLM never removes earlier ones.
    fn adapters(&mut self, written: Option<f64>, sample: Sample<'_>) {
        let Some(written) = written.filter(|time| time.is_finite()) else { return };
        if self.adapters.as_ref().is_some_and(|(newest, _)| *newest >= written) {
            return;
        }
        let Some(max_adapters) = sample.label("max_lora").and_then(|max| max.trim().parse().ok()) else {
            return;
        };
        let mut active: Vec<_> = ["running_lora_adapters", "waiting_lora_adapters"]
            .into_iter()
            .filter_map(|list| sample.label(list))
            .flat_map(|list| {
                let names = list.split(',').map(str::trim).filter(|name| !name.is_empty());
                names.map(ModelKey::of).take(MAX_ADAPTERS).collect::<Vec<_>>()
            })
            .collect();
        active.sort_unstable();
        active.dedup();
        self.adapters = Some((written, AdapterReport { max_adapters, active }));
    }

    /// How much of the engine's present load is known: the count of its numbers.
    pub(super) fn load_known(&self) -> usize {
        Number::LOAD.into_iter().filter(|number| self.get(*number).is_some()).count()
    }

    /// Whether no sample was added.
    pub(super) fn is_empty(&self) -> bool {
        self.adapters.is_none() && self.numbers.iter().all(|slot| *slot == Slot::Unseen)
    }

    pub(super) fn report(self, taken: Time) -> LoadReport {
        LoadReport {
            taken,
            running: self.count(Number::Running),
            waiting: self.count(Number::Waiting),
            deferred: self.count(Number::Deferred),
            kv_use: self.get(Number::KvUse).map(|share| share.min(1.0)),
            kv_blocks: self.count(Number::KvBlocks).filter(|blocks| *blocks > 0),
            block_size: self.count(Number::BlockSize).filter(|tokens| *tokens > 0),
            kv_tokens: self.count(Number::KvTokens).filter(|tokens| *tokens > 0),
            max_running: self.count(Number::MaxRunning).filter(|slots| *slots > 0),
            totals: EngineTotals {
                prompt_tokens: self.get(Number::PromptTokens),
                cached_tokens: self.get(Number::CachedTokens),
                prefill_seconds: self.get(Number::PrefillSeconds),
                inter_token_seconds: self.get(Number::InterTokenSeconds),
                inter_token_count: self.get(Number::InterTokenCount),
                output_tokens: self.get(Number::OutputTokens),
                preemptions: self.get(Number::Preemptions),
            },
            adapters: self.adapters.map(|(_, report)| report),
        }
    }

    fn get(&self, number: Number) -> Option<f64> {
        match self.numbers.get(number as usize)? {
            Slot::Seen { value, .. } => Some(*value),
            Slot::Unseen | Slot::Invalid { .. } => None,
        }
    }

    fn count(&self, number: Number) -> Option<u32> {
        self.whole(number).map(|value| u32::try_from(value).unwrap_or(u32::MAX))
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and 1e18, checked when it was added"
    )]
    fn whole(&self, number: Number) -> Option<u64> {
        self.get(number).map(|value| value as u64)
    }
}

/// The hash of the labels that distinguish the engine's parts, in whatever order they are written.
fn part_of(engine: EngineKind, number: Number, sample: Sample<'_>) -> u64 {
    let hash = |label: (&[u8], &[u8])| {
        let mut hasher = DefaultHasher::new();
        label.hash(&mut hasher);
        hasher.finish()
    };
    let parts = sample.labels().filter(|(name, _)| !is_copy(engine, number, name));
    parts.map(hash).fold(0, u64::wrapping_add)
}

fn is_plausible(number: Number, value: f64) -> bool {
    let (most, _) = rule(number);
    (0.0..=most).contains(&value)
}

/// The largest plausible value of a number, and whether it is the sum of the engine's parts instead of their maximum.
const fn rule(number: Number) -> (f64, bool) {
    match number {
        Number::KvUse => (MAX_KV_USE, false),
        Number::BlockSize => (MAX_COUNT, false),
        Number::Running | Number::Waiting | Number::Deferred | Number::KvBlocks | Number::MaxRunning => {
            (MAX_COUNT, true)
        }
        Number::KvTokens
        | Number::PromptTokens
        | Number::CachedTokens
        | Number::PrefillSeconds
        | Number::InterTokenSeconds
        | Number::InterTokenCount
        | Number::OutputTokens
        | Number::Preemptions => (MAX_TOTAL, true),
    }
}
