//! The sequences in the engine, and the effects of each step on their progress and statistics.

use std::sync::Arc;

use pointsman_core::{Time, seconds};
use pointsman_sim::engine::{AdapterId, Detail, Engine, EngineProfile, Request, SequenceId, SubmitError};

use super::clock::{Clock, unix_now};
use super::progress::{RequestProgress, SequenceProgress};
use super::stats::{EngineStats, SequenceStats};
use crate::text::FinishReason;

/// A sequence to run, with the fields that its statistics need.
#[derive(Clone, Debug)]
pub(crate) struct SequenceRequest {
    pub(crate) request: Request,
    pub(crate) max_tokens: u32,
    pub(crate) finish_reason: FinishReason,
}

/// A waiting or running sequence.
#[derive(Debug)]
struct Sequence {
    id: SequenceId,
    progress: Arc<RequestProgress>,
    /// Its index in `progress`.
    index: usize,
    stats: SequenceStats,
}

/// The engine model and its sequences.
#[derive(Debug)]
pub(crate) struct Sequences {
    pub(crate) engine: Engine,
    /// By index of the sequence's id.
    sequences: Vec<Option<Sequence>>,
    /// End of the step that runs, in engine time.
    pub(super) step_ends: Option<Time>,
    /// Factor on the step times of the profile.
    pub(crate) slowdown: f64,
    pub(super) stats: EngineStats,
    /// Adapter names by [`AdapterId`].
    pub(crate) adapter_names: Vec<String>,
    running_adapters: Vec<AdapterId>,
}

impl Sequences {
    pub(super) fn new(profile: EngineProfile) -> Self {
        Self {
            stats: EngineStats::new(profile.max_model_len),
            engine: Engine::new(Arc::new(profile), Detail::EveryToken),
            sequences: Vec::new(),
            step_ends: None,
            slowdown: 1.0,
            adapter_names: Vec::new(),
            running_adapters: Vec::new(),
        }
    }

    /// Queues the sequence with this index in a request of `choices` sequences.
    pub(super) fn submit(
        &mut self,
        sequence: SequenceRequest,
        progress: &Arc<RequestProgress>,
        (index, choices): (usize, u32),
        now: Time,
    ) -> Result<SequenceId, SubmitError> {
        let stats = SequenceStats {
            adapter: sequence.request.adapter,
            prompt_tokens: sequence.request.prompt_tokens,
            max_tokens: sequence.max_tokens,
            choices,
            finish_reason: sequence.finish_reason,
            arrived: now,
            admitted: now,
            first_token: now,
            last_token: now,
        };
        let id = self.engine.submit(sequence.request)?;
        let slot = id.index();
        if self.sequences.len() <= slot {
            self.sequences.resize_with(slot + 1, || None);
        }
        self.sequences[slot] = Some(Sequence { id, progress: Arc::clone(progress), index, stats });
        Ok(id)
    }

    pub(super) fn abort(&mut self, id: SequenceId) {
        if self.engine.abort(id)
            && let Some(slot) = self.sequences.get_mut(id.index())
        {
            *slot = None;
        }
    }

    /// Ends the step that runs. Requests with progress are appended to `advanced`, to be woken.
    pub(super) fn finish_step(&mut self, end: Time, clock: &Clock, advanced: &mut Vec<Arc<RequestProgress>>) {
        for output in self.engine.finish_step() {
            let Some(slot) = self.sequences.get_mut(output.id.index()) else { continue };
            let Some(sequence) = slot.as_mut().filter(|sequence| sequence.id == output.id) else { continue };
            let stats = &mut sequence.stats;
            if output.first || output.generated == 0 {
                stats.admitted = output.admitted;
                stats.first_token = end;
            }
            if output.first {
                let elapsed = clock.real(end.since(stats.arrived));
                self.stats.time_to_first_token.observe(seconds(elapsed));
            } else if output.generated > 0 {
                self.stats.inter_token.observe(seconds(clock.real(end.since(stats.last_token))));
            }
            stats.last_token = end;
            let (generated, cached) = (output.generated, output.cached_tokens);
            let progress = SequenceProgress { generated, cached, finished: output.finished };
            sequence.progress.store(sequence.index, progress);
            advanced.push(Arc::clone(&sequence.progress));
            if output.finished {
                self.stats.finished(&sequence.stats, output.generated, |duration| clock.real(duration));
                *slot = None;
            }
        }
    }

    /// Records the time of every change of the set of running adapters.
    pub(super) fn record_adapter_change(&mut self) {
        if self.adapter_names.is_empty() {
            return;
        }
        let running = self.engine.running_adapters();
        if running != self.running_adapters {
            if !self.running_adapters.is_empty() {
                self.record_running_adapters();
            }
            self.running_adapters = running;
            self.record_running_adapters();
        }
    }

    /// Records that the current set of running adapters is still running.
    pub(super) fn record_running_adapters(&mut self) {
        let name =
            |adapter: &AdapterId| self.adapter_names.get(adapter.0 as usize).map_or("", String::as_str);
        let names = self.running_adapters.iter().map(name).collect::<Vec<_>>().join(",");
        self.stats.saw_adapters(names, unix_now());
    }
}
