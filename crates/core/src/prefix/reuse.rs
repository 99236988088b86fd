//! How soon cached blocks are used again.

use super::{Inserted, Tick};

/// The reuse of cached prompts, at one request. Times are counted in prompts that arrived.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reuse {
    pub(crate) now: Tick,
    /// Prompts since the last use of the longest cached prefix of this request's prompt, at least 1; `None` where nobody
    /// has any of it.
    pub(crate) head_idle: Option<u32>,
    /// Mean time between two uses of a block.
    pub(crate) after: f64,
    /// Decayed sums, over prompts, of the blocks found cached and of the times since their last use.
    blocks: f64,
    idle: f64,
}

impl Reuse {
    /// Decay of the sums per prompt: about the last hundred prompts count.
    const KEPT: f64 = 0.99;

    /// The same at a later time.
    pub(crate) const fn at(self, now: Tick) -> Self {
        Self { now, ..self }
    }

    /// Takes in a prompt that was inserted.
    pub(crate) fn observe(&mut self, inserted: &Inserted) {
        self.blocks = self.blocks * Self::KEPT + f64::from(inserted.reused);
        self.idle = self.idle * Self::KEPT + inserted.idle as f64;
        self.after = self.idle / self.blocks.max(1.0);
    }
}
