//! How soon cached blocks are used again.

use super::Inserted;

/// Running statistics of the time between two uses of a cached block, counted in prompts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reuse {
    /// Decayed sum, over prompts, of the blocks that were cached already.
    blocks: f64,
    /// Decayed sum of the times since their last use.
    idle: f64,
}

impl Reuse {
    /// Decay of the sums per prompt: about the last hundred prompts count.
    const KEPT: f64 = 0.99;

    /// Takes in a prompt that was inserted.
    pub(crate) fn observe(&mut self, inserted: &Inserted) {
        self.blocks = self.blocks * Self::KEPT + f64::from(inserted.reused);
        self.idle = self.idle * Self::KEPT + inserted.idle as f64;
    }

    /// Mean time between two uses of a block.
    pub(crate) fn interval(&self) -> f64 {
        self.idle / self.blocks.max(1.0)
    }
}
