//! The hash chain: bytes and boundaries in, one hash per full block out.

use super::{BLOCK_BYTES, BlockKey};

/// Distinguishes the end of a block from a boundary.
const BLOCK_END: u64 = 0x9fb2_1c65_1e98_df25;

/// A chain of block hashes under construction.
pub(super) struct Chain<'a> {
    key: &'a BlockKey,
    /// The hash of everything before `block`.
    state: u64,
    /// The incomplete block.
    block: [u8; BLOCK_BYTES],
    /// Bytes in `block`.
    filled: usize,
    hashes: Vec<u64>,
    /// Upper bound of the number of hashes.
    limit: usize,
}

impl<'a> Chain<'a> {
    pub(super) fn new(key: &'a BlockKey, limit: usize) -> Self {
        Self {
            key,
            state: key.state,
            block: [0; BLOCK_BYTES],
            filled: 0,
            hashes: Vec::with_capacity(limit),
            limit,
        }
    }

    /// Adds a salt. Chains with different salts have no hash in common.
    pub(super) fn salt(&mut self, salt: Option<&[u8]>) {
        self.state = fold(self.state, u64::from(salt.is_some()));
        self.state = fold(self.state, salt.map_or(0, |salt| self.key.hash(salt)));
    }

    /// Adds a boundary at the current position. It changes the hashes and takes no bytes.
    pub(super) fn boundary(&mut self, kind: u64, value: u64) {
        self.state = fold(self.state, kind << 16 | self.filled as u64);
        self.state = fold(self.state, value);
    }

    /// Adds bytes.
    pub(super) fn bytes(&mut self, mut bytes: &[u8]) {
        if self.filled > 0 {
            let free = self.block.get_mut(self.filled..).unwrap_or_default();
            let taken = free.len().min(bytes.len());
            if let (Some(to), Some((from, rest))) = (free.get_mut(..taken), bytes.split_at_checked(taken)) {
                to.copy_from_slice(from);
                bytes = rest;
            }
            self.filled += taken;
            if self.filled < BLOCK_BYTES {
                return;
            }
            self.filled = 0;
            self.push_block(self.key.hash(&self.block));
        }
        let (blocks, rest) = bytes.as_chunks::<BLOCK_BYTES>();
        for block in blocks {
            if self.is_full() {
                return;
            }
            self.push_block(self.key.hash(block));
        }
        if let Some(to) = self.block.get_mut(..rest.len()) {
            to.copy_from_slice(rest);
            self.filled = rest.len();
        }
    }

    /// Adds the first `length` of four bytes; faster than [`Self::bytes`].
    pub(super) fn character(&mut self, bytes: [u8; 4], length: usize) {
        match self.block.get_mut(self.filled..).and_then(<[u8]>::first_chunk_mut::<4>) {
            // The bytes beyond `length` are overwritten later.
            Some(to) if self.filled + length < BLOCK_BYTES => {
                *to = bytes;
                self.filled += length;
            }
            _ => self.bytes(bytes.get(..length).unwrap_or_default()),
        }
    }

    /// Whether the chain has all its blocks; further bytes have no effect.
    pub(super) fn is_full(&self) -> bool {
        self.hashes.len() >= self.limit
    }

    pub(super) fn into_hashes(self) -> Vec<u64> {
        self.hashes
    }

    fn push_block(&mut self, block: u64) {
        if !self.is_full() {
            self.state = fold(self.state ^ BLOCK_END, block);
            self.hashes.push(self.state);
        }
    }
}

/// Combines two hashes, injectively in each of them. The mixing is the finalizer of SplitMix64 (Steele, Lea, Flood
/// 2014, with Stafford's constants "mix 13").
const fn fold(state: u64, value: u64) -> u64 {
    let mut mixed = state.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(value);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
