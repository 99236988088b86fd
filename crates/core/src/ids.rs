//! Identifiers. Pointsman assigns all of them; none comes from a client.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use serde::{Deserialize, Serialize};

/// A request from arrival to end. Drivers never use a number twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId(pub u64);

/// An endpoint: a pod and port, or a URL. Drivers assign numbers in ascending order and never use one twice, so an engine
/// that returns after it disappeared is a new endpoint without state of the old one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EndpointId(pub u32);

/// One of a scheduler's InferencePools, which share endpoints: up to [`PoolSet::CAPACITY`], mostly one, number 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PoolId(pub u8);

/// A set of a scheduler's InferencePools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PoolSet(u64);

impl PoolSet {
    /// Most InferencePools that may share endpoints.
    pub const CAPACITY: usize = 64;

    /// The set of one pool.
    #[must_use]
    pub const fn of(pool: PoolId) -> Self {
        Self(1 << (pool.0 as u32 % u64::BITS))
    }

    /// This set with `pool` in it.
    #[must_use]
    pub const fn with(self, pool: PoolId) -> Self {
        Self(self.0 | Self::of(pool).0)
    }

    /// Whether a pool is in both sets.
    pub(crate) const fn overlaps(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether `pool` is in the set.
    #[must_use]
    pub const fn contains(self, pool: PoolId) -> bool {
        self.0 & Self::of(pool).0 != 0
    }
}

/// A target model or adapter as a hash of its name: the core compares names and never prints them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ModelKey(pub u64);

impl ModelKey {
    /// The key of a model name: FNV-1a with 64 bits, the same on every build. Surrounding whitespace is ignored, since
    /// engines list adapters with and without it.
    #[must_use]
    pub const fn of(name: &str) -> Self {
        const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
        const PRIME: u64 = 0x0000_0100_0000_01b3;
        let bytes = name.trim_ascii().as_bytes();
        let mut hash = OFFSET;
        let mut i = 0;
        while i < bytes.len() {
            hash = (hash ^ bytes[i] as u64).wrapping_mul(PRIME);
            i += 1;
        }
        Self(hash)
    }
}

/// The hash of one block of a prompt, chained over the blocks before it and salted by target model and cache salt, so that
/// equal hashes mean equal prefixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BlockHash(pub u64);

/// A hash map from ids. Its order is the same on every build, but arbitrary: iterate it only where the order cannot show.
pub(crate) type IdMap<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;

/// A multiplicative hash (Fibonacci hashing, Knuth vol. 3, section 6.4) for numbers that no client can choose: the same
/// on every build, unlike the standard library's randomly seeded one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
        // The map takes its bucket from the low bits, and the multiplication mixes the high ones best.
        self.0 = (self.0 ^ number).wrapping_mul(MULTIPLIER).rotate_left(32);
    }
}
