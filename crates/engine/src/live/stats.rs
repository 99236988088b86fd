//! Counters and histograms behind the metrics page.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pointsman_core::{Time, seconds};
use pointsman_sim::engine::AdapterId;

use super::histogram::{Histogram, REQUEST_TIME, TIME_PER_TOKEN, TIME_TO_FIRST_TOKEN, token_bounds};
use crate::text::FinishReason;

/// Series of `vllm:lora_requests_info` that are kept. vLLM keeps all of them until it restarts.
const MAX_ADAPTER_SETS: usize = 256;

/// The data of one sequence that its statistics need. Times are engine time.
#[derive(Clone, Copy, Debug)]
pub(super) struct SequenceStats {
    pub(super) adapter: Option<AdapterId>,
    pub(super) prompt_tokens: u32,
    pub(super) max_tokens: u32,
    /// Sequences of the request, over all its prompts and choices.
    pub(super) choices: u32,
    pub(super) finish_reason: FinishReason,
    pub(super) arrived: Time,
    pub(super) admitted: Time,
    pub(super) first_token: Time,
    pub(super) last_token: Time,
}

/// Statistics since the start. Times are wall-clock seconds, whatever the engine's speed.
#[derive(Clone, Debug)]
pub(crate) struct EngineStats {
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
    /// Finished sequences by reason. Aborted ones are not counted, as in vLLM.
    pub(crate) finished: BTreeMap<FinishReason, u64>,
    /// Finished sequences by adapter; `None` is the base model.
    pub(crate) finished_by_adapter: BTreeMap<Option<AdapterId>, u64>,
    /// Unix time in seconds at which each set of running adapters (names joined by commas) was last seen.
    pub(crate) adapter_sets: BTreeMap<String, f64>,
}

impl EngineStats {
    pub(super) fn new(max_model_len: u32) -> Self {
        let request = || Histogram::new(REQUEST_TIME);
        let bounds = token_bounds(max_model_len);
        let tokens = || Histogram::new(Arc::clone(&bounds));
        Self {
            time_to_first_token: Histogram::new(TIME_TO_FIRST_TOKEN),
            inter_token: Histogram::new(TIME_PER_TOKEN),
            per_output_token: Histogram::new(TIME_PER_TOKEN),
            e2e: request(),
            queue: request(),
            inference: request(),
            prefill: request(),
            decode: request(),
            prompt_tokens: tokens(),
            generation_tokens: tokens(),
            max_tokens: tokens(),
            choices: Histogram::new([1.0, 2.0, 5.0, 10.0, 20.0]),
            finished: BTreeMap::new(),
            finished_by_adapter: BTreeMap::new(),
            adapter_sets: BTreeMap::new(),
        }
    }

    /// Records a sequence that ended at its last token; `real` converts engine time to wall-clock time.
    pub(super) fn finished(
        &mut self,
        sequence: &SequenceStats,
        generated: u32,
        real: impl Fn(Duration) -> Duration,
    ) {
        let elapsed = |from: Time, to: Time| seconds(real(to.since(from)));
        let decode = elapsed(sequence.first_token, sequence.last_token);
        self.e2e.observe(elapsed(sequence.arrived, sequence.last_token));
        self.queue.observe(elapsed(sequence.arrived, sequence.admitted));
        self.inference.observe(elapsed(sequence.admitted, sequence.last_token));
        self.prefill.observe(elapsed(sequence.admitted, sequence.first_token));
        self.decode.observe(decode);
        if generated > 1 {
            self.per_output_token.observe(decode / f64::from(generated - 1));
        }
        self.prompt_tokens.observe(f64::from(sequence.prompt_tokens));
        self.generation_tokens.observe(f64::from(generated));
        self.max_tokens.observe(f64::from(sequence.max_tokens));
        self.choices.observe(f64::from(sequence.choices));
        *self.finished_by_adapter.entry(sequence.adapter).or_default() += 1;
        *self.finished.entry(sequence.finish_reason).or_default() += 1;
    }

    pub(super) fn saw_adapters(&mut self, names: String, unix_seconds: f64) {
        self.adapter_sets.insert(names, unix_seconds);
        if self.adapter_sets.len() > MAX_ADAPTER_SETS {
            let oldest =
                self.adapter_sets.iter().min_by(|a, b| a.1.total_cmp(b.1)).map(|(names, _)| names.clone());
            oldest.map(|names| self.adapter_sets.remove(&names));
        }
    }
}
