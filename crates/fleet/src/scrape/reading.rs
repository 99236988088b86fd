//! Validates and combines the samples of a page into a load report.

use pointsman_core::{AdapterReport, EngineTotals, LoadReport, ModelKey, Time};

use super::labels::Sample;
use super::profile::{Name, Number, Series};

/// The largest plausible count of requests, blocks or max_num_seqs slots.
const MAX_COUNT: f64 = 1e9;
/// The largest plausible total of tokens or seconds.
const MAX_TOTAL: f64 = 1e18;
/// The largest plausible cache use. Engines round, so a full cache may read a little more than 1.
const MAX_KV_USE: f64 = 1.01;
/// The largest number of adapters that is read from a list.
const MAX_ADAPTERS: usize = 4_096;

/// A number while the page is read. Several series of one name (one per data-parallel rank) are combined.
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

/// The samples of a page read so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Reading {
    numbers: [Slot; Number::COUNT],
    adapters: Option<(f64, AdapterReport)>,
}

impl Reading {
    /// Adds one sample.
    pub(super) fn take(&mut self, name: &Name, sample: Sample<'_>) {
        let value = sample.value();
        let label = |label| sample.label(label);
        let labelled = |label| sample.label(label)?.parse::<f64>().ok();
        match name.series {
            Series::Number(number) => self.add(number, name.rank, value),
            Series::WaitingByReason => {
                if label("reason").as_deref() == Some("deferred") {
                    self.add(Number::Deferred, 0, value);
                }
            }
            Series::VllmCacheConfig => {
                self.add_known(Number::BlockSize, labelled("block_size"));
                self.add_known(Number::KvBlocks, labelled("num_gpu_blocks"));
            }
            Series::SglangCacheConfig => {
                self.add_known(Number::BlockSize, labelled("page_size"));
                self.add_known(Number::KvBlocks, labelled("num_pages"));
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

    fn add(&mut self, number: Number, rank: u8, value: Option<f64>) {
        let Some(slot) = self.numbers.get_mut(number as usize) else { return };
        let (most, is_sum) = rule(number);
        let value = value.filter(|value| (0.0..=most).contains(value));
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

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and 1e9, checked when it was added"
    )]
    fn count(&self, number: Number) -> Option<u32> {
        self.get(number).map(|value| value as u32)
    }
}

/// The largest plausible value of a number, and whether it is the sum of several series of one page (one per rank) instead
/// of their maximum.
const fn rule(number: Number) -> (f64, bool) {
    match number {
        Number::KvUse => (MAX_KV_USE, false),
        Number::BlockSize => (MAX_COUNT, false),
        Number::Running | Number::Waiting | Number::Deferred | Number::KvBlocks | Number::MaxRunning => {
            (MAX_COUNT, true)
        }
        Number::PromptTokens
        | Number::CachedTokens
        | Number::PrefillSeconds
        | Number::InterTokenSeconds
        | Number::InterTokenCount
        | Number::OutputTokens
        | Number::Preemptions => (MAX_TOTAL, true),
    }
}
