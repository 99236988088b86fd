//! What prompts have in common, as block hashes.

use std::sync::Arc;

use pointsman_core::BlockHash;

use super::distribution::{Choice, Distribution};
use super::draw::{Draw, Purpose, mix};

/// Prompts that begin alike: each belongs to a group, and a group's prompts share their head.
#[derive(Clone, Debug, PartialEq)]
pub struct Prefixes {
    /// Which group.
    pub groups: Choice,
    /// Tokens of a group's head, drawn once for each group.
    pub tokens: Distribution,
}

/// The head of one prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// What tells the group apart, in this class and under this adapter.
    pub(super) salt: u64,
    pub(super) tokens: u32,
}

impl Head {
    pub(super) const NONE: Self = Self { salt: 0, tokens: 0 };

    /// The head of the group that a job or session draws.
    pub(super) fn of(prefixes: &Prefixes, seed: u64, of: u64, class: u64) -> Self {
        let group = u64::from(prefixes.groups.draw(&mut Draw::of(seed, Purpose::Group, of)));
        let name = mix(class, group);
        let tokens = prefixes.tokens.tokens(&mut Draw::of(seed, Purpose::GroupLength, name));
        Self { salt: mix(mix(seed, Purpose::Group as u64), name), tokens }
    }

    /// Nothing is shared across adapters: their keys and values differ.
    pub(super) const fn under(self, adapter: Option<u32>) -> Self {
        match adapter {
            Some(adapter) => Self { salt: mix(self.salt, adapter as u64 + 1), ..self },
            None => self,
        }
    }
}

/// The hashes of the full blocks of a text that begins with `head` and goes on with what only `own` has. A text only
/// grows at its end, so that a block's place says what is in it.
pub(super) fn hashes(head: Head, own: u64, tokens: u64, block_size: u32) -> Arc<[BlockHash]> {
    let size = u64::from(block_size.max(1));
    let shared = u64::from(head.tokens) / size;
    let hash = |block| mix(if block < shared { head.salt } else { own }, block);
    // Collected by way of a range of known length: one allocation.
    let blocks = usize::try_from(tokens / size).unwrap_or(0);
    (0..blocks).map(|block| BlockHash(hash(block as u64))).collect()
}

/// The hashes of engine blocks inside larger blocks that carry one chained hash each.
pub(super) fn divided(hashes: &[u64], parts: u32, salt: u64) -> impl Iterator<Item = BlockHash> {
    let part = move |hash, part| BlockHash(mix(mix(salt, hash), u64::from(part)));
    hashes.iter().flat_map(move |hash| (0..parts).map(move |i| part(*hash, i)))
}
