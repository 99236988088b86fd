//! Before a step: blocks for those that decode, the rest of a prompt, new sequences. The rules, from
//! `Scheduler.schedule`: the batch first, in order of admission; where blocks run out the last of the batch loses
//! its own and starts over at the head of the queue; new sequences only in a step without such a loss, first come
//! first served until seats, token budget or blocks end it, so that the head of the queue holds up the rest.

use std::collections::VecDeque;

use pointsman_core::Time;

use super::scheduler::{Chunk, Engine};
use super::sequence::{Phase, SequenceId};
use super::step::Batch;

/// What became of one that waits.
enum Admission {
    /// It has joined the batch.
    Seated {
        /// Its adapter had to be loaded.
        loaded: bool,
    },
    /// Its adapter finds no slot; those behind it may go first.
    Deferred,
    /// It was aborted.
    Gone,
    /// No seat, no budget or no blocks: nobody behind it may go first.
    Blocked,
}

impl Engine {
    /// Gives each decoding sequence that ends a block another one. True when some were preempted for it.
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
        // Not enough for all: in order of admission, each at the cost of the last of the batch.
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

    /// One more block for a decoding sequence whose blocks are full; the last of them can be found from now on.
    fn extend(&mut self, id: SequenceId) {
        self.name_blocks(id, u32::MAX);
        if let Some(block) = self.pool.allocate() {
            self.sequences.at_mut(id).blocks.push(block);
        }
    }

    /// The prompt that an earlier step began: at most one, and the last of the batch, because it took the whole
    /// budget. True when it had to be preempted.
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

    /// Admits those who wait. Returns how many adapters that loads.
    pub(super) fn admit(&mut self, now: Time, batch: &mut Batch, budget: &mut u32) -> u32 {
        let mut loads = 0;
        if self.adapters_changed {
            let mut queue = std::mem::take(&mut self.deferred);
            let mut still = VecDeque::with_capacity(queue.len());
            let mut blocked = false;
            while let Some(id) = queue.pop_front() {
                match self.try_admit(id, now, batch, budget) {
                    Admission::Seated { loaded } => loads += u32::from(loaded),
                    Admission::Deferred => still.push_back(id),
                    Admission::Gone => {}
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
                Admission::Seated { loaded } => loads += u32::from(loaded),
                Admission::Deferred => {
                    self.sequences.at_mut(id).phase = Phase::Deferred;
                    self.deferred_count += 1;
                    self.deferred.push_back(id);
                }
                Admission::Gone => {}
                Admission::Blocked => {
                    self.waiting.push_front(id);
                    break;
                }
            }
        }
        loads
    }

    fn try_admit(&mut self, id: SequenceId, now: Time, batch: &mut Batch, budget: &mut u32) -> Admission {
        let Some(sequence) = self.sequences.get(id) else { return Admission::Gone };
        if *budget == 0 || self.running >= self.profile.max_sequences {
            return Admission::Blocked;
        }
        if sequence.adapter.is_some_and(|adapter| !self.adapters.admits(adapter)) {
            return Admission::Deferred;
        }
        // At least one token is always computed, since its output is the next token.
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
        let loaded = self.seat(id, now, done);
        self.schedule_chunk(id, needed, done, chunk);
        batch.add_prefill(done, chunk);
        *budget -= chunk;
        Admission::Seated { loaded }
    }

    /// Moves one that waits into the batch, holding the blocks in `found`, which contain `done` tokens of it.
    fn seat(&mut self, id: SequenceId, now: Time, done: u32) -> bool {
        self.waiting_count -= 1;
        self.running += 1;
        self.sequences.seat(id);
        let sequence = self.sequences.at_mut(id);
        self.deferred_count -= u32::from(sequence.phase == Phase::Deferred);
        sequence.phase = Phase::Prefilling;
        sequence.blocks.clear();
        sequence.blocks.extend_from_slice(&self.found);
        sequence.named = u32::try_from(self.found.len()).unwrap_or(u32::MAX);
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

    /// Puts `chunk` tokens of a prompt into the step, in `needed` more blocks. Full ones can be found at once: others
    /// in the same step already share them.
    fn schedule_chunk(&mut self, id: SequenceId, needed: u32, done: u32, chunk: u32) {
        for _ in 0..needed {
            let Some(block) = self.pool.allocate() else { break };
            self.sequences.at_mut(id).blocks.push(block);
        }
        self.sequences.at_mut(id).computed = done;
        self.name_blocks(id, (done + chunk) / self.profile.block_size);
        self.chunks.push(Chunk { id, tokens: chunk });
    }

    /// Names the first `full` blocks of a sequence in the prefix cache, as far as it has them and their hashes.
    pub(super) fn name_blocks(&mut self, id: SequenceId, full: u32) {
        let sequence = self.sequences.at_mut(id);
        let full = (full as usize).min(sequence.blocks.len()).min(sequence.hashes.len());
        for position in sequence.named as usize..full {
            self.pool.name(sequence.blocks[position], sequence.hashes[position]);
        }
        sequence.named = sequence.named.max(u32::try_from(full).unwrap_or(u32::MAX));
    }

    /// Takes a sequence's blocks and seat; it starts over at the head of the queue, with its answer so far as part
    /// of what has to be computed.
    fn preempt(&mut self, id: SequenceId) {
        let generated = self.sequences.at(id).generated_at(self.steps);
        self.leave_batch(id);
        let sequence = self.sequences.at_mut(id);
        sequence.phase = Phase::Waiting;
        sequence.generated = generated;
        sequence.computed = 0;
        sequence.named = 0;
        self.waiting.push_front(id);
        self.waiting_count += 1;
        self.totals.preemptions += 1;
    }
}
