//! Comparison of eight bytes at once, for texts too short for a vectorised search, which has to be set up (Hacker's Delight,
//! 6-1). The lowest bit that is set in a result is exact; borrows can set higher ones wrongly.

/// Bytes that are compared at once.
pub(crate) const WORD: usize = 8;

/// The high bit of each byte, where the results are.
pub(crate) const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

const LOW_BITS: u64 = 0x0101_0101_0101_0101;

/// Sets the high bit of each byte below `bound`, which is at most 128. Other bits are to be masked with [`HIGH_BITS`].
pub(crate) const fn below(word: u64, bound: u8) -> u64 {
    word.wrapping_sub(LOW_BITS * bound as u64) & !word
}

/// Sets the high bit of each byte that equals `byte`. Other bits are to be masked with [`HIGH_BITS`].
pub(crate) const fn equal(word: u64, byte: u8) -> u64 {
    below(word ^ (LOW_BITS * byte as u64), 1)
}

/// Index of the lowest byte that is marked.
pub(crate) const fn first(marked: u64) -> usize {
    (marked.trailing_zeros() / 8) as usize
}
