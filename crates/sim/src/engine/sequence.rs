//! Sequences: a prompt and its output.

use std::sync::Arc;

use pointsman_core::{BlockHash, Time};

use super::adapters::AdapterId;
use super::blocks::BlockIndex;

/// Identifies a sequence in its engine. Indices are small and reused, so drivers can keep data about sequences in a vector;
/// the generation distinguishes sequences of the same index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SequenceId {
    index: u32,
    generation: u32,
}

impl SequenceId {
    /// Index of the sequence, below the greatest number of sequences that were in the engine at once.
    #[must_use]
    pub const fn index(self) -> usize {
        self.index as usize
    }
}

/// The phase of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not in the engine.
    Ended,
    /// Waits for a sequence slot and blocks.
    Waiting,
    /// Waits for an adapter slot.
    Deferred,
    /// In the batch, before its first or next token.
    Prefilling,
    /// In the batch, one token per step.
    Decoding,
}

/// One sequence. `generated` and `computed` do not change while it decodes; see [`Sequence::generated_at`].
#[derive(Clone, Debug)]
pub(super) struct Sequence {
    pub(super) generation: u32,
    pub(super) phase: Phase,
    pub(super) prompt: u32,
    pub(super) output: u32,
    /// Output tokens at the start of this phase.
    pub(super) generated: u32,
    /// Tokens with computed KV during prefill.
    pub(super) computed: u32,
    /// Prompt tokens found in the prefix cache at its first admission.
    pub(super) cached: u32,
    /// Prompt tokens whose KV is fetched from elsewhere at no cost.
    pub(super) fetched: u32,
    /// Step count at the start of decoding.
    pub(super) since_step: u64,
    /// Step count of its completion; identifies stale entries of the completion heap.
    pub(super) finish_step: u64,
    /// The step residue modulo `block_size` at which it needs a new block, and its position in that list.
    pub(super) residue: u32,
    pub(super) residue_position: u32,
    /// Neighbours in the batch, in order of admission.
    pub(super) previous: u32,
    pub(super) next: u32,
    /// Ordinal of its admission.
    pub(super) order: u64,
    pub(super) adapter: Option<AdapterId>,
    pub(super) hashes: Arc<[BlockHash]>,
    /// Number of leading blocks registered in the prefix cache.
    pub(super) registered: u32,
    pub(super) blocks: Vec<BlockIndex>,
    pub(super) admitted: Option<Time>,
}

impl Sequence {
    fn vacant() -> Self {
        Self {
            generation: 0,
            phase: Phase::Ended,
            prompt: 0,
            output: 0,
            generated: 0,
            computed: 0,
            cached: 0,
            fetched: 0,
            since_step: 0,
            finish_step: 0,
            residue: 0,
            residue_position: 0,
            previous: NO_NEIGHBOUR,
            next: NO_NEIGHBOUR,
            order: 0,
            adapter: None,
            hashes: Arc::from([]),
            registered: 0,
            blocks: Vec::new(),
            admitted: None,
        }
    }

    /// Output tokens after `steps` steps of the engine.
    pub(super) fn generated_at(&self, steps: u64) -> u32 {
        let decoded = if self.phase == Phase::Decoding { steps.saturating_sub(self.since_step) } else { 0 };
        self.generated + u32::try_from(decoded).unwrap_or(u32::MAX)
    }

    /// Tokens that a prefill computes: the prompt and, after a preemption, the output so far.
    pub(super) fn prefill_target(&self) -> u32 {
        self.prompt + self.generated
    }
}

/// No neighbour.
pub(super) const NO_NEIGHBOUR: u32 = u32::MAX;

/// All sequences of an engine, and the batch as a linked list in order of admission.
#[derive(Clone, Debug)]
pub(super) struct Sequences {
    all: Vec<Sequence>,
    vacant: Vec<u32>,
    first: u32,
    last: u32,
    admissions: u64,
}

impl Sequences {
    pub(super) fn new() -> Self {
        Self { all: Vec::new(), vacant: Vec::new(), first: NO_NEIGHBOUR, last: NO_NEIGHBOUR, admissions: 0 }
    }

    /// Allocates an entry for a waiting sequence.
    pub(super) fn open(&mut self) -> SequenceId {
        let index = self.vacant.pop().unwrap_or_else(|| {
            self.all.push(Sequence::vacant());
            u32::try_from(self.all.len() - 1).unwrap_or(NO_NEIGHBOUR)
        });
        let sequence = &mut self.all[index as usize];
        sequence.phase = Phase::Waiting;
        SequenceId { index, generation: sequence.generation }
    }

    /// Frees the entry of a sequence whose blocks were released.
    pub(super) fn close(&mut self, id: SequenceId) {
        let sequence = &mut self.all[id.index()];
        let (blocks, generation) =
            (std::mem::take(&mut sequence.blocks), sequence.generation.wrapping_add(1));
        *sequence = Sequence { blocks, generation, ..Sequence::vacant() };
        self.vacant.push(id.index);
    }

    /// The sequence, while it is in the engine.
    pub(super) fn get(&self, id: SequenceId) -> Option<&Sequence> {
        self.all
            .get(id.index())
            .filter(|sequence| sequence.generation == id.generation && sequence.phase != Phase::Ended)
    }

    pub(super) fn at(&self, id: SequenceId) -> &Sequence {
        &self.all[id.index()]
    }

    pub(super) fn at_mut(&mut self, id: SequenceId) -> &mut Sequence {
        &mut self.all[id.index()]
    }

    pub(super) fn id_at(&self, index: u32) -> Option<SequenceId> {
        self.all.get(index as usize).map(|sequence| SequenceId { index, generation: sequence.generation })
    }

    /// Appends a sequence to the batch.
    pub(super) fn append(&mut self, id: SequenceId) {
        self.admissions += 1;
        let (last, order) = (self.last, self.admissions);
        let sequence = self.at_mut(id);
        (sequence.previous, sequence.next, sequence.order) = (last, NO_NEIGHBOUR, order);
        match self.all.get_mut(last as usize) {
            Some(before) => before.next = id.index,
            None => self.first = id.index,
        }
        self.last = id.index;
    }

    /// Removes a sequence from the batch.
    pub(super) fn remove(&mut self, id: SequenceId) {
        let Sequence { previous, next, .. } = *self.at(id);
        match self.all.get_mut(previous as usize) {
            Some(sequence) => sequence.next = next,
            None => self.first = next,
        }
        match self.all.get_mut(next as usize) {
            Some(sequence) => sequence.previous = previous,
            None => self.last = previous,
        }
    }

    /// The sequence admitted last.
    pub(super) fn last(&self) -> Option<SequenceId> {
        self.id_at(self.last)
    }

    /// The batch in order of admission.
    pub(super) fn batch(&self) -> impl Iterator<Item = (SequenceId, &Sequence)> {
        let mut next = self.first;
        std::iter::from_fn(move || {
            let id = self.id_at(next)?;
            let sequence = self.at(id);
            next = sequence.next;
            Some((id, sequence))
        })
    }
}
