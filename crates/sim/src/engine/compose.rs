//! Composition of a step's batch, by the rules of vLLM's `Scheduler.schedule`: running sequences first, in order of
//! admission. Where blocks run out, the sequence admitted last is preempted and returns to the front of the queue. New
//! sequences are admitted only in a step without preemption, first come first served, until sequence slots, token budget or
//! blocks run out: the first in the queue blocks the others.

use std::collections::VecDeque;

use pointsman_core::Time;

use super::scheduler::{Chunk, Engine};
use super::sequence::{Phase, SequenceId};
use super::step::Batch;

/// Outcome of an attempt to admit a waiting sequence.
enum Admission {
    /// It joined the batch.
    Admitted {
        /// Whether its adapter had to be loaded.
        loaded: bool,
    },
    /// No adapter slot is free; those behind it may be admitted.
    Deferred,
    /// It was aborted.
    Aborted,
    /// No sequence slot, token budget or blocks: those behind it must wait, too.
    Blocked,
}

impl Engine {
    /// Allocates a block for each decoding sequence whose last block is full. Returns whether any was preempted.
    pub(super) fn extend_decodes(&mut self) -> bool {
        let residue = self.residue_of(self.steps);
        let due = self.by_residue[residue].len();
        if due <= self.pool.free() as usize {
            for position in 0..due {
                let id = self.by_residue[residue][position];
                self.extend(id);
            }
            return false;
        }
        // Too few blocks: in order of admission, preempting the sequence admitted last.
        let mut due = self.by_residue[residue].clone();
        due.sort_unstable_by_key(|id| self.sequences.at(*id).order);
        for id in due {
            while self.sequences.get(id).is_some_and(|sequence| sequence.phase == Phase::Decoding) {
                if self.pool.free() > 0 {
                    self.extend(id);
                    break;
                }
                let Some(last) = self.sequences.last() else { break };
                self.preempt(last);
            }
        }
        true
    }

    /// Allocates a block for a decoding sequence and registers the full ones in the prefix cache.
    fn extend(&mut self, id: SequenceId) {
        self.register_blocks(id, u32::MAX);
        if let Some(block) = self.pool.allocate() {
            self.sequences.at_mut(id).blocks.push(block);
        }
    }

    /// Continues a chunked prefill. There is at most one, the sequence admitted last, since it used up the token budget.
    /// Returns whether it was preempted.
    pub(super) fn continue_prefill(&mut self, batch: &mut Batch, budget: &mut u32) -> bool {
        let Some(id) = self.sequences.last() else { return false };
        let sequence = self.sequences.at(id);
        if sequence.phase != Phase::Prefilling {
            return false;
        }
        let done = sequence.computed;
        let chunk = (sequence.prefill_target() - done).min(*budget);
        if chunk == 0 {
            return false;
        }
        let held = u32::try_from(sequence.blocks.len()).unwrap_or(u32::MAX);
        let needed = (done + chunk).div_ceil(self.profile.block_size).saturating_sub(held);
        if needed > self.pool.free() {
            self.preempt(id);
            return true;
        }
        self.schedule_chunk(id, needed, done, chunk);
        batch.add_prefill(done, chunk);
        *budget -= chunk;
        false
    }

    /// Admits waiting sequences. Returns the number of adapters to load.
    pub(super) fn admit(&mut self, now: Time, batch: &mut Batch, budget: &mut u32) -> u32 {
        let mut loads = 0;
        if self.adapters_changed {
            let mut queue = std::mem::take(&mut self.deferred);
            let mut still = VecDeque::with_capacity(queue.len());
            let mut blocked = false;
            while let Some(id) = queue.pop_front() {
                match self.try_admit(id, now, batch, budget) {
                    Admission::Admitted { loaded } => loads += u32::from(loaded),
                    Admission::Deferred => still.push_back(id),
                    Admission::Aborted => {}
                    Admission::Blocked => {
                        still.push_back(id);
                        still.append(&mut queue);
                        blocked = true;
                    }
                }
            }
            self.deferred = still;
            self.adapters_changed = blocked;
            if blocked {
                return loads;
            }
        }
        while let Some(id) = self.waiting.pop_front() {
            match self.try_admit(id, now, batch, budget) {
                Admission::Admitted { loaded } => loads += u32::from(loaded),
                Admission::Deferred => {
                    self.sequences.at_mut(id).phase = Phase::Deferred;
                    self.deferred_count += 1;
                    self.deferred.push_back(id);
                }
                Admission::Aborted => {}
                Admission::Blocked => {
                    self.waiting.push_front(id);
                    break;
                }
            }
        }
        loads
    }

    fn try_admit(&mut self, id: SequenceId, now: Time, batch: &mut Batch, budget: &mut u32) -> Admission {
        let Some(sequence) = self.sequences.get(id) else { return Admission::Aborted };
        if *budget == 0 || self.running >= self.profile.max_sequences {
            return Admission::Blocked;
        }
        if sequence.adapter.is_some_and(|adapter| !self.adapters.admits(adapter)) {
            return Admission::Deferred;
        }
        // At least the last token is computed: its output is the next token.
        let (target, block_size) = (sequence.prefill_target(), self.profile.block_size);
        let reusable = sequence.hashes.len().min(((target - 1) / block_size) as usize);
        self.found.clear();
        let idle = self.pool.find_prefix(&sequence.hashes[..reusable], &mut self.found);
        let hits = u32::try_from(self.found.len()).unwrap_or(u32::MAX);
        let done = (hits * block_size).max(sequence.fetched.min((target - 1) / block_size * block_size));
        let chunk = (target - done).min(*budget);
        let needed = (done + chunk).div_ceil(block_size) - hits;
        if needed + idle > self.pool.free() {
            return Admission::Blocked;
        }
        let loaded = self.admit_sequence(id, now, done);
        self.schedule_chunk(id, needed, done, chunk);
        batch.add_prefill(done, chunk);
        *budget -= chunk;
        Admission::Admitted { loaded }
    }

    /// Moves a waiting sequence into the batch with the cached blocks in `found`; `done` tokens need no prefill. Returns
    /// whether its adapter has to be loaded.
    fn admit_sequence(&mut self, id: SequenceId, now: Time, done: u32) -> bool {
        self.waiting_count -= 1;
        self.running += 1;
        self.sequences.append(id);
        let sequence = self.sequences.at_mut(id);
        self.deferred_count -= u32::from(sequence.phase == Phase::Deferred);
        sequence.phase = Phase::Prefilling;
        sequence.blocks.clear();
        sequence.blocks.extend_from_slice(&self.found);
        sequence.registered = u32::try_from(self.found.len()).unwrap_or(u32::MAX);
        if sequence.admitted.is_none() {
            sequence.admitted = Some(now);
            sequence.cached = done;
            self.totals.prefix_queries += u64::from(sequence.prompt);
            self.totals.prefix_hits += u64::from(done);
        }
        for block in &self.found {
            self.pool.share(*block);
        }
        let loaded = sequence.adapter.is_some_and(|adapter| self.adapters.start(adapter));
        self.adapters_changed |= loaded;
        loaded
    }

    /// Adds `chunk` tokens of a prompt to the step with `needed` new blocks. Full blocks are registered at once, since other
    /// sequences of the same step may share them.
    fn schedule_chunk(&mut self, id: SequenceId, needed: u32, done: u32, chunk: u32) {
        for _ in 0..needed {
            let Some(block) = self.pool.allocate() else { break };
            self.sequences.at_mut(id).blocks.push(block);
        }
        self.sequences.at_mut(id).computed = done;
        self.register_blocks(id, (done + chunk) / self.profile.block_size);
        self.chunks.push(Chunk { id, tokens: chunk });
    }

    /// Registers the first `full` blocks of a sequence in the prefix cache, as far as blocks and hashes exist.
    pub(super) fn register_blocks(&mut self, id: SequenceId, full: u32) {
        let sequence = self.sequences.at_mut(id);
        let full = (full as usize).min(sequence.blocks.len()).min(sequence.hashes.len());
        for position in sequence.registered as usize..full {
            self.pool.register(sequence.blocks[position], sequence.hashes[position]);
        }
        sequence.registered = sequence.registered.max(u32::try_from(full).unwrap_or(u32::MAX));
    }

    /// Preempts a sequence: it frees its blocks and slot and returns to the front of the queue, with its output so far to be
    /// recomputed.
    fn preempt(&mut self, id: SequenceId) {
        let generated = self.sequences.at(id).generated_at(self.steps);
        self.leave_batch(id);
        let sequence = self.sequences.at_mut(id);
        sequence.phase = Phase::Waiting;
        sequence.generated = generated;
        sequence.computed = 0;
        sequence.registered = 0;
        self.waiting.push_front(id);
        self.waiting_count += 1;
        self.totals.preemptions += 1;
    }
}
