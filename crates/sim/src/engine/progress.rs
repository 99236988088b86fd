//! The end of a step: tokens, completions, and removal from the batch.

use std::cmp::Reverse;

use pointsman_core::Time;

use super::request::{Detail, StepOutput};
use super::scheduler::Engine;
use super::sequence::{Phase, Sequence, SequenceId};

impl Engine {
    /// Index of the list in `by_residue` that needs blocks in the step after `steps` steps.
    pub(super) fn residue_of(&self, steps: u64) -> usize {
        usize::try_from(steps % u64::from(self.profile.block_size)).unwrap_or(0)
    }

    /// Reports a token of each decoding sequence.
    pub(super) fn report_decoding(&mut self) {
        let decoding = self.sequences.batch().filter(|(_, sequence)| sequence.phase == Phase::Decoding);
        self.outputs.extend(decoding.map(|(id, sequence)| output_of(id, sequence, self.steps, false)));
    }

    /// Ends the decoding sequences whose output is complete.
    pub(super) fn finish_decodes(&mut self) {
        while let Some(&Reverse((step, id))) = self.finishes.peek() {
            if step > self.steps {
                break;
            }
            self.finishes.pop();
            let Some(sequence) = self.sequences.get(id) else { continue };
            if sequence.phase != Phase::Decoding || sequence.finish_step != step {
                continue;
            }
            if self.detail == Detail::Milestones {
                self.outputs.push(output_of(id, sequence, self.steps, false));
            }
            self.finish(id);
        }
    }

    /// Records the prefill chunks of the step. A completed prompt yields a token and decodes from the next step on.
    pub(super) fn finish_chunks(&mut self) {
        for position in 0..self.chunks.len() {
            let chunk = self.chunks[position];
            let Some(sequence) = self.sequences.get(chunk.id) else { continue };
            let complete = sequence.computed + chunk.tokens == sequence.prefill_target();
            let sequence = self.sequences.at_mut(chunk.id);
            sequence.computed += chunk.tokens;
            if complete {
                self.begin_decode(chunk.id);
            }
        }
    }

    fn begin_decode(&mut self, id: SequenceId) {
        let (steps, block_size) = (self.steps, u64::from(self.profile.block_size));
        let sequence = self.sequences.at_mut(id);
        let first = sequence.generated == 0;
        if first {
            self.totals.prompt_tokens += u64::from(sequence.prompt);
        }
        if sequence.output > 0 {
            sequence.generated += 1;
            self.totals.generated_tokens += 1;
        }
        let output = output_of(id, sequence, steps, first && sequence.output > 0);
        let reported = self.detail == Detail::EveryToken || first || output.finished;
        if reported {
            self.outputs.push(output);
        }
        if output.finished {
            self.finish(id);
            return;
        }
        sequence.phase = Phase::Decoding;
        sequence.since_step = steps;
        sequence.finish_step = steps + u64::from(sequence.output - sequence.generated);
        let phase = u64::from(sequence.computed) % block_size;
        let residue = (steps % block_size + block_size - phase) % block_size;
        let list = &mut self.by_residue[usize::try_from(residue).unwrap_or(0)];
        sequence.residue = u32::try_from(residue).unwrap_or(0);
        sequence.residue_position = u32::try_from(list.len()).unwrap_or(u32::MAX);
        list.push(id);
        self.decoding += 1;
        self.context += u64::from(sequence.prompt + sequence.generated);
        self.finishes.push(Reverse((sequence.finish_step, id)));
    }

    fn finish(&mut self, id: SequenceId) {
        let sequence = self.sequences.at(id);
        // The KV of the last token is never computed.
        let computed = sequence.prompt + sequence.output.saturating_sub(1);
        self.register_blocks(id, computed / self.profile.block_size);
        self.leave_batch(id);
        self.sequences.close(id);
    }

    /// Removes a sequence from the batch and frees its blocks, the last ones first: they are reallocated first, because
    /// prefixes are shared more often than continuations.
    pub(super) fn leave_batch(&mut self, id: SequenceId) {
        if self.sequences.at(id).phase == Phase::Decoding {
            self.leave_decoding(id);
        }
        self.sequences.remove(id);
        self.running -= 1;
        let sequence = self.sequences.at_mut(id);
        while let Some(block) = sequence.blocks.pop() {
            self.pool.release(block);
        }
        if let Some(adapter) = sequence.adapter {
            self.adapters.stop(adapter);
            self.adapters_changed = true;
        }
    }

    fn leave_decoding(&mut self, id: SequenceId) {
        let sequence = self.sequences.at(id);
        self.decoding -= 1;
        self.context -= u64::from(sequence.prompt + sequence.generated_at(self.steps));
        let (residue, position) = (sequence.residue as usize, sequence.residue_position as usize);
        self.by_residue[residue].swap_remove(position);
        if let Some(&moved) = self.by_residue[residue].get(position) {
            self.sequences.at_mut(moved).residue_position = u32::try_from(position).unwrap_or(u32::MAX);
        }
    }

    /// Removes ids of aborted sequences from the queues once they outnumber the others.
    pub(super) fn compact_queues(&mut self) {
        if self.waiting.len() + self.deferred.len() > 2 * self.waiting_count as usize + 64 {
            let sequences = &self.sequences;
            self.waiting.retain(|id| sequences.get(*id).is_some());
            self.deferred.retain(|id| sequences.get(*id).is_some());
        }
    }
}

fn output_of(id: SequenceId, sequence: &Sequence, steps: u64, first: bool) -> StepOutput {
    let generated = sequence.generated_at(steps);
    StepOutput {
        id,
        generated,
        first,
        finished: generated >= sequence.output,
        cached_tokens: sequence.cached,
        admitted: sequence.admitted.unwrap_or(Time::ZERO),
    }
}
