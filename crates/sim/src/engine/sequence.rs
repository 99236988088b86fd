//! Sequences: one prompt and the answer that grows from it.

use std::sync::Arc;

use pointsman_core::{BlockHash, Time};

use super::adapters::AdapterId;
use super::blocks::BlockIndex;

/// Names a sequence in its engine. The index is small and used again after the sequence ended, so drivers can keep
/// what they know of a sequence in a vector; the generation tells the old holder of an index from the new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SequenceId {
    index: u32,
    generation: u32,
}

impl SequenceId {
    /// Position in a vector of sequences; at most the number of sequences that were ever in the engine together.
    #[must_use]
    pub const fn index(self) -> usize {
        self.index as usize
    }
}

/// Where a sequence is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not in the engine.
    Gone,
    /// Waits for a seat and blocks.
    Waiting,
    /// Waits, and was passed over for want of an adapter slot.
    Deferred,
    /// In the batch, its tokens so far not all computed.
    Prefilling,
    /// In the batch, one token a step.
    Decoding,
}

/// One sequence. `generated` and `computed` stand still while it decodes; see [`Sequence::generated_at`].
#[derive(Clone, Debug)]
pub(super) struct Sequence {
    pub(super) generation: u32,
    pub(super) phase: Phase,
    pub(super) prompt: u32,
    pub(super) output: u32,
    /// Tokens generated when this phase began.
    pub(super) generated: u32,
    /// Tokens whose KV is in the cache, as long as it prefills.
    pub(super) computed: u32,
    /// Prompt tokens found in the cache at its first admission.
    pub(super) cached: u32,
    /// Prompt tokens whose KV comes from elsewhere at no cost.
    pub(super) fetched: u32,
    /// The step count when it began to decode.
    pub(super) since_step: u64,
    /// The step count at which it will have all its tokens; tells a stale entry of the finish heap.
    pub(super) finish_step: u64,
    /// Which of the `block_size` step residues needs a new block for it, and where it stands in that list.
    pub(super) residue: u32,
    pub(super) residue_position: u32,
    /// Neighbours in the batch, by admission.
    pub(super) previous: u32,
    pub(super) next: u32,
    /// Number of its admission, ascending.
    pub(super) order: u64,
    pub(super) adapter: Option<AdapterId>,
    pub(super) hashes: Arc<[BlockHash]>,
    /// Leading blocks that were named in the prefix cache.
    pub(super) named: u32,
    pub(super) blocks: Vec<BlockIndex>,
    pub(super) admitted: Option<Time>,
}

impl Sequence {
    fn vacant() -> Self {
        Self {
            generation: 0,
            phase: Phase::Gone,
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
            previous: NOBODY,
            next: NOBODY,
            order: 0,
            adapter: None,
            hashes: Arc::from([]),
            named: 0,
            blocks: Vec::new(),
            admitted: None,
        }
    }

    /// Tokens generated when the engine has done `steps` steps.
    pub(super) fn generated_at(&self, steps: u64) -> u32 {
        match self.phase {
            Phase::Decoding => {
                self.generated + u32::try_from(steps.saturating_sub(self.since_step)).unwrap_or(u32::MAX)
            }
            Phase::Gone | Phase::Waiting | Phase::Deferred | Phase::Prefilling => self.generated,
        }
    }

    /// Tokens that a prefill has to bring into the cache: the prompt, and after a preemption the answer so far.
    pub(super) fn prefill_target(&self) -> u32 {
        self.prompt + self.generated
    }
}

/// No neighbour.
pub(super) const NOBODY: u32 = u32::MAX;

/// All sequences of an engine, and the batch as a list in order of admission.
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
        Self { all: Vec::new(), vacant: Vec::new(), first: NOBODY, last: NOBODY, admissions: 0 }
    }

    /// Takes a free entry for a sequence that begins to wait.
    pub(super) fn open(&mut self) -> SequenceId {
        let index = self.vacant.pop().unwrap_or_else(|| {
            self.all.push(Sequence::vacant());
            u32::try_from(self.all.len() - 1).unwrap_or(NOBODY)
        });
        let sequence = &mut self.all[index as usize];
        sequence.phase = Phase::Waiting;
        SequenceId { index, generation: sequence.generation }
    }

    /// Gives the entry of a sequence back; its blocks must have been released.
    pub(super) fn close(&mut self, id: SequenceId) {
        let sequence = &mut self.all[id.index()];
        let (blocks, generation) =
            (std::mem::take(&mut sequence.blocks), sequence.generation.wrapping_add(1));
        *sequence = Sequence { blocks, generation, ..Sequence::vacant() };
        self.vacant.push(id.index);
    }

    /// The sequence, as long as it is in the engine.
    pub(super) fn get(&self, id: SequenceId) -> Option<&Sequence> {
        self.all
            .get(id.index())
            .filter(|sequence| sequence.generation == id.generation && sequence.phase != Phase::Gone)
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
    pub(super) fn seat(&mut self, id: SequenceId) {
        self.admissions += 1;
        let (last, order) = (self.last, self.admissions);
        let sequence = self.at_mut(id);
        (sequence.previous, sequence.next, sequence.order) = (last, NOBODY, order);
        match self.all.get_mut(last as usize) {
            Some(before) => before.next = id.index,
            None => self.first = id.index,
        }
        self.last = id.index;
    }

    /// Takes a sequence out of the batch.
    pub(super) fn unseat(&mut self, id: SequenceId) {
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

    /// The sequence that joined the batch last.
    pub(super) fn last(&self) -> Option<SequenceId> {
        self.id_at(self.last)
    }

    /// The batch in order of admission.
    pub(super) fn batch(&self) -> impl Iterator<Item = (SequenceId, &Sequence)> {
        let mut next = self.first;
        std::iter::from_fn(move || {
            let sequence = self.all.get(next as usize)?;
            let id = SequenceId { index: next, generation: sequence.generation };
            next = sequence.next;
            Some((id, sequence))
        })
    }
}
