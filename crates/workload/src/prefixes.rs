//! Shared prefixes of prompts, as chained block hashes.

use std::sync::Arc;

use pointsman_core::BlockHash;
use pointsman_random::mix;

use super::distribution::{Choice, Distribution};
use super::draw::{Draw, Purpose};

/// Groups of prompts that share a prefix.
#[derive(Clone, Debug, PartialEq)]
pub struct PrefixGroups {
    /// The share of each group.
    pub groups: Choice,
    /// Tokens of a group's shared prefix, drawn once per group.
    pub tokens: Distribution,
}

/// The shared prefix of one prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SharedPrefix {
    /// Hash of the group, its class and the adapter.
    pub(super) salt: u64,
    pub(super) tokens: u32,
}

impl SharedPrefix {
    pub(super) const NONE: Self = Self { salt: 0, tokens: 0 };

    /// The prefix of the group that a job or session of this number draws.
    pub(super) fn drawn(prefixes: &PrefixGroups, seed: u64, number: u64, class: u64) -> Self {
        let group = u64::from(prefixes.groups.draw(&mut Draw::of(seed, Purpose::Group, number)));
        let name = mix(class, group);
        let tokens = prefixes.tokens.tokens(&mut Draw::of(seed, Purpose::GroupLength, name));
        Self { salt: mix(mix(seed, Purpose::Group as u64), name), tokens }
    }

    /// The same prefix under an adapter. Adapters share no KV blocks: their keys and values differ.
    pub(super) fn with_adapter(self, adapter: Option<u32>) -> Self {
        let salted = |adapter| Self { salt: mix(self.salt, u64::from(adapter) + 1), ..self };
        adapter.map_or(self, salted)
    }
}

/// Hashes of the full blocks of a text: the shared prefix, then content that `own` identifies. A text grows at its end
/// only, so a block's index identifies its content.
pub(super) fn hashes(prefix: SharedPrefix, own: u64, tokens: u64, block_size: u32) -> Arc<[BlockHash]> {
    let size = u64::from(block_size.max(1));
    let shared = u64::from(prefix.tokens) / size;
    let hash = |block| mix(if block < shared { prefix.salt } else { own }, block);
    // A range of known length makes the collection one allocation.
    let blocks = usize::try_from(tokens / size).unwrap_or(0);
    (0..blocks).map(|block| BlockHash(hash(block as u64))).collect()
}

/// Hashes of engine blocks inside larger blocks with one chained hash each.
pub(super) fn split_blocks(hashes: &[u64], parts: u32, salt: u64) -> impl Iterator<Item = BlockHash> {
    let part = move |hash, part| BlockHash(mix(mix(salt, hash), u64::from(part)));
    hashes.iter().flat_map(move |hash| (0..parts).map(move |i| part(*hash, i)))
}
