//! The engine: its interface to a driver, and the state shared by composing and finishing a step.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use pointsman_core::Time;

use super::adapters::{AdapterId, AdapterSlots};
use super::blocks::{BlockIndex, BlockPool};
use super::gauges::{Gauges, Totals};
use super::profile::EngineProfile;
use super::request::{Detail, Request, Step, StepOutput, SubmitError};
use super::sequence::{Phase, SequenceId, Sequences};
use super::step::Batch;

/// A prefill chunk in the current step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk {
    pub(super) id: SequenceId,
    pub(super) tokens: u32,
}

/// One engine: see the [module](super) for how to drive it.
#[derive(Clone, Debug)]
pub struct Engine {
    pub(super) profile: Arc<EngineProfile>,
    pub(super) detail: Detail,
    pub(super) sequences: Sequences,
    pub(super) pool: BlockPool,
    pub(super) adapters: AdapterSlots,
    /// FIFO queue; may contain ids of aborted sequences.
    pub(super) waiting: VecDeque<SequenceId>,
    /// Sequences passed over for want of an adapter slot, in order; tried before `waiting`.
    pub(super) deferred: VecDeque<SequenceId>,
    pub(super) waiting_count: u32,
    pub(super) deferred_count: u32,
    /// Whether the adapters in use changed since `deferred` was last tried.
    pub(super) adapters_changed: bool,
    pub(super) running: u32,
    pub(super) decoding: u32,
    /// Context of all decoding sequences, in tokens.
    pub(super) context: u64,
    /// Decoding sequences by the step residue at which they need a new block.
    pub(super) by_residue: Vec<Vec<SequenceId>>,
    /// Decoding sequences by the step at which they end.
    pub(super) finishes: BinaryHeap<Reverse<(u64, SequenceId)>>,
    pub(super) steps: u64,
    pub(super) in_step: bool,
    pub(super) chunks: Vec<Chunk>,
    pub(super) outputs: Vec<StepOutput>,
    pub(super) found: Vec<BlockIndex>,
    pub(super) totals: Totals,
}

impl Engine {
    /// An idle engine with an empty cache.
    #[must_use]
    pub fn new(profile: Arc<EngineProfile>, detail: Detail) -> Self {
        Self {
            detail,
            sequences: Sequences::new(),
            pool: BlockPool::new(profile.blocks),
            adapters: AdapterSlots::new(profile.max_adapters),
            waiting: VecDeque::new(),
            deferred: VecDeque::new(),
            waiting_count: 0,
            deferred_count: 0,
            adapters_changed: false,
            running: 0,
            decoding: 0,
            context: 0,
            by_residue: vec![Vec::new(); profile.block_size as usize],
            finishes: BinaryHeap::new(),
            steps: 0,
            in_step: false,
            chunks: Vec::new(),
            outputs: Vec::new(),
            found: Vec::new(),
            totals: Totals::default(),
            profile,
        }
    }

    /// The engine's profile.
    #[must_use]
    pub fn profile(&self) -> &EngineProfile {
        &self.profile
    }

    /// Queues a request. It joins a batch at a later [`Engine::start_step`] that has room.
    ///
    /// # Errors
    /// The request can never be served.
    pub fn submit(&mut self, request: Request) -> Result<SequenceId, SubmitError> {
        self.submit_fetched(request, 0)
    }

    /// [`Engine::submit`] of a prompt whose first `fetched` tokens need no prefill: their KV is fetched from elsewhere at no
    /// cost. They occupy blocks nevertheless.
    ///
    /// # Errors
    /// As [`Engine::submit`].
    pub fn submit_fetched(&mut self, request: Request, fetched: u32) -> Result<SequenceId, SubmitError> {
        if request.prompt_tokens == 0 {
            return Err(SubmitError::EmptyPrompt);
        }
        let tokens = u64::from(request.prompt_tokens) + u64::from(request.output_tokens);
        let limit = self.profile.max_model_len;
        let length = u32::try_from(tokens).ok().filter(|tokens| *tokens <= limit);
        let length = length.ok_or(SubmitError::TooLong { tokens, limit })?;
        let (needed, blocks) = (length.div_ceil(self.profile.block_size), self.profile.blocks);
        if needed > blocks {
            return Err(SubmitError::NeverFits { needed, blocks });
        }
        let id = self.sequences.open();
        let sequence = self.sequences.at_mut(id);
        sequence.prompt = request.prompt_tokens;
        sequence.output = request.output_tokens;
        sequence.fetched = fetched;
        sequence.adapter = request.adapter;
        sequence.hashes = request.hashes;
        self.waiting.push_back(id);
        self.waiting_count += 1;
        Ok(id)
    }

    /// Aborts a sequence. Returns false if it ended before.
    pub fn abort(&mut self, id: SequenceId) -> bool {
        let Some(phase) = self.sequences.get(id).map(|sequence| sequence.phase) else { return false };
        match phase {
            Phase::Ended => return false,
            Phase::Waiting => self.waiting_count -= 1,
            Phase::Deferred => {
                self.deferred_count -= 1;
                self.waiting_count -= 1;
            }
            Phase::Prefilling | Phase::Decoding => self.leave_batch(id),
        }
        self.sequences.close(id);
        self.compact_queues();
        true
    }

    /// Composes a batch and starts its step at `now`. `None` during a step, and when there is nothing to do.
    pub fn start_step(&mut self, now: Time) -> Option<Step> {
        if self.in_step {
            return None;
        }
        self.chunks.clear();
        let preempted = self.extend_decodes();
        let mut batch =
            Batch { tokens: self.decoding, context: self.context, pairs: 0.0, sequences: self.decoding };
        let mut budget = self.profile.max_batched_tokens.saturating_sub(self.decoding);
        let preempted = self.continue_prefill(&mut batch, &mut budget) || preempted;
        let loads = if preempted && batch.tokens > 0 { 0 } else { self.admit(now, &mut batch, &mut budget) };
        if batch.tokens == 0 {
            return None;
        }
        self.in_step = true;
        self.totals.adapter_loads += u64::from(loads);
        Some(Step { ends_at: now + self.profile.step.of(&batch) + self.profile.adapter_load() * loads })
    }

    /// Ends the current step and returns its outputs; empty without a current step.
    pub fn finish_step(&mut self) -> &[StepOutput] {
        self.outputs.clear();
        if !std::mem::take(&mut self.in_step) {
            return &self.outputs;
        }
        self.totals.steps += 1;
        self.totals.generated_tokens += u64::from(self.decoding);
        self.context += u64::from(self.decoding);
        self.steps += 1;
        if self.detail == Detail::EveryToken {
            self.report_decoding();
        }
        self.finish_decodes();
        self.finish_chunks();
        &self.outputs
    }

    /// The engine's gauges and counters.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        let (free, total) = (self.pool.free(), self.pool.total());
        Gauges {
            running: self.running,
            waiting: self.waiting_count,
            deferred: self.deferred_count,
            kv_usage: f64::from(total - free) / f64::from(total),
            adapters: self.adapters.running(),
            totals: self.totals,
        }
    }

    /// Counters since the start.
    #[must_use]
    pub const fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Output tokens of a sequence so far; `None` once it ended.
    #[must_use]
    pub fn generated(&self, id: SequenceId) -> Option<u32> {
        self.sequences.get(id).map(|sequence| sequence.generated_at(self.steps))
    }

    /// Adapters of running sequences, in ascending order.
    #[must_use]
    pub fn running_adapters(&self) -> Vec<AdapterId> {
        self.adapters.running()
    }

    /// Resets the prefix cache. Returns false, without effect, while sequences use blocks.
    pub fn reset_prefix_cache(&mut self) -> bool {
        self.pool.reset()
    }

    /// Unloads an adapter without running sequences.
    pub fn unload_adapter(&mut self, adapter: AdapterId) {
        self.adapters.unload(adapter);
    }
}
