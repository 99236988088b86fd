//! The full view of an engine's remaining work, for bounds.

use pointsman_core::BlockHash;

use super::scheduler::Engine;
use super::sequence::{Phase, Sequence, SequenceId};

/// Remaining work of a sequence, in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// Tokens with computed KV.
    pub context: u32,
    /// Tokens to prefill: of the prompt and, after a preemption, of the output.
    pub to_prefill: u32,
    /// Tokens to generate.
    pub to_generate: u32,
}

impl Engine {
    /// Running and waiting requests.
    #[must_use]
    pub const fn requests(&self) -> u32 {
        self.running + self.waiting_count
    }

    /// Free KV blocks.
    #[must_use]
    pub fn free_blocks(&self) -> u32 {
        self.pool.free()
    }

    /// Tokens to prefill of each waiting sequence.
    pub fn waiting_prefills(&self) -> impl Iterator<Item = u32> {
        self.waiting_sequences().map(Sequence::prefill_target)
    }

    /// Prompt tokens in the prefix cache.
    #[must_use]
    pub fn cached_tokens(&self, hashes: &[BlockHash], prompt_tokens: u32) -> u32 {
        let block_size = self.profile.block_size;
        let reusable = hashes.len().min((prompt_tokens.saturating_sub(1) / block_size) as usize);
        u32::try_from(self.pool.count_prefix(&hashes[..reusable]))
            .unwrap_or(u32::MAX)
            .saturating_mul(block_size)
    }

    /// Remaining work of each running sequence.
    pub fn outlook_running(&self) -> impl Iterator<Item = Outlook> {
        self.sequences.batch().map(|(_, sequence)| self.outlook(sequence))
    }

    /// Remaining work of each waiting sequence, in order.
    pub fn outlook_waiting(&self) -> impl Iterator<Item = Outlook> {
        self.waiting_sequences().map(|sequence| self.outlook(sequence))
    }

    fn outlook(&self, sequence: &Sequence) -> Outlook {
        let generated = sequence.generated_at(self.steps);
        let decodes = sequence.phase == Phase::Decoding;
        let context = if decodes { sequence.prompt + generated } else { sequence.computed };
        Outlook {
            context,
            to_prefill: (sequence.prompt + generated).saturating_sub(context),
            to_generate: sequence.output.saturating_sub(generated),
        }
    }

    fn waiting_sequences(&self) -> impl Iterator<Item = &Sequence> {
        let waits = |id: &SequenceId| self.sequences.get(*id);
        self.deferred.iter().chain(&self.waiting).filter_map(waits)
    }
}
