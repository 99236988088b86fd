//! The match of one prompt against the endpoints' caches.

use super::{Holder, Tick};
use crate::request::RequestFacts;

/// Which endpoints are expected to have how much of a prompt in their prefix caches. Times are counted in prompts.
#[derive(Clone, Debug, Default)]
pub(crate) struct PrefixMatch {
    /// Prompt tokens expected in the cache of each of the scheduler's endpoints, by index; at most the prompt's. Of a large
    /// fleet only for those of `sample`.
    pub(crate) cached: Vec<u32>,
    /// The endpoints of a large fleet that are compared, by index in ascending order; empty where all are.
    pub(crate) sample: Vec<usize>,
    /// Time since the last use of the longest cached prefix, at least 1; `None` where none is cached.
    pub(crate) prefix_idle: Option<u32>,
    /// Mean time between two uses of a cached block.
    pub(crate) reuse_interval: f64,
    /// The index's time at the match.
    pub(crate) now: Tick,
    /// Number of the prompt's blocks in the index, by slot of holder; empty where the prompt is not hashed.
    pub(crate) blocks: Vec<u32>,
}

impl PrefixMatch {
    /// Prompt tokens in the holder's blocks.
    pub(crate) fn tokens(&self, holder: Option<Holder>, facts: &RequestFacts) -> u32 {
        let blocks = holder.and_then(|holder| self.blocks.get(holder.slot())).copied().unwrap_or(0);
        blocks.saturating_mul(facts.block_tokens).min(facts.prompt_tokens)
    }
}
